//! Steps 11, 16 and 17 with `JOURNAL=store`: end markers of failed exports, the end of an entry,
//! and takeover.

use crate::{
    actions::Operation,
    names::{ReplicaNumber, RequestNumber, StoreNumber},
    protocol::{Context, Protocol, Transition},
    state::{Origin, Run, Stage, State, Target},
    store::{Key, Value},
};

/// The store of scenarios with `JOURNAL=store`, which have only one.
pub(crate) const JOURNAL_STORE: StoreNumber = 0;

impl Protocol {
    /// Whether a replica would take over an entry: it has no export of that id itself, there is no
    /// manifest yet, and the record has the entry's digest. `TAKEOVER_AGE` is left out: an
    /// invariant that is satisfied at any moment is also satisfied after that age.
    pub(crate) fn may_take_over(&self, state: &State, replica: ReplicaNumber, key: Key) -> bool {
        let (Key::Entry(id, _), Some(Value::Entry { request, .. })) =
            (key, state.s3_of(replica).get(key))
        else {
            return false;
        };
        let host = &state.replicas[replica];
        let is_known = (0..self.scenario.requests.len()).any(|other| {
            self.share_id(other, request)
                && (host.runs[other].is_some() || host.disk.journal[other].is_some())
        });
        let has_digest = match state.s3_of(replica).get(Key::Record(id)) {
            Some(Value::Record { digest, .. }) => self.digest(request, digest.encoding) == digest,
            _ => false,
        };
        let is_taken_over = has_digest || !self.mechanisms.store_journal_record_digest_check;
        let is_marked =
            end_marker_of(key).is_some_and(|mark| state.s3_of(replica).get(mark).is_some());
        let has_ended = is_marked && self.mechanisms.store_journal_marker_read;
        state.s3_is_up
            && !is_known
            && !self.is_in_progress(state, request)
            && !has_ended
            && is_taken_over
            && state.s3_of(replica).bundle_of(id).is_none()
    }

    /// Whether a replica works on a request, so that its entry is younger than `TAKEOVER_AGE`.
    pub(crate) fn is_in_progress(&self, state: &State, request: RequestNumber) -> bool {
        self.scenario.age_outlasts_runs
            && state.replicas.iter().any(|host| host.runs[request].is_some())
    }

    /// The request of an entry in S3.
    pub(crate) fn request_of_entry(&self, state: &State, key: Key) -> Option<RequestNumber> {
        match (key, state.s3[JOURNAL_STORE].get(key)?) {
            (Key::Entry(..), Value::Entry { request, .. }) => Some(request),
            _ => None,
        }
    }

    /// Whether the end of an entry needs a note: its bundle is committed, and there are targets.
    pub(crate) fn needs_note(&self, state: &State, key: Key) -> bool {
        state.events.is_some()
            && matches!(key, Key::Entry(id, _)
                if state.s3[JOURNAL_STORE].bundle_of(id).is_some())
    }

    /// Whether a scan of the entries in S3 ends an entry: its bundle is committed, or the id
    /// belongs to other content. In that case the entry's own content is accepted only on its
    /// machine, if at all.
    pub(crate) fn may_end(&self, state: &State, key: Key) -> bool {
        let (Key::Entry(id, _), Some(Value::Entry { request, .. })) =
            (key, state.s3[JOURNAL_STORE].get(key))
        else {
            return false;
        };
        let Some(Value::Record { digest, .. }) = state.s3[JOURNAL_STORE].get(Key::Record(id))
        else {
            return false;
        };
        let is_other_content = self.digest(request, digest.encoding) != digest;
        let may_end = is_other_content
            || state.s3[JOURNAL_STORE].bundle_of(id).is_some()
            || !self.mechanisms.store_journal_ended_after_commit;
        let is_marked =
            end_marker_of(key).is_some_and(|mark| state.s3[JOURNAL_STORE].get(mark).is_some());
        state.s3_is_up && may_end && !is_marked
    }

    /// Deletes an entry, or puts its end marker if deletions are denied or the export failed. A
    /// missing entry gets no end marker, unless the export failed.
    pub(crate) fn end_entry(&self, state: &mut State, key: Key, has_failed: bool) {
        let is_marked = has_failed && self.mechanisms.store_journal_failure_marked;
        if self.scenario.may_delete_entries && !is_marked {
            return state.s3[JOURNAL_STORE].remove(key);
        }
        let Some(mark) = end_marker_of(key) else { return };
        if has_failed || state.s3[JOURNAL_STORE].get(key).is_some() {
            state.s3[JOURNAL_STORE].put_if_absent(mark, Value::Ended { has_failed });
        }
    }

    /// The operations that remain for an export that fails.
    pub(crate) fn fail_operations(
        &self,
        state: &State,
        end_marker_left: bool,
        failure_record_left: bool,
    ) -> Vec<Operation> {
        let is_marked_first = self.mechanisms.store_journal_failure_marked_first;
        match (end_marker_left, failure_record_left) {
            (true, true) if !is_marked_first => vec![Operation::RecordFailure],
            (true, _) if state.s3_is_up => vec![Operation::PutFailedMarker],
            (false, true) => vec![Operation::RecordFailure],
            _ => Vec::new(),
        }
    }

    /// Starts a takeover. A crash or a failure stops it and leaves the entry in S3.
    pub(crate) fn take_over(
        &self,
        last: &State,
        replica: ReplicaNumber,
        key: Key,
    ) -> Option<State> {
        let mut state = last.clone();
        let Key::Entry(id, _) = key else { return None };
        let Value::Entry { request, pin } = state.s3_of(replica).get(key)? else { return None };
        state.replicas[replica].runs[request] = Some(Run {
            id,
            origin: Origin::StoreEntry,
            own_pin: pin,
            is_accepted: true,
            manifest_sent: false,
            saw_error: false,
            is_identified: false,
            misses: 0,
            stage: self.claim_in_s3(request, pin),
        });
        Some(state)
    }
}

impl Context<'_> {
    /// Whether a run may find that a document is lost. Exports with documents in S3 never fall
    /// back.
    pub(crate) fn may_lose_source(&self, state: &State, run: &Run) -> bool {
        state.budget.source_losses > 0
            && state.s3_is_up
            && run.is_accepted
            && matches!(run.stage, Stage::Artifacts { target: Target::S3, .. })
            && run.id == self.protocol.plain_id(self.request)
            && state.replicas[self.replica].disk.local.is_empty()
    }
}

impl Transition<'_> {
    /// Step 11, because a document is lost. Only a replica that accepted the export fails it.
    pub(crate) fn lose_source(mut self) -> Option<State> {
        self.state.budget.source_losses -= 1;
        let run = self.run()?.clone();
        let stage = Stage::Fail {
            end_marker_left: self.context.protocol.has_store_entry(self.context.request),
            failure_record_left: true,
        };
        self.set_run((run.origin != Origin::StoreEntry).then_some(Run { stage, ..run }));
        Some(self.state)
    }

    /// Executes the next step of a failure.
    pub(crate) fn fail(mut self, mut run: Run, operation: Operation) -> Option<State> {
        let Stage::Fail { mut end_marker_left, mut failure_record_left } = run.stage else {
            return None;
        };
        let request = self.context.request;
        if operation == Operation::PutFailedMarker {
            let key = self.context.entry_key(&run);
            self.context.protocol.end_entry(&mut self.state, key, true);
            end_marker_left = false;
        } else if self.state.events.is_some() {
            self.record_failure(run);
            return Some(self.state);
        } else {
            self.disk().failed[request] = true;
            self.disk().journal[request] = None;
            failure_record_left = false;
        }
        run.stage = Stage::Fail { end_marker_left, failure_record_left };
        self.set_run((end_marker_left || failure_record_left).then_some(run));
        Some(self.state)
    }
}

/// The end marker of an entry.
fn end_marker_of(entry: Key) -> Option<Key> {
    match entry {
        Key::Entry(id, digest) => Some(Key::EndMarker(id, digest)),
        _ => None,
    }
}

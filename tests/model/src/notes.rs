//! Step 18: the notes that precede the end of a journal entry.

use crate::{
    events::{EventType, Note},
    names::{ReplicaNumber, RequestNumber},
    protocol::{Context, Protocol, Transition},
    state::{Run, Stage, State},
    store::Key,
    takeover::JOURNAL_STORE,
};

/// One step of an export that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureStep {
    /// The failure record.
    Record,
    /// The note of `failed`.
    Note,
    /// The removal of the journal entry.
    JournalEntry,
}

impl Protocol {
    /// The steps of an export that failed, in their order.
    fn failure_steps(&self) -> [FailureStep; 3] {
        use FailureStep::{JournalEntry, Note, Record};
        if !self.mechanisms.failed_event_after_record {
            [Note, Record, JournalEntry]
        } else if !self.mechanisms.event_before_entry_is_removed {
            [Record, JournalEntry, Note]
        } else {
            [Record, Note, JournalEntry]
        }
    }

    /// Resumes notes when a process starts.
    pub(crate) fn resume_events(&self, state: &mut State, replica: ReplicaNumber) {
        let Some(events) = state.events.as_deref_mut() else { return };
        events.crash(replica);
        if !self.mechanisms.event_owner_on_disk {
            events.replace_machine(replica);
        }
        for request in 0..self.scenario.requests.len() {
            let host = &mut state.replicas[replica];
            if host.disk.journal[request].is_none() {
                continue;
            }
            if host.disk.failed[request]
                && let Some(run) = &mut host.runs[request]
            {
                run.stage = Stage::EndFailed { next: 1 };
                continue;
            }
            let local = &host.disk.local;
            let is_stored = local.committed_in(
                local.folders_by_scan(self.plain_id(request)),
                self.plain_id(request),
            );
            if is_stored.is_some() && self.mechanisms.fell_back_noted_at_start {
                self.write_note(state, replica, request, EventType::FellBack);
            }
        }
    }

    /// Writes a note unless one of the event exists. If a note of `committed` or `synced` exists,
    /// the export has its last event, and gets no other.
    pub(crate) fn write_note(
        &self,
        state: &mut State,
        replica: ReplicaNumber,
        request: RequestNumber,
        event: EventType,
    ) {
        let Some(events) = state.events.as_deref_mut() else { return };
        if self.mechanisms.one_final_event && events.has_final_note(replica, request) {
            return;
        }
        let folder = if event == EventType::FellBack { Note::Pending } else { Note::Settled };
        events.notes[replica][request][event as usize].get_or_insert(folder);
    }

    /// Whether a scan finds an entry in S3 whose bundle is committed, so that the replica settles
    /// it.
    pub(crate) fn may_settle(&self, state: &State, replica: ReplicaNumber, key: Key) -> bool {
        let Some(request) = self.request_of_entry(state, key) else { return false };
        let host = &state.replicas[replica];
        let Key::Entry(id, _) = key else { return false };
        state.events.is_some()
            && host.runs[request].is_none()
            && host.disk.journal[request].is_none()
            && !self.is_in_progress(state, request)
            && state.s3[JOURNAL_STORE].bundle_of(id).is_some()
            && self.may_end(state, key)
    }

    /// Starts to settle an entry in S3 whose bundle is committed.
    pub(crate) fn settle_entry(
        &self,
        last: &State,
        replica: ReplicaNumber,
        key: Key,
    ) -> Option<State> {
        let mut state = self.take_over(last, replica, key)?;
        let request = self.request_of_entry(last, key)?;
        let run = state.replicas[replica].runs[request].take()?;
        let context = self.context(replica, request);
        let mut transition = Transition { context, state };
        transition.start_deletions(run);
        Some(transition.state)
    }
}

impl Context<'_> {
    /// The last event of a committed export: `synced` if this machine has a note of `fell_back`.
    fn final_event(self, state: &State) -> EventType {
        let fell_back = state
            .events
            .as_deref()
            .and_then(|events| events.note(self.replica, self.request, EventType::FellBack));
        if fell_back.is_some() { EventType::Synced } else { EventType::Committed }
    }
}

impl Transition<'_> {
    /// Step 8 with events: the local bundle is complete, and its note follows.
    pub(crate) fn stored_locally(&mut self) -> Stage {
        let Context { replica, request, .. } = self.context;
        let Some(events) = self.state.events.as_deref_mut() else { return Stage::StoredLocally };
        if !events.has_final_note(replica, request) {
            events.fell_back[replica][request] = true;
        }
        Stage::NoteFellBack
    }

    /// Writes the note of `fell_back`.
    pub(crate) fn note_fell_back(mut self, mut run: Run) -> Option<State> {
        let Context { protocol, replica, request } = self.context;
        protocol.write_note(&mut self.state, replica, request, EventType::FellBack);
        run.stage = Stage::StoredLocally;
        self.set_run(Some(run));
        Some(self.state)
    }

    /// Writes the note of `committed` or `synced`.
    pub(crate) fn note_final_event(&mut self) {
        let Context { protocol, replica, request } = self.context;
        let event = self.context.final_event(&self.state);
        protocol.write_note(&mut self.state, replica, request, event);
    }

    /// Step 20: puts the claim of the last event before the entry in S3 ends, after that of
    /// `fell_back`.
    pub(crate) fn claim_final_event(&mut self) {
        let Context { protocol, replica, request } = self.context;
        for event in [EventType::FellBack, EventType::Committed, EventType::Synced] {
            let is_unclaimed =
                |note| matches!(note, Note::Settled | Note::Pending | Note::Unclaimed);
            let note = |state: &State| state.events.as_deref()?.note(replica, request, event);
            if note(&self.state).is_some_and(is_unclaimed) {
                let claimed = protocol.claim_event(&mut self.state, replica, request, event);
                self.set_note(event, claimed);
            }
        }
    }

    pub(crate) fn set_note(&mut self, event: EventType, note: Note) {
        let Context { replica, request, .. } = self.context;
        if let Some(events) = self.state.events.as_deref_mut() {
            events.notes[replica][request][event as usize] = Some(note);
        }
    }

    /// Executes the next step of an export that failed.
    pub(crate) fn end_failed(mut self, mut run: Run) -> Option<State> {
        let Context { protocol, replica, request } = self.context;
        let Stage::EndFailed { next } = run.stage else { return None };
        let steps = protocol.failure_steps();
        match steps[usize::from(next)] {
            FailureStep::Record => self.disk().failed[request] = true,
            FailureStep::Note => {
                protocol.write_note(&mut self.state, replica, request, EventType::Failed);
            }
            FailureStep::JournalEntry => self.disk().journal[request] = None,
        }
        let next = next + 1;
        run.stage = Stage::EndFailed { next };
        self.set_run((usize::from(next) < steps.len()).then_some(run));
        Some(self.state)
    }

    /// Step 11: the export fails. Without events the failure record and the removal of the entry
    /// are one step.
    pub(crate) fn record_failure(&mut self, run: Run) {
        if self.state.events.is_some() {
            return self.set_run(Some(Run { stage: Stage::EndFailed { next: 0 }, ..run }));
        }
        let request = self.context.request;
        self.disk().failed[request] = true;
        self.disk().journal[request] = None;
        self.set_run(None);
    }
}

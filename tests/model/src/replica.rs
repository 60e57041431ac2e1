//! Requests, restarts, fallback and failure of a replica (steps 1, 2, 5, 8, 9 and 11).

use crate::{
    actions::Operation,
    identity::Entry,
    names::{Base, ReplicaNumber, RequestNumber},
    names::{ExportId, Pin},
    protocol::{Context, Protocol, Transition},
    scenarios::Fallback,
    state::{Claim, Disk, Origin, RequestStatus, Run, Stage, State, Target},
    store::{Key, Value},
};

impl Stage {
    /// The store of the next operation; `None` if there is not exactly one.
    pub(crate) fn target(&self) -> Option<Target> {
        match self {
            Self::Claim(claim) => Some(claim.target),
            Self::Artifacts { target, .. } | Self::Manifest { target, .. } => Some(*target),
            _ => None,
        }
    }

    /// The pin that the run currently uses.
    fn current_pin(&self) -> Option<Pin> {
        match self {
            Self::Claim(claim) => Some(claim.pin),
            Self::Artifacts { pin, .. } | Self::Manifest { pin, .. } => Some(*pin),
            _ => None,
        }
    }
}

impl Protocol {
    /// Whether the arrival of a request changes the state.
    pub(crate) fn may_send(
        &self,
        state: &State,
        replica: ReplicaNumber,
        request: RequestNumber,
    ) -> bool {
        let host = &state.replicas[replica];
        let reported = &state.reported[request];
        if host.disk.failed[request] || host.disk.receipts[request] {
            return false;
        }
        if host.disk.journal[request].is_some() {
            // The caller attaches to a run and gets `accepted`, which a crash had prevented.
            let is_accepted = host.runs[request].as_ref().is_some_and(|run| run.is_accepted);
            return is_accepted && !reported.accepted[replica];
        }
        if self.has_other_content_for_id(state, replica, request) {
            return reported.status[replica] == RequestStatus::NotSent;
        }
        state.budget.sends > 0
            && host.runs[request].is_none()
            && (!self.request(request).needs_document || self.finds_document(state, replica))
    }

    /// Whether the document exists, so that it can be pinned.
    fn finds_document(&self, state: &State, replica: ReplicaNumber) -> bool {
        state.s3_is_up && state.s3_of(replica).get(Key::Document).is_some()
    }

    /// Whether a replica knows the request's id with other content.
    fn has_other_content_for_id(
        &self,
        state: &State,
        replica: ReplicaNumber,
        request: RequestNumber,
    ) -> bool {
        let host = &state.replicas[replica];
        let disk = &host.disk;
        (0..self.scenario.requests.len()).any(|other| {
            let is_run =
                host.runs[other].as_ref().is_some_and(|run| run.id == self.plain_id(other));
            other != request
                && self.share_id(other, request)
                && (is_run
                    || disk.journal[other].is_some()
                    || disk.receipts[other]
                    || disk.failed[other])
        })
    }

    /// The pin of an acceptance at this moment.
    pub(crate) fn new_pin(
        &self,
        state: &State,
        replica: ReplicaNumber,
        request: RequestNumber,
    ) -> Pin {
        let second = state.clock / self.scenario.acceptances_a_second;
        let base = Base { second, document: self.request(request).document };
        Pin { time: state.clock, version: state.replicas[replica].release, base }
    }

    /// Starts a process: it resumes every journal entry, and each counts as accepted.
    pub(crate) fn restart(&self, state: &mut State, replica: ReplicaNumber) {
        self.start_with_identities(state, replica);
        let host = &mut state.replicas[replica];
        for request in 0..host.runs.len() {
            host.runs[request] = host.disk.journal[request].map(|Entry { pin, .. }| {
                let version =
                    if self.mechanisms.pinned_version { pin.version } else { host.release };
                let pin = Pin { version, ..pin };
                Run {
                    id: self.plain_id(request),
                    origin: Origin::Journal,
                    own_pin: pin,
                    is_accepted: true,
                    manifest_sent: false,
                    saw_error: false,
                    is_identified: false,
                    misses: 0,
                    stage: self.claim_in_s3(request, pin),
                }
            });
        }
        self.resume_events(state, replica);
    }

    /// Removes a disk, and with it the promises that depend on the disk.
    pub(crate) fn lose_machine(&self, state: &mut State, replica: ReplicaNumber) {
        state.replicas[replica].disk = Disk::default();
        if let Some(events) = state.events.as_deref_mut() {
            events.lose_machine(replica);
        }
        self.restart(state, replica);
        for reported in &mut state.reported {
            reported.accepted[replica] = false;
            reported.stored_locally[replica] = false;
            if reported.status[replica] == RequestStatus::Open {
                reported.status[replica] = RequestStatus::Lost;
            }
        }
    }

    /// Whether a request also puts a journal entry in S3.
    pub(crate) fn has_store_entry(&self, request: RequestNumber) -> bool {
        let has_no_entry = self.mechanisms.store_journal_spares_fallback_none
            && self.request(request).fallback == Fallback::None;
        self.scenario.journal_in_store && !has_no_entry
    }

    /// The start of step 3 in S3.
    pub(crate) fn claim_in_s3(&self, request: RequestNumber, pin: Pin) -> Stage {
        let entry_left = self.has_store_entry(request);
        Stage::Claim(Claim::new(Target::S3, pin, entry_left, &self.mechanisms))
    }
}

impl Context<'_> {
    /// Whether step 5 may follow without the claim. With events and a fallback, `accepted` is sent by
    /// the fallback or after the claim, so that there are fewer states.
    pub(crate) fn may_accept_unclaimed(&self, state: &State, run: &Run) -> bool {
        let may_be_late = self.protocol.scenario.is_slow
            || !state.s3_is_up
            || run.saw_error
            || self.waits_for_another_store(state, run);
        let is_left_out =
            self.protocol.scenario.events.is_some() && self.fallback() == Fallback::Local;
        may_be_late && !is_left_out && !run.is_accepted && run.stage.target() == Some(Target::S3)
    }

    /// Whether S3's failures may make a run stop retrying.
    pub(crate) fn may_stop_retrying(&self, state: &State, run: &Run) -> bool {
        let is_failing =
            !state.s3_is_up || run.saw_error || self.waits_for_another_store(state, run);
        is_failing
            && !self.needs_document()
            && run.stage.target() == Some(Target::S3)
            && (run.origin == Origin::StoreEntry
                || self.fallback() == Fallback::Local
                || !run.is_accepted
                || self.may_fail(run))
    }

    fn fallback(&self) -> Fallback {
        self.protocol.request(self.request).fallback
    }

    /// Whether the run may fail its export (step 11).
    fn may_fail(&self, run: &Run) -> bool {
        let mechanisms = &self.protocol.mechanisms;
        (run.origin == Origin::Request || !mechanisms.fail_only_by_acceptor)
            && !(run.manifest_sent && mechanisms.fail_only_before_manifest)
    }

    /// The id of the run's export in S3 if other content has the caller's id.
    pub(crate) fn derived_id(&self, run: &Run, record_version: u8) -> ExportId {
        let encoding = if self.protocol.mechanisms.derived_id_in_record_encoding {
            record_version
        } else {
            run.own_pin.version
        };
        let digest = self.protocol.digest(self.request, encoding);
        ExportId { derived_from: Some(digest), ..run.id }
    }
}

impl Transition<'_> {
    pub(crate) fn run(&self) -> Option<&Run> {
        self.state.replicas[self.context.replica].runs[self.context.request].as_ref()
    }

    pub(crate) fn set_run(&mut self, run: Option<Run>) {
        self.state.replicas[self.context.replica].runs[self.context.request] = run;
    }

    pub(crate) fn disk(&mut self) -> &mut Disk {
        &mut self.state.replicas[self.context.replica].disk
    }

    /// Sets the status of the request at this replica.
    pub(crate) fn set_status(&mut self, status: RequestStatus) {
        let reported = &mut self.state.reported[self.context.request].status[self.context.replica];
        if *reported != RequestStatus::Lost {
            *reported = status;
        }
    }

    /// Steps 1 and 2.
    pub(crate) fn send(mut self) -> Option<State> {
        let (replica, request) = (self.context.replica, self.context.request);
        if self.state.replicas[replica].disk.journal[request].is_some() {
            self.state.reported[request].accepted[replica] = true;
            return Some(self.state);
        }
        if self.context.protocol.has_other_content_for_id(&self.state, replica, request) {
            self.set_status(RequestStatus::Refused);
            return Some(self.state);
        }
        let entry = self.new_entry();
        let pin = entry.pin;
        self.state.clock += 1;
        self.state.budget.sends -= 1;
        self.set_status(RequestStatus::Open);
        self.disk().journal[request] = Some(entry);
        self.set_run(Some(Run {
            id: self.context.protocol.plain_id(request),
            origin: Origin::Request,
            own_pin: pin,
            is_accepted: false,
            manifest_sent: false,
            saw_error: false,
            is_identified: false,
            misses: 0,
            stage: self.context.protocol.claim_in_s3(self.context.request, pin),
        }));
        Some(self.state)
    }

    pub(crate) fn accept_unclaimed(mut self) -> Option<State> {
        let mut run = self.run()?.clone();
        self.accept(&mut run, false);
        self.set_run(Some(run));
        Some(self.state)
    }

    /// Sends `accepted`, and records whether it survives the loss of the machine.
    pub(crate) fn accept(&mut self, run: &mut Run, in_store: bool) {
        run.is_accepted = true;
        let reported = &mut self.state.reported[self.context.request];
        if run.origin == Origin::Request {
            reported.accepted[self.context.replica] = true;
            reported.accepted_in_store |= in_store;
        }
    }

    /// Steps 8 and 11.
    pub(crate) fn stop_retrying(mut self) -> Option<State> {
        let mut run = self.run()?.clone();
        if run.origin == Origin::StoreEntry {
            self.set_run(None);
            return Some(self.state);
        }
        if self.context.fallback() == Fallback::None {
            if run.is_accepted {
                self.record_failure(run);
                return Some(self.state);
            }
            // UNAVAILABLE: as if the request had not been sent.
            let request = self.context.request;
            self.disk().journal[request] = None;
            self.set_status(RequestStatus::NotSent);
            self.set_run(None);
            return Some(self.state);
        }
        self.accept(&mut run, false);
        let pin = if self.context.protocol.mechanisms.fallback_uses_journal_time {
            run.own_pin
        } else {
            run.stage.current_pin().unwrap_or(run.own_pin)
        };
        if self.context.protocol.mechanisms.fallback_uses_journal_id {
            run.id = self.context.protocol.plain_id(self.context.request);
        }
        run.is_identified = false;
        run.stage = self.local_claim(pin);
        self.set_run(Some(run));
        Some(self.state)
    }

    /// Executes one operation and handles its response.
    pub(crate) fn step(mut self, operation: Operation) -> Option<State> {
        let mut run = self.run()?.clone();
        match operation {
            Operation::CheckFolder => return self.check_folder(run),
            Operation::Verify => return self.verify(run),
            Operation::Delete => return self.delete(run),
            Operation::NoteFellBack => return self.note_fell_back(run),
            Operation::EndFailed => return self.end_failed(run),
            Operation::ReadIdentity => return Some(self.read_identity(run)),
            Operation::PutFailedMarker | Operation::RecordFailure => {
                return self.fail(run, operation);
            }
            _ if self.context.misses_document(&self.state, &run, operation) => {
                return Some(self.document_not_found(run));
            }
            Operation::Sync => {
                // Step 9 starts from the journal entry.
                run.id = self.context.protocol.plain_id(self.context.request);
                run.saw_error = false;
                run.stage = self.context.protocol.claim_in_s3(self.context.request, run.own_pin);
                self.set_run(Some(run));
                return Some(self.state);
            }
            _ => {}
        }
        let (key, value) = self.context.put_of(&run, operation)?;
        let outcome = match run.stage.target()? {
            Target::S3 => self.context.put_to_s3(&mut self.state, key, value),
            Target::Local => self.disk().local.put_if_absent(key, value),
        };
        self.put_response(run, operation, outcome);
        Some(self.state)
    }

    /// A put takes effect, but its sender takes it for failed.
    pub(crate) fn lose_response(mut self, operation: Operation) -> Option<State> {
        let (key, value) = self.fail_put(operation)?;
        self.state.budget.lost_responses -= 1;
        self.context.put_to_s3(&mut self.state, key, value);
        Some(self.state)
    }

    /// A put is delayed, and its sender takes it for failed.
    pub(crate) fn delay_put(mut self, operation: Operation) -> Option<State> {
        let (key, value) = self.fail_put(operation)?;
        self.state.budget.late_puts -= 1;
        self.state.late.push((self.state.store_of(self.context.replica), key, value));
        self.state.late.sort_unstable();
        Some(self.state)
    }

    /// A put is sent twice. Its sender sees no failure.
    pub(crate) fn hedge_put(mut self, operation: Operation, finds_own: bool) -> Option<State> {
        let run = self.run()?.clone();
        let (key, value) = self.context.put_of(&run, operation)?;
        self.state.budget.hedged_puts -= 1;
        if finds_own {
            self.context.put_to_s3(&mut self.state, key, value);
        } else {
            self.state.late.push((self.state.store_of(self.context.replica), key, value));
            self.state.late.sort_unstable();
        }
        self.step(operation)
    }

    fn fail_put(&mut self, operation: Operation) -> Option<(Key, Value)> {
        let mut run = self.run()?.clone();
        let put = self.context.put_of(&run, operation)?;
        run.saw_error = true;
        run.is_identified &= !self.context.protocol.mechanisms.identity_read_again_after_failure;
        self.set_run(Some(run));
        Some(put)
    }
}

//! A replica around its runs: requests, restarts, fallback and failure (steps 1, 2, 5, 8, 9, 11).

use crate::{
    actions::Part,
    names::{Base, ReplicaNumber, RequestNumber},
    names::{ExportId, Pin},
    protocol::{Desk, Protocol, Turn},
    scenarios::Fallback,
    state::{Claim, Disk, Origin, Place, Run, Sent, Stage, State},
    store::{Key, Value},
};

impl Stage {
    /// The store that is asked next; none where that is no single one.
    pub(crate) fn place(&self) -> Option<Place> {
        match self {
            Self::Claim(claim) => Some(claim.place),
            Self::Artifacts { place, .. } | Self::Manifest { place, .. } => Some(*place),
            Self::KeptLocally | Self::Verify { .. } | Self::Delete { .. } => None,
        }
    }

    /// What the run holds to be pinned.
    fn pin_in_hand(&self) -> Option<Pin> {
        match self {
            Self::Claim(claim) => Some(claim.pin),
            Self::Artifacts { pin, .. } | Self::Manifest { pin, .. } => Some(*pin),
            Self::KeptLocally | Self::Verify { .. } | Self::Delete { .. } => None,
        }
    }
}

impl Protocol {
    /// Whether a request's arrival changes anything.
    pub(crate) fn may_send(
        &self,
        state: &State,
        replica: ReplicaNumber,
        request: RequestNumber,
    ) -> bool {
        let host = &state.replicas[replica];
        let told = &state.told[request];
        if host.disk.failed[request] || host.disk.receipts[request] {
            return false;
        }
        if host.disk.journal[request].is_some() {
            // Re-attached: the caller hears `accepted` of an export that a crash kept silent.
            let is_accepted = host.runs[request].as_ref().is_some_and(|run| run.is_accepted);
            return is_accepted && !told.accepted[replica];
        }
        if self.other_of_id(state, replica, request) {
            return told.sent[replica] == Sent::Never;
        }
        state.left.sends > 0 && host.runs[request].is_none()
    }

    /// Whether a replica knows the request's id with another content.
    fn other_of_id(&self, state: &State, replica: ReplicaNumber, request: RequestNumber) -> bool {
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

    /// What an acceptance pins now.
    fn new_pin(&self, state: &State, replica: ReplicaNumber, request: RequestNumber) -> Pin {
        let second = state.clock / self.scenario.acceptances_a_second;
        let base = Base { second, document: self.request(request).document };
        Pin { time: state.clock, version: state.replicas[replica].release, base }
    }

    /// A process starts: every journal entry is carried on, and counts as accepted.
    pub(crate) fn restart(&self, state: &mut State, replica: ReplicaNumber) {
        let host = &mut state.replicas[replica];
        for request in 0..host.runs.len() {
            host.runs[request] = host.disk.journal[request].map(|pin| {
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
                    stage: self.claim_in_s3(request, pin),
                }
            });
        }
    }

    /// A disk is gone, and with it what was promised only as long as it survives.
    pub(crate) fn lose_machine(&self, state: &mut State, replica: ReplicaNumber) {
        state.replicas[replica].disk = Disk::default();
        self.restart(state, replica);
        for told in &mut state.told {
            told.accepted[replica] = false;
            told.stored_locally[replica] = false;
            if told.sent[replica] == Sent::Open {
                told.sent[replica] = Sent::Lost;
            }
        }
    }

    /// Whether a request goes into S3's journal too.
    pub(crate) fn has_store_entry(&self, request: RequestNumber) -> bool {
        let is_spared = self.mechanisms.store_journal_spares_fallback_none
            && self.request(request).fallback == Fallback::None;
        self.scenario.journal_in_store && !is_spared
    }

    /// Step 3 from its beginning, in S3.
    pub(crate) fn claim_in_s3(&self, request: RequestNumber, pin: Pin) -> Stage {
        let entry_left = self.has_store_entry(request);
        Stage::Claim(Claim::new(Place::S3, pin, entry_left, &self.mechanisms))
    }
}

impl Desk<'_> {
    /// Step 5 without the claim.
    pub(crate) fn may_accept_unclaimed(&self, state: &State, run: &Run) -> bool {
        let is_late = self.protocol.scenario.is_slow || !state.s3_is_up || run.saw_error;
        is_late && !run.is_accepted && run.stage.place() == Some(Place::S3)
    }

    /// Whether S3's answers may make a run turn elsewhere.
    pub(crate) fn may_give_up(&self, state: &State, run: &Run) -> bool {
        let is_failing = !state.s3_is_up || run.saw_error;
        is_failing
            && run.stage.place() == Some(Place::S3)
            && (run.origin == Origin::StoreEntry
                || self.fallback() == Fallback::Local
                || !run.is_accepted
                || self.may_fail(run))
    }

    fn fallback(&self) -> Fallback {
        self.protocol.request(self.request).fallback
    }

    /// Step 11.
    fn may_fail(&self, run: &Run) -> bool {
        let mechanisms = &self.protocol.mechanisms;
        (run.origin == Origin::Request || !mechanisms.fail_only_by_acceptor)
            && !(run.manifest_sent && mechanisms.fail_only_before_manifest)
    }

    /// The id that the run's export has in S3's record once another content has the plain one.
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

impl Turn<'_> {
    pub(crate) fn run(&self) -> Option<&Run> {
        self.state.replicas[self.desk.replica].runs[self.desk.request].as_ref()
    }

    pub(crate) fn set_run(&mut self, run: Option<Run>) {
        self.state.replicas[self.desk.replica].runs[self.desk.request] = run;
    }

    pub(crate) fn disk(&mut self) -> &mut Disk {
        &mut self.state.replicas[self.desk.replica].disk
    }

    /// Notes what became of the request here.
    pub(crate) fn tell(&mut self, sent: Sent) {
        let told = &mut self.state.told[self.desk.request].sent[self.desk.replica];
        if *told != Sent::Lost {
            *told = sent;
        }
    }

    /// Steps 1 and 2.
    pub(crate) fn send(mut self) -> Option<State> {
        let (replica, request) = (self.desk.replica, self.desk.request);
        if self.state.replicas[replica].disk.journal[request].is_some() {
            self.state.told[request].accepted[replica] = true;
            return Some(self.state);
        }
        if self.desk.protocol.other_of_id(&self.state, replica, request) {
            self.tell(Sent::Refused);
            return Some(self.state);
        }
        let pin = self.desk.protocol.new_pin(&self.state, replica, request);
        self.state.clock += 1;
        self.state.left.sends -= 1;
        self.tell(Sent::Open);
        self.disk().journal[request] = Some(pin);
        self.set_run(Some(Run {
            id: self.desk.protocol.plain_id(request),
            origin: Origin::Request,
            own_pin: pin,
            is_accepted: false,
            manifest_sent: false,
            saw_error: false,
            stage: self.desk.protocol.claim_in_s3(self.desk.request, pin),
        }));
        Some(self.state)
    }

    pub(crate) fn accept_unclaimed(mut self) -> Option<State> {
        let mut run = self.run()?.clone();
        self.accept(&mut run, false);
        self.set_run(Some(run));
        Some(self.state)
    }

    /// Says `accepted`, and whether that survives the machine.
    pub(crate) fn accept(&mut self, run: &mut Run, in_store: bool) {
        run.is_accepted = true;
        let told = &mut self.state.told[self.desk.request];
        if run.origin == Origin::Request {
            told.accepted[self.desk.replica] = true;
            told.accepted_in_store |= in_store;
        }
    }

    /// Steps 8 and 11.
    pub(crate) fn give_up(mut self) -> Option<State> {
        let mut run = self.run()?.clone();
        if run.origin == Origin::StoreEntry {
            self.set_run(None);
            return Some(self.state);
        }
        if self.desk.fallback() == Fallback::None {
            let request = self.desk.request;
            self.disk().failed[request] = run.is_accepted;
            self.disk().journal[request] = None;
            if !run.is_accepted {
                // UNAVAILABLE: as if it had never been sent.
                self.tell(Sent::Never);
            }
            self.set_run(None);
            return Some(self.state);
        }
        self.accept(&mut run, false);
        let pin = if self.desk.protocol.mechanisms.fallback_uses_journal_time {
            run.own_pin
        } else {
            run.stage.pin_in_hand().unwrap_or(run.own_pin)
        };
        if self.desk.protocol.mechanisms.fallback_uses_journal_id {
            run.id = self.desk.protocol.plain_id(self.desk.request);
        }
        run.stage = self.local_claim(pin);
        self.set_run(Some(run));
        Some(self.state)
    }

    /// One operation takes place and is answered.
    pub(crate) fn step(mut self, part: Part) -> Option<State> {
        let mut run = self.run()?.clone();
        match part {
            Part::Look => return self.look(run),
            Part::Verify => return self.verify(run),
            Part::Delete => return self.delete(run),
            Part::Drain => {
                // Step 9: from the journal entry.
                run.id = self.desk.protocol.plain_id(self.desk.request);
                run.saw_error = false;
                run.stage = self.desk.protocol.claim_in_s3(self.desk.request, run.own_pin);
                self.set_run(Some(run));
                return Some(self.state);
            }
            _ => {}
        }
        let (key, value) = self.desk.put_of(&run, part)?;
        let outcome = match run.stage.place()? {
            Place::S3 => self.desk.protocol.put_to_s3(&mut self.state, key, value),
            Place::Local => self.disk().local.put_if_absent(key, value),
        };
        self.answer(run, part, outcome);
        Some(self.state)
    }

    /// A put takes effect that its sender takes for failed.
    pub(crate) fn lose_answer(mut self, part: Part) -> Option<State> {
        let (key, value) = self.fail_put(part)?;
        self.state.left.lost_answers -= 1;
        self.desk.protocol.put_to_s3(&mut self.state, key, value);
        Some(self.state)
    }

    /// A put stays on its way that its sender takes for failed.
    pub(crate) fn delay(mut self, part: Part) -> Option<State> {
        let put = self.fail_put(part)?;
        self.state.left.late_puts -= 1;
        self.state.late.push(put);
        self.state.late.sort_unstable();
        Some(self.state)
    }

    fn fail_put(&mut self, part: Part) -> Option<(Key, Value)> {
        let mut run = self.run()?.clone();
        let put = self.desk.put_of(&run, part)?;
        run.saw_error = true;
        self.set_run(Some(run));
        Some(put)
    }
}

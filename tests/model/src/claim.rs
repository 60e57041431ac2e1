//! Steps 3 and 4: the record, the folder claim and the look, side by side; another digest.

use crate::{
    actions::Part,
    mechanisms::Mechanisms,
    names::{Digest, Folder, Pin},
    protocol::{Desk, Turn},
    state::{Claim, Look, Origin, Place, Run, Sent, Stage, State},
    store::{Key, PutOutcome, Value},
};

impl Claim {
    /// Nothing answered yet.
    pub(crate) fn new(place: Place, pin: Pin, entry_left: bool, mechanisms: &Mechanisms) -> Self {
        let empty = Self {
            place,
            pin,
            folder: Folder::first(pin.base),
            record_known: false,
            claim_is_ours: None,
            look: None,
            entry_left,
        };
        empty.for_folder(Folder::first(pin.base), mechanisms)
    }

    /// The same with another folder, of which nothing is known.
    pub(crate) fn for_folder(self, folder: Folder, mechanisms: &Mechanisms) -> Self {
        let look = (!mechanisms.unclaimed_folder_look).then_some(Look::Nothing);
        Self { folder, claim_is_ours: None, look, ..self }
    }

    /// What is still to be answered.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let parts = [
            (Part::PutRecord, !self.record_known),
            (Part::PutClaim, self.claim_is_ours.is_none()),
            (Part::Look, self.look.is_none()),
            (Part::PutEntry, self.entry_left),
        ];
        parts.into_iter().filter_map(|(part, is_left)| is_left.then_some(part)).collect()
    }
}

impl Desk<'_> {
    /// What a claim puts.
    pub(crate) fn claim_put(&self, run: &Run, claim: &Claim, part: Part) -> Option<(Key, Value)> {
        let digest = self.protocol.digest(self.request, run.own_pin.version);
        match part {
            Part::PutRecord => {
                Some((Key::Record(run.id), Value::Record { digest, pin: claim.pin }))
            }
            Part::PutClaim => Some((Key::Claim(claim.folder), Value::Owner(run.id))),
            Part::PutEntry => {
                let value = Value::Entry { request: self.request, pin: run.own_pin };
                Some((self.entry_key(run), value))
            }
            _ => None,
        }
    }

    /// Where the run's entry of `journal: store` is.
    pub(crate) fn entry_key(&self, run: &Run) -> Key {
        let digest = self.protocol.digest(self.request, run.own_pin.version);
        let in_key = self.protocol.mechanisms.store_journal_digest_in_key;
        Key::Entry(run.id, in_key.then_some(digest))
    }

    /// Whether a digest is that of the run's content. It says in which encoding it is.
    fn has_digest(&self, run: &Run, digest: Digest) -> bool {
        let mechanisms = &self.protocol.mechanisms;
        let is_reencoded =
            mechanisms.pinned_version && mechanisms.digest_compared_in_record_encoding;
        let encoding = if is_reencoded { digest.encoding } else { run.own_pin.version };
        self.protocol.digest(self.request, encoding) == digest
    }

    /// Takes over what the record pins.
    fn adopt(&self, claim: Claim, record: Pin) -> Claim {
        let mechanisms = &self.protocol.mechanisms;
        if !mechanisms.record_adopted {
            return claim;
        }
        let version = if mechanisms.pinned_version { record.version } else { claim.pin.version };
        let adopted = Claim { pin: Pin { version, ..record }, ..claim };
        if record.base == claim.folder.base {
            adopted
        } else {
            adopted.for_folder(Folder::first(record.base), mechanisms)
        }
    }
}

impl Turn<'_> {
    /// The export's folders in the local store.
    pub(crate) fn local_folders(&self, journal: Pin) -> Vec<Folder> {
        let local = &self.state.replicas[self.desk.replica].disk.local;
        let id = self.desk.protocol.plain_id(self.desk.request);
        if self.desk.protocol.mechanisms.local_folders_by_scan {
            local.folders_by_scan(id)
        } else {
            local.folders_from(journal.base, id)
        }
    }

    /// Step 3 from its beginning, in the local store: where the export has a folder already, there.
    /// Of several it is the last: the others turned out to be taken when their claim had gone out.
    pub(crate) fn local_claim(&self, pin: Pin) -> Stage {
        let mechanisms = &self.desk.protocol.mechanisms;
        let claim = Claim::new(Place::Local, pin, false, mechanisms);
        let folder = self.local_folders(pin).last().copied();
        let known = folder.filter(|_| mechanisms.local_folders_by_scan);
        Stage::Claim(known.map_or(claim, |folder| claim.for_folder(folder, mechanisms)))
    }

    /// The look for a manifest in the folder.
    pub(crate) fn look(mut self, run: Run) -> Option<State> {
        let Stage::Claim(mut claim) = run.stage else { return None };
        let store = match claim.place {
            Place::S3 => &self.state.s3,
            Place::Local => &self.state.replicas[self.desk.replica].disk.local,
        };
        claim.look = Some(match store.manifest_owner(claim.folder) {
            None => Look::Nothing,
            Some(Some(owner)) if owner == run.id => Look::Ours,
            Some(_) => Look::Others,
        });
        self.resolve(run, claim);
        Some(self.state)
    }

    /// An answer to one of the claim's puts.
    pub(crate) fn claim_answer(
        &mut self,
        run: Run,
        mut claim: Claim,
        part: Part,
        outcome: PutOutcome,
    ) {
        match part {
            Part::PutRecord => {
                claim.record_known = true;
                if let PutOutcome::Exists(Value::Record { digest, pin }) = outcome {
                    if !self.desk.has_digest(&run, digest) {
                        return self.other_digest(run, digest);
                    }
                    claim = self.desk.adopt(claim, pin);
                }
            }
            Part::PutClaim => {
                let is_ours = match outcome {
                    PutOutcome::Created => true,
                    PutOutcome::Exists(owner) => owner == Value::Owner(run.id),
                };
                claim.claim_is_ours = Some(is_ours);
            }
            _ => claim.entry_left = false,
        }
        self.resolve(run, claim);
    }

    /// Step 4.
    fn other_digest(&mut self, mut run: Run, theirs: Digest) {
        let request = self.desk.request;
        if run.is_accepted && self.desk.protocol.mechanisms.kept_as_derived_id {
            run.id = self.desk.derived_id(&run, theirs.encoding);
            run.stage = self.desk.protocol.claim_in_s3(request, run.own_pin);
            return self.set_run(Some(run));
        }
        if run.origin != Origin::StoreEntry {
            self.disk().journal[request] = None;
            if !run.is_accepted {
                self.tell(Sent::Refused);
            }
        }
        self.set_run(None);
    }

    /// Goes on once all of it is answered.
    fn resolve(&mut self, mut run: Run, claim: Claim) {
        run.stage = Stage::Claim(claim);
        let (Some(is_ours), Some(look), true, false) =
            (claim.claim_is_ours, claim.look, claim.record_known, claim.entry_left)
        else {
            return self.set_run(Some(run));
        };
        match look {
            Look::Ours => return self.committed(run, claim.place, claim.folder),
            Look::Nothing if is_ours => {
                let in_store = self.desk.protocol.has_store_entry(self.desk.request)
                    && claim.place == Place::S3;
                self.accept(&mut run, in_store);
                run.stage = self.desk.artifacts_stage(claim.place, claim.pin, claim.folder);
            }
            _ => {
                let next = claim.for_folder(claim.folder.next(), &self.desk.protocol.mechanisms);
                run.stage = Stage::Claim(next);
            }
        }
        self.set_run(Some(run));
    }
}

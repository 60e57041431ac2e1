//! Steps 3 and 4: record, claim and folder check in parallel; a record with another digest.

use crate::{
    actions::Operation,
    mechanisms::Mechanisms,
    names::{Digest, Folder, Pin},
    protocol::{Context, Protocol, Transition},
    state::{Claim, FolderCheck, Origin, RequestStatus, Run, Stage, State, Target},
    store::{Key, PutOutcome, Value},
    write::artifact_operations,
};

impl Claim {
    /// A claim without any response.
    pub(crate) fn new(target: Target, pin: Pin, entry_left: bool, mechanisms: &Mechanisms) -> Self {
        let empty = Self {
            target,
            pin,
            folder: Folder::first(pin.base),
            record_known: false,
            claim_is_ours: None,
            folder_check: None,
            entry_left,
        };
        empty.for_folder(Folder::first(pin.base), mechanisms)
    }

    /// The same claim for another folder, with no responses for it.
    pub(crate) fn for_folder(self, folder: Folder, mechanisms: &Mechanisms) -> Self {
        let folder_check = (!mechanisms.unclaimed_folder_check).then_some(FolderCheck::NoManifest);
        Self { folder, claim_is_ours: None, folder_check, ..self }
    }

    /// The operations without a response.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        let operations = [
            (Operation::PutRecord, !self.record_known),
            (Operation::PutClaim, self.claim_is_ours.is_none()),
            (Operation::CheckFolder, self.folder_check.is_none()),
            (Operation::PutEntry, self.entry_left),
        ];
        operations
            .into_iter()
            .filter_map(|(operation, is_left)| is_left.then_some(operation))
            .collect()
    }
}

impl Protocol {
    /// The operations of the stage of a claim.
    pub(crate) fn claim_operations(&self, claim: &Claim) -> Vec<Operation> {
        let mut operations = claim.operations();
        if !self.mechanisms.claimed_before_artifacts {
            operations.extend(artifact_operations(self.artifacts_of(claim.pin.version), false));
        }
        operations
    }
}

impl Context<'_> {
    /// The object that an operation of the claim puts.
    pub(crate) fn claim_put(
        &self,
        run: &Run,
        claim: &Claim,
        operation: Operation,
    ) -> Option<(Key, Value)> {
        let digest = self.protocol.digest(self.request, run.own_pin.version);
        match operation {
            Operation::PutRecord => {
                Some((Key::Record(run.id), Value::Record { digest, pin: claim.pin }))
            }
            Operation::PutClaim => Some((Key::Claim(claim.folder), Value::Owner(run.id))),
            // Only without `claimed_before_artifacts`.
            Operation::PutArtifact(artifact) => {
                let source = self.source(run, claim.pin);
                Some((Key::Artifact(claim.folder, artifact), Value::Artifact(source)))
            }
            Operation::PutEntry => {
                let value = Value::Entry { request: self.request, pin: run.own_pin };
                Some((self.entry_key(run), value))
            }
            _ => None,
        }
    }

    /// The key of the run's journal entry in S3.
    pub(crate) fn entry_key(&self, run: &Run) -> Key {
        let digest = self.protocol.digest(self.request, run.own_pin.version);
        let in_key = self.protocol.mechanisms.store_journal_digest_in_key;
        Key::Entry(run.id, in_key.then_some(digest))
    }

    /// Whether a digest is the digest of the run's content, in the digest's encoding.
    fn has_digest(&self, run: &Run, digest: Digest) -> bool {
        let mechanisms = &self.protocol.mechanisms;
        let is_reencoded =
            mechanisms.pinned_version && mechanisms.digest_compared_in_record_encoding;
        let encoding = if is_reencoded { digest.encoding } else { run.own_pin.version };
        self.protocol.digest(self.request, encoding) == digest
    }

    /// Adopts what the record pins.
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

impl Transition<'_> {
    /// The export's folders in the local store.
    pub(crate) fn local_folders(&self, journal: Pin) -> Vec<Folder> {
        let local = &self.state.replicas[self.context.replica].disk.local;
        let id = self.context.protocol.plain_id(self.context.request);
        if self.context.protocol.mechanisms.local_folders_by_scan {
            local.folders_by_scan(id)
        } else {
            local.folders_from(journal.base, id)
        }
    }

    /// The start of step 3 in the local store. If the export already has folders there, it
    /// continues in the last: the others turned out to be taken after their claim was put.
    pub(crate) fn local_claim(&self, pin: Pin) -> Stage {
        let mechanisms = &self.context.protocol.mechanisms;
        let claim = Claim::new(Target::Local, pin, false, mechanisms);
        let folder = self.local_folders(pin).last().copied();
        let known = folder.filter(|_| mechanisms.local_folders_by_scan);
        Stage::Claim(known.map_or(claim, |folder| claim.for_folder(folder, mechanisms)))
    }

    /// Checks the folder for a manifest.
    pub(crate) fn check_folder(mut self, run: Run) -> Option<State> {
        let Stage::Claim(mut claim) = run.stage else { return None };
        let store = match claim.target {
            Target::S3 => self.state.s3_of(self.context.replica),
            Target::Local => &self.state.replicas[self.context.replica].disk.local,
        };
        claim.folder_check = Some(match store.manifest_owner(claim.folder) {
            None => FolderCheck::NoManifest,
            Some(Some(owner)) if owner == run.id => FolderCheck::OwnManifest,
            Some(_) => FolderCheck::OtherManifest,
        });
        self.resolve(run, claim);
        Some(self.state)
    }

    /// Handles the response to one of the claim's puts.
    pub(crate) fn claim_response(
        &mut self,
        run: Run,
        mut claim: Claim,
        operation: Operation,
        outcome: PutOutcome,
    ) {
        match operation {
            Operation::PutRecord => {
                claim.record_known = true;
                if let PutOutcome::Exists(Value::Record { digest, pin }) = outcome {
                    if !self.context.has_digest(&run, digest) {
                        return self.other_digest(run, digest);
                    }
                    claim = self.context.adopt(claim, pin);
                }
            }
            Operation::PutClaim => {
                let is_ours = match outcome {
                    PutOutcome::Created => true,
                    PutOutcome::Exists(owner) => owner == Value::Owner(run.id),
                };
                claim.claim_is_ours = Some(is_ours);
            }
            Operation::PutArtifact(_) => {}
            _ => claim.entry_left = false,
        }
        self.resolve(run, claim);
    }

    /// Step 4: the record has another digest.
    fn other_digest(&mut self, mut run: Run, theirs: Digest) {
        self.check_deciding_store();
        let request = self.context.request;
        if run.is_accepted && self.context.protocol.mechanisms.stored_under_derived_id {
            run.id = self.context.derived_id(&run, theirs.encoding);
            run.stage = self.context.protocol.claim_in_s3(request, run.own_pin);
            return self.set_run(Some(run));
        }
        if run.origin != Origin::StoreEntry {
            self.disk().journal[request] = None;
            if !run.is_accepted {
                self.set_status(RequestStatus::Refused);
            }
        }
        self.set_run(None);
    }

    /// Continues when every response has arrived.
    fn resolve(&mut self, mut run: Run, claim: Claim) {
        run.stage = Stage::Claim(claim);
        let (Some(is_ours), Some(folder_check), true, false) =
            (claim.claim_is_ours, claim.folder_check, claim.record_known, claim.entry_left)
        else {
            return self.set_run(Some(run));
        };
        match folder_check {
            FolderCheck::OwnManifest => return self.committed(run, claim.target, claim.folder),
            FolderCheck::NoManifest if is_ours => {
                let in_store = self.context.protocol.has_store_entry(self.context.request)
                    && claim.target == Target::S3;
                self.accept(&mut run, in_store);
                run.stage = self.context.artifacts_stage(claim.target, claim.pin, claim.folder);
            }
            _ => {
                let next = claim.for_folder(claim.folder.next(), &self.context.protocol.mechanisms);
                run.stage = Stage::Claim(next);
            }
        }
        self.set_run(Some(run));
    }
}

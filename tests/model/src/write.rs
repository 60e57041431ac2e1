//! Steps 6 and 7: artifacts and index entry in parallel, then the manifest.

use crate::{
    actions::Operation,
    names::{Folder, Pin, Source, Version},
    protocol::{Context, Protocol, Transition},
    state::{Claim, Origin, Run, Stage, Target},
    store::{ArtifactSet, Key, PutOutcome, Value, artifacts_in},
};

/// The unconfirmed operations.
pub(crate) fn artifact_operations(artifacts_left: ArtifactSet, index_left: bool) -> Vec<Operation> {
    artifacts_in(artifacts_left)
        .map(Operation::PutArtifact)
        .chain(index_left.then_some(Operation::PutIndex))
        .collect()
}

impl Protocol {
    /// The artifacts of a format version.
    pub(crate) fn artifacts_of(&self, version: Version) -> ArtifactSet {
        self.scenario.artifacts[usize::from(version) - 1]
    }
}

impl Context<'_> {
    /// The object that an operation puts; `None` if it puts none.
    pub(crate) fn put_of(&self, run: &Run, operation: Operation) -> Option<(Key, Value)> {
        match (run.stage, operation) {
            (Stage::Claim(claim), _) => self.claim_put(run, &claim, operation),
            (Stage::Artifacts { folder, pin, .. }, Operation::PutArtifact(artifact)) => {
                let source = self.source(run, pin);
                Some((Key::Artifact(folder, artifact), Value::Artifact(source)))
            }
            (Stage::Artifacts { folder, pin, .. }, Operation::PutIndex) => {
                Some((Key::Index(pin.time, folder), Value::Owner(run.id)))
            }
            (Stage::Manifest { folder, pin, .. }, Operation::PutManifest) => {
                let value = Value::Manifest {
                    source: self.source(run, pin),
                    artifacts: self.protocol.artifacts_of(pin.version),
                    put_by: self.replica,
                };
                Some((Key::Manifest(folder), value))
            }
            _ => None,
        }
    }

    /// What decides the bundle's bytes.
    pub(crate) fn source(&self, run: &Run, pin: Pin) -> Source {
        let digest = self.protocol.digest(self.request, pin.version);
        Source { id: run.id, digest, time: pin.time, version: pin.version }
    }

    pub(crate) fn artifacts_stage(&self, target: Target, pin: Pin, folder: Folder) -> Stage {
        let artifacts_left = self.protocol.artifacts_of(pin.version);
        Stage::Artifacts { target, pin, folder, artifacts_left, index_left: true }
    }
}

impl Transition<'_> {
    /// Handles the response to a put.
    pub(crate) fn put_response(&mut self, mut run: Run, operation: Operation, outcome: PutOutcome) {
        match run.stage {
            Stage::Claim(claim) => self.claim_response(run, claim, operation, outcome),
            Stage::Artifacts { target, pin, folder, mut artifacts_left, mut index_left } => {
                match operation {
                    Operation::PutArtifact(artifact) => {
                        let ours = Value::Artifact(self.context.source(&run, pin));
                        let is_compared = self.context.protocol.mechanisms.existing_object_compared;
                        if let PutOutcome::Exists(theirs) = outcome
                            && !(is_compared && theirs.same_bytes(ours))
                        {
                            return self.next_folder(run, target, pin, folder);
                        }
                        artifacts_left &= !(1 << artifact);
                    }
                    _ => index_left = false,
                }
                let open = artifacts_left.count_ones() + u32::from(index_left);
                let is_ready = if self.context.protocol.mechanisms.manifest_last {
                    open == 0
                } else {
                    open <= 1
                };
                if is_ready {
                    run.manifest_sent |= target == Target::S3;
                    run.stage = Stage::Manifest { target, pin, folder };
                } else {
                    run.stage =
                        Stage::Artifacts { target, pin, folder, artifacts_left, index_left };
                }
                self.set_run(Some(run));
            }
            Stage::Manifest { target, pin, folder } => {
                let is_ours = match outcome {
                    PutOutcome::Created => true,
                    PutOutcome::Exists(Value::Manifest { source, .. }) => {
                        source.id == run.id
                            && self.context.protocol.mechanisms.existing_object_compared
                    }
                    PutOutcome::Exists(_) => false,
                };
                if is_ours {
                    self.committed(run, target, folder);
                } else {
                    self.next_folder(run, target, pin, folder);
                }
            }
            _ => {}
        }
    }

    /// The folder has foreign objects: tries the next one. Only the claim is the export's own.
    fn next_folder(&mut self, mut run: Run, target: Target, pin: Pin, folder: Folder) {
        let mechanisms = &self.context.protocol.mechanisms;
        let claim = Claim { record_known: true, ..Claim::new(target, pin, false, mechanisms) };
        run.stage = Stage::Claim(claim.for_folder(folder.next(), mechanisms));
        self.set_run(Some(run));
    }

    /// Handles a committed bundle.
    pub(crate) fn committed(&mut self, mut run: Run, target: Target, folder: Folder) {
        let in_store =
            self.context.protocol.has_store_entry(self.context.request) && target == Target::S3;
        self.accept(&mut run, in_store);
        if target == Target::S3 {
            self.check_deciding_store();
        }
        let reported = &mut self.state.reported[self.context.request];
        let is_reported = run.origin != Origin::StoreEntry;
        match target {
            Target::S3 => {
                if is_reported {
                    reported.stored_in_s3[self.context.replica] = Some(folder);
                }
                run.stage = Stage::Verify { folder };
            }
            Target::Local => {
                reported.stored_locally[self.context.replica] = true;
                run.is_identified = false;
                run.stage = self.stored_locally();
            }
        }
        self.set_run(Some(run));
    }
}

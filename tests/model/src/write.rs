//! Steps 6 and 7: artifacts and index entry side by side, then the manifest.

use crate::{
    actions::Part,
    names::{Folder, Pin, Source, Version},
    protocol::{Desk, Protocol, Turn},
    state::{Claim, Origin, Place, Run, Stage},
    store::{ArtifactSet, Key, PutOutcome, Value, artifacts_in},
};

/// What is still to be confirmed.
pub(crate) fn artifact_parts(left: ArtifactSet, index_left: bool) -> Vec<Part> {
    artifacts_in(left).map(Part::PutArtifact).chain(index_left.then_some(Part::PutIndex)).collect()
}

impl Protocol {
    /// What a format version makes.
    pub(crate) fn artifacts_of(&self, version: Version) -> ArtifactSet {
        self.scenario.artifacts[usize::from(version) - 1]
    }
}

impl Desk<'_> {
    /// What an operation puts; none where it puts nothing.
    pub(crate) fn put_of(&self, run: &Run, part: Part) -> Option<(Key, Value)> {
        match (run.stage, part) {
            (Stage::Claim(claim), _) => self.claim_put(run, &claim, part),
            (Stage::Artifacts { folder, pin, .. }, Part::PutArtifact(artifact)) => {
                let source = self.source(run, pin);
                Some((Key::Artifact(folder, artifact), Value::Artifact(source)))
            }
            (Stage::Artifacts { folder, pin, .. }, Part::PutIndex) => {
                Some((Key::Index(pin.time, folder), Value::Owner(run.id)))
            }
            (Stage::Manifest { folder, pin, .. }, Part::PutManifest) => {
                let value = Value::Manifest {
                    source: self.source(run, pin),
                    artifacts: self.protocol.artifacts_of(pin.version),
                    by: self.replica,
                };
                Some((Key::Manifest(folder), value))
            }
            _ => None,
        }
    }

    /// What the bundle's bytes are made of.
    fn source(&self, run: &Run, pin: Pin) -> Source {
        let digest = self.protocol.digest(self.request, pin.version);
        Source { id: run.id, digest, time: pin.time, version: pin.version }
    }

    pub(crate) fn artifacts_stage(&self, place: Place, pin: Pin, folder: Folder) -> Stage {
        let left = self.protocol.artifacts_of(pin.version);
        Stage::Artifacts { place, pin, folder, left, index_left: true }
    }
}

impl Turn<'_> {
    /// A put was answered.
    pub(crate) fn answer(&mut self, mut run: Run, part: Part, outcome: PutOutcome) {
        match run.stage {
            Stage::Claim(claim) => self.claim_answer(run, claim, part, outcome),
            Stage::Artifacts { place, pin, folder, mut left, mut index_left } => {
                match part {
                    Part::PutArtifact(artifact) => {
                        let ours = Value::Artifact(self.desk.source(&run, pin));
                        if let PutOutcome::Exists(theirs) = outcome
                            && !theirs.same_bytes(ours)
                        {
                            return self.next_folder(run, place, pin, folder);
                        }
                        left &= !(1 << artifact);
                    }
                    _ => index_left = false,
                }
                let open = left.count_ones() + u32::from(index_left);
                let is_ready =
                    if self.desk.protocol.mechanisms.manifest_last { open == 0 } else { open <= 1 };
                if is_ready {
                    run.manifest_sent |= place == Place::S3;
                    run.stage = Stage::Manifest { place, pin, folder };
                } else {
                    run.stage = Stage::Artifacts { place, pin, folder, left, index_left };
                }
                self.set_run(Some(run));
            }
            Stage::Manifest { place, pin, folder } => {
                let is_ours = match outcome {
                    PutOutcome::Created => true,
                    PutOutcome::Exists(Value::Manifest { source, .. }) => source.id == run.id,
                    PutOutcome::Exists(_) => false,
                };
                if is_ours {
                    self.committed(run, place, folder);
                } else {
                    self.next_folder(run, place, pin, folder);
                }
            }
            Stage::KeptLocally | Stage::Verify { .. } | Stage::Delete { .. } => {}
        }
    }

    /// The folder turned out to be a stranger's: its claim is all that is ours.
    fn next_folder(&mut self, mut run: Run, place: Place, pin: Pin, folder: Folder) {
        let mechanisms = &self.desk.protocol.mechanisms;
        let claim = Claim { record_known: true, ..Claim::new(place, pin, false, mechanisms) };
        run.stage = Stage::Claim(claim.for_folder(folder.next(), mechanisms));
        self.set_run(Some(run));
    }

    /// The bundle is there.
    pub(crate) fn committed(&mut self, mut run: Run, place: Place, folder: Folder) {
        let in_store = self.desk.protocol.has_store_entry(self.desk.request) && place == Place::S3;
        self.accept(&mut run, in_store);
        let told = &mut self.state.told[self.desk.request];
        let is_told = run.origin != Origin::StoreEntry;
        match place {
            Place::S3 => {
                if is_told {
                    told.stored_in_s3[self.desk.replica] = Some(folder);
                }
                run.stage = Stage::Verify { folder };
            }
            Place::Local => {
                told.stored_locally[self.desk.replica] = true;
                run.stage = Stage::KeptLocally;
            }
        }
        self.set_run(Some(run));
    }
}

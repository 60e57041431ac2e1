//! Step 10: what the replica kept goes, once everything in S3 was checked.

use crate::{
    names::Folder,
    protocol::{Protocol, Turn},
    state::{Origin, Run, Stage, State},
    store::Key,
};

/// One deletion. Each is a moment at which a crash can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    LocalManifest,
    LocalArtifacts,
    LocalClaimAndRecord,
    StoreEntries,
    /// Not deleted but written; where it stands decides what a crash leaves.
    Receipt,
    JournalEntry,
}

impl Protocol {
    fn deletions(&self) -> Vec<Deletion> {
        use Deletion::{
            JournalEntry, LocalArtifacts, LocalClaimAndRecord, LocalManifest, Receipt, StoreEntries,
        };
        let local = if self.mechanisms.manifest_deleted_first {
            [LocalManifest, LocalArtifacts, LocalClaimAndRecord]
        } else {
            [LocalArtifacts, LocalManifest, LocalClaimAndRecord]
        };
        let mut deletions: Vec<_> = local.into_iter().chain([StoreEntries, Receipt]).collect();
        if self.mechanisms.journal_entry_deleted_last {
            deletions.push(JournalEntry);
        } else {
            deletions.insert(0, JournalEntry);
        }
        deletions
    }

    pub(crate) fn deletion_needs_s3(&self, next: u8) -> bool {
        self.scenario.journal_in_store
            && self.deletions().get(usize::from(next)) == Some(&Deletion::StoreEntries)
    }
}

impl Turn<'_> {
    /// Every remote object's size and digest.
    pub(crate) fn verify(mut self, mut run: Run) -> Option<State> {
        let Stage::Verify { folder } = run.stage else { return None };
        let bundle = self.state.s3.bundles().find(|bundle| bundle.folder == folder)?;
        if !self.state.s3.is_whole(&bundle) {
            return None;
        }
        run.stage = Stage::Delete { next: 0 };
        self.skip_needless(&mut run);
        self.set_run(Some(run));
        Some(self.state)
    }

    /// The next deletion.
    pub(crate) fn delete(mut self, mut run: Run) -> Option<State> {
        let Stage::Delete { next } = run.stage else { return None };
        let deletions = self.desk.protocol.deletions();
        self.carry_out(&run, *deletions.get(usize::from(next))?);
        run.stage = Stage::Delete { next: next + 1 };
        self.skip_needless(&mut run);
        let Stage::Delete { next } = run.stage else { return None };
        self.set_run((usize::from(next) < deletions.len()).then_some(run));
        Some(self.state)
    }

    /// A deletion of nothing is no moment of its own.
    fn skip_needless(&self, run: &mut Run) {
        let deletions = self.desk.protocol.deletions();
        while let Stage::Delete { next } = run.stage
            && let Some(deletion) = deletions.get(usize::from(next))
        {
            let mut after = Turn { state: self.state.clone(), desk: self.desk };
            after.carry_out(run, *deletion);
            if after.state != self.state {
                return;
            }
            run.stage = Stage::Delete { next: next + 1 };
        }
    }

    fn carry_out(&mut self, run: &Run, deletion: Deletion) {
        let request = self.desk.request;
        // Who finishes another's entry has nothing of it but that entry.
        if run.origin == Origin::StoreEntry && deletion != Deletion::StoreEntries {
            return;
        }
        let folders = self.local_folders(run.own_pin);
        let id = self.desk.protocol.plain_id(request);
        let is_there = |folder: &Folder| folders.contains(folder);
        let local = &mut self.state.replicas[self.desk.replica].disk.local;
        match deletion {
            Deletion::LocalManifest => {
                local.retain(|key, _| !matches!(key, Key::Manifest(folder) if is_there(&folder)));
            }
            Deletion::LocalArtifacts => local.retain(|key, _| match key {
                Key::Artifact(folder, _) | Key::Index(_, folder) => !is_there(&folder),
                _ => true,
            }),
            Deletion::LocalClaimAndRecord => local.retain(|key, _| match key {
                Key::Claim(folder) => !is_there(&folder),
                Key::Record(record) => record != id,
                _ => true,
            }),
            Deletion::StoreEntries => {
                let plain = Run { id, ..run.clone() };
                for key in [self.desk.entry_key(run), self.desk.entry_key(&plain)] {
                    self.state.s3.remove(key);
                }
            }
            Deletion::Receipt => self.disk().receipts[request] = true,
            Deletion::JournalEntry => self.disk().journal[request] = None,
        }
    }
}

//! Step 10: verifies the bundle in S3 and removes the local copy.

use crate::{
    names::Folder,
    protocol::{Protocol, Transition},
    state::{Origin, Run, Stage, State},
    store::Key,
};

/// One deletion. A crash can occur before and after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    LocalManifest,
    LocalArtifacts,
    LocalClaimAndRecord,
    /// Step 18: the note of the last event, a write.
    Note,
    /// Step 20: its claim, a put.
    EventClaim,
    StoreEntries,
    /// A write. Its position among the deletions decides what a crash leaves.
    Receipt,
    JournalEntry,
}

impl Protocol {
    fn deletions(&self) -> Vec<Deletion> {
        use Deletion::{
            EventClaim, JournalEntry, LocalArtifacts, LocalClaimAndRecord, LocalManifest, Note,
            Receipt, StoreEntries,
        };
        let local = if self.mechanisms.manifest_deleted_first {
            [LocalManifest, LocalArtifacts, LocalClaimAndRecord]
        } else {
            [LocalArtifacts, LocalManifest, LocalClaimAndRecord]
        };
        let mut deletions = Vec::from(local);
        let has_events = self.scenario.events.is_some();
        if has_events && self.mechanisms.event_before_entry_is_removed {
            deletions.push(Note);
        }
        if has_events
            && self.scenario.journal_in_store
            && self.mechanisms.event_claimed_before_entry_ends
        {
            deletions.push(EventClaim);
        }
        deletions.extend([StoreEntries, Receipt]);
        if self.mechanisms.journal_entry_deleted_last {
            deletions.push(JournalEntry);
        } else {
            deletions.insert(0, JournalEntry);
        }
        if has_events && !self.mechanisms.event_before_entry_is_removed {
            deletions.push(Note);
        }
        deletions
    }

    pub(crate) fn deletion_needs_s3(&self, next: u8) -> bool {
        self.scenario.journal_in_store
            && matches!(
                self.deletions().get(usize::from(next)),
                Some(Deletion::StoreEntries | Deletion::EventClaim)
            )
    }
}

impl Transition<'_> {
    /// Checks size and digest of every object in S3.
    pub(crate) fn verify(mut self, run: Run) -> Option<State> {
        let Stage::Verify { folder } = run.stage else { return None };
        let s3 = self.state.s3_of(self.context.replica);
        let bundle = s3.bundles().find(|bundle| bundle.folder == folder)?;
        if !s3.is_complete(&bundle) {
            return None;
        }
        self.check_deciding_store();
        self.start_deletions(run);
        Some(self.state)
    }

    /// Starts the deletions.
    pub(crate) fn start_deletions(&mut self, mut run: Run) {
        run.stage = Stage::Delete { next: 0 };
        self.skip_empty_deletions(&mut run);
        self.set_run(Some(run));
    }

    /// Executes the next deletion.
    pub(crate) fn delete(mut self, mut run: Run) -> Option<State> {
        let Stage::Delete { next } = run.stage else { return None };
        let deletions = self.context.protocol.deletions();
        self.apply_deletion(&run, *deletions.get(usize::from(next))?);
        run.stage = Stage::Delete { next: next + 1 };
        self.skip_empty_deletions(&mut run);
        let Stage::Delete { next } = run.stage else { return None };
        self.set_run((usize::from(next) < deletions.len()).then_some(run));
        Some(self.state)
    }

    /// Skips deletions that change nothing, so that they add no states.
    fn skip_empty_deletions(&self, run: &mut Run) {
        let deletions = self.context.protocol.deletions();
        while let Stage::Delete { next } = run.stage
            && let Some(deletion) = deletions.get(usize::from(next))
        {
            let mut after = Transition { state: self.state.clone(), context: self.context };
            after.apply_deletion(run, *deletion);
            if after.state != self.state {
                return;
            }
            run.stage = Stage::Delete { next: next + 1 };
        }
    }

    fn apply_deletion(&mut self, run: &Run, deletion: Deletion) {
        let request = self.context.request;
        // A replica that took over an entry has only that entry.
        if run.origin == Origin::StoreEntry
            && !matches!(deletion, Deletion::Note | Deletion::EventClaim | Deletion::StoreEntries)
        {
            return;
        }
        let folders = self.local_folders(run.own_pin);
        let id = self.context.protocol.plain_id(request);
        let is_there = |folder: &Folder| folders.contains(folder);
        let local = &mut self.state.replicas[self.context.replica].disk.local;
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
                for key in [self.context.entry_key(run), self.context.entry_key(&plain)] {
                    self.context.protocol.end_entry(&mut self.state, key, false);
                }
            }
            Deletion::Note => self.note_final_event(),
            Deletion::EventClaim => self.claim_final_event(),
            Deletion::Receipt => self.disk().receipts[request] = true,
            Deletion::JournalEntry => self.disk().journal[request] = None,
        }
    }
}

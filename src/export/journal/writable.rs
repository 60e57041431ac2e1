//! Checks whether the journal can record entries.

use std::{io, sync::atomic::Ordering};

use tara_export_bundle::AcceptedExport;
use tara_export_disk::DiskError;

use super::{Files, JournalEntry, JournalError, JournalErrorKind};

/// Size of the smallest entry: its header, in one block.
const SMALLEST_ENTRY_BYTES: u64 = 4096;

impl Files {
    /// Records an entry. If there is no space for it, remembers its size: checks fail until an entry is recorded or
    /// that much space is available.
    pub(super) fn record_and_track_refusal(
        &self,
        export: &AcceptedExport,
    ) -> Result<JournalEntry, JournalError> {
        let recorded = self.record(export);
        match &recorded {
            Ok(_) => self.refused_bytes.store(0, Ordering::Relaxed),
            Err(error) if error.kind() == JournalErrorKind::Full => {
                let size_bytes = export.encode().iter().map(|piece| piece.len() as u64).sum();
                self.refused_bytes.store(size_bytes, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        recorded
    }

    pub(super) fn check_writable(&self) -> Result<(), JournalError> {
        let needed_bytes = self.refused_bytes.load(Ordering::Relaxed).max(SMALLEST_ENTRY_BYTES);
        self.usage.require_space(needed_bytes, self.limits.max_bytes)?;
        self.disk.check_writable()?;
        let existing = self.journal.ancestors().find(|folder| folder.exists());
        let space = existing.and_then(|folder| rustix::fs::statvfs(folder).ok());
        let free_bytes = space.map(|space| space.f_bavail.saturating_mul(space.f_frsize));
        if free_bytes.is_some_and(|free_bytes| free_bytes < needed_bytes) {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(DiskError::of_write("write an entry to", &self.journal, full).into());
        }
        Ok(())
    }
}

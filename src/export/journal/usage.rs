//! In-memory accounting of the journal's entries.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tara_export_bundle::ExportId;

use tara_export_disk::plain_files;

use super::{Files, JournalError, ids::Ids, names::leading_export_id};

/// Number and total size of the entries. Quarantined entries do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalSize {
    /// Number of entries, including those of later releases.
    pub count: u64,
    /// Their total size.
    pub size_bytes: u64,
}

/// The lock is held while an entry's file is published or removed, so that the counters always match the folder. Only
/// quarantining runs an fsync under it.
#[derive(Debug, Default)]
pub(super) struct Usage {
    counters: Mutex<Counters>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    size: JournalSize,
    /// Bytes of entries that are not published yet.
    reserved_bytes: u64,
    ids: Ids,
    /// Number of changes of the folder, to discard a count that overlaps with a change.
    changes: u64,
}

impl Counters {
    fn require_space(&self, requested_bytes: u64, max_bytes: u64) -> Result<(), JournalError> {
        let held_bytes = self.size.size_bytes.saturating_add(self.reserved_bytes);
        if held_bytes.saturating_add(requested_bytes) > max_bytes {
            return Err(JournalError::Full { held_bytes, requested_bytes, max_bytes });
        }
        Ok(())
    }

    /// Counts a published entry.
    pub(super) fn add(&mut self, export_id: Option<ExportId>, size_bytes: u64) {
        self.changes += 1;
        self.size.count += 1;
        self.size.size_bytes += size_bytes;
        if let Some(export_id) = export_id {
            self.ids.add(export_id);
        }
    }

    /// Uncounts a removed entry.
    pub(super) fn subtract(&mut self, export_id: Option<ExportId>, size_bytes: u64) {
        self.changes += 1;
        self.size.count = self.size.count.saturating_sub(1);
        self.size.size_bytes = self.size.size_bytes.saturating_sub(size_bytes);
        if let Some(export_id) = export_id {
            self.ids.remove(export_id);
        }
    }

    /// Adds the id of an entry that a scan found.
    pub(super) fn found(&mut self, export_id: ExportId) {
        self.ids.found(export_id);
    }
}

impl Usage {
    /// Fails if `requested_bytes` more would exceed the limit.
    pub(super) fn require_space(
        &self,
        requested_bytes: u64,
        max_bytes: u64,
    ) -> Result<(), JournalError> {
        self.lock().require_space(requested_bytes, max_bytes)
    }

    pub(super) fn size(&self) -> JournalSize {
        self.lock().size
    }

    pub(super) fn may_have(&self, export_id: ExportId) -> bool {
        self.lock().ids.may_have(export_id)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Counters> {
        // The next count corrects the counters after a panic while the lock was held.
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves space until the reservation is dropped.
    pub(super) fn reserve(
        &self,
        size_bytes: u64,
        max_bytes: u64,
    ) -> Result<Reservation<'_>, JournalError> {
        let mut counters = self.lock();
        counters.require_space(size_bytes, max_bytes)?;
        counters.reserved_bytes += size_bytes;
        Ok(Reservation { usage: self, size_bytes })
    }
}

/// Space that is reserved for an entry being written.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    usage: &'a Usage,
    size_bytes: u64,
}

impl Reservation<'_> {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut counters = self.usage.lock();
        counters.reserved_bytes = counters.reserved_bytes.saturating_sub(self.size_bytes);
    }
}

impl Files {
    /// Counts the entries at startup. Reads the metadata of each file, but opens none.
    pub(super) fn count(&self) -> Result<(), JournalError> {
        let mut counters = self.usage.lock();
        *counters = Counters::default();
        for file in plain_files(&self.journal)? {
            let file = file?;
            let export_id = leading_export_id(&file.name.to_string_lossy());
            counters.add(export_id, file.metadata.len());
        }
        Ok(())
    }

    /// Counts the entries again, since an operator may have changed the folder. A count that overlaps with a change is
    /// discarded, so that changes do not have to wait for it.
    pub(super) fn recount(&self) -> Result<(), JournalError> {
        let changes_before = self.usage.lock().changes;
        let mut size = JournalSize::default();
        for file in plain_files(&self.journal)? {
            size.count += 1;
            size.size_bytes += file?.metadata.len();
        }
        let mut counters = self.usage.lock();
        if counters.changes == changes_before {
            counters.size = size;
        }
        Ok(())
    }
}

//! Entries that stay in the journal although this process cannot process them. Their exports count as accepted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tara_export_bundle::ExportId;

use super::{Journal, JournalError, LaterEntry, OtherFiles, UnreadEntry};

/// Maximum number of entries that are known by their export id.
const MAX_KNOWN: usize = 10_000;

/// An entry that cannot be processed: a later release wrote it, or the disk fails to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnprocessableEntry {
    /// The file's name.
    pub name: String,
    /// Why it cannot be processed.
    pub reason: String,
    /// Whether this process may be able to read it later.
    pub is_transient: bool,
}

/// The unprocessable entries that a scan found.
#[derive(Debug, Clone, Default)]
pub struct UnprocessableEntries {
    count: u64,
    by_export: BTreeMap<Option<ExportId>, UnprocessableEntry>,
}

/// The unprocessable entries that the last scan found.
#[derive(Debug, Default)]
pub(super) struct Unprocessable(Mutex<UnprocessableEntries>);

impl UnprocessableEntries {
    /// Adds the unprocessable entries of a listing.
    pub fn add(&mut self, others: &OtherFiles) {
        for LaterEntry { name, export_id, unknown } in &others.later {
            let (name, reason) = (name.clone(), unknown.to_string());
            self.insert(*export_id, UnprocessableEntry { name, reason, is_transient: false });
        }
        for UnreadEntry { name, export_id, error } in &others.unread {
            let (name, reason) = (name.clone(), error.to_string());
            self.insert(*export_id, UnprocessableEntry { name, reason, is_transient: true });
        }
    }

    fn insert(&mut self, export_id: Option<ExportId>, entry: UnprocessableEntry) {
        let known = self.by_export.get(&export_id);
        let is_known = known.is_some_and(|known| known.name == entry.name);
        if !is_known {
            self.count += 1;
        }
        if known.is_some() || self.by_export.len() < MAX_KNOWN {
            self.by_export.insert(export_id, entry);
        }
    }
}

impl Unprocessable {
    fn lock(&self) -> MutexGuard<'_, UnprocessableEntries> {
        // Each change leaves the entries consistent, even if a panic interrupts it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// Adds entries that a scan in progress found to those of the previous scan, so that their exports are always
    /// known.
    pub fn add_unprocessable(&self, others: &OtherFiles) {
        self.files.unprocessable.lock().add(others);
    }

    /// Replaces the entries of previous scans, at the end of a complete scan.
    pub fn set_unprocessable(&self, entries: UnprocessableEntries) {
        *self.files.unprocessable.lock() = entries;
    }

    /// The number of unprocessable entries, and the first `limit` of them.
    pub fn unprocessable(&self, limit: usize) -> (u64, Vec<UnprocessableEntry>) {
        let found = self.files.unprocessable.lock();
        (found.count, found.by_export.values().take(limit).cloned().collect())
    }

    /// Why an accepted export is not processed; `None` if its entry is not unprocessable.
    pub fn why_unprocessable(&self, export_id: ExportId) -> Option<JournalError> {
        let found = self.files.unprocessable.lock();
        let entry = found.by_export.get(&Some(export_id))?;
        let UnprocessableEntry { reason, is_transient, .. } = entry.clone();
        Some(JournalError::Unprocessable { export_id, reason, is_transient })
    }
}

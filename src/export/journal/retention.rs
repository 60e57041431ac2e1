//! Retention: removes receipts and failure records by age and number.
//!
//! | file | removed |
//! |---|---|
//! | receipt | after `RECEIPT_RETENTION`, or beyond `MAX_RECEIPTS`: the store has the same information |
//! | failure record whose content is stored under another id | after `FAILURE_RETENTION`, or beyond `MAX_FAILURE_RECORDS`: the id belongs to another export |
//! | any other failure record | after `FAILURE_RETENTION`, never earlier: a retry of its id would create a bundle after the failure was reported |
//!
//! A lock prevents removing and writing the same file at the same time, and a removal reads the file again first. A
//! removal becomes durable with the folder's next fsync; a file that a crash restores is removed again.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tara_export_bundle::ExportId;
use tara_export_disk::{Batch, DiskError, batch, plain_files};
use tara_export_telemetry::names;

use super::{Files, Journal, JournalError, retention_index::RetentionIndex};

/// Maximum number of files of each kind that one call removes.
const MAX_REMOVED_PER_CALL: usize = 1_000;
/// Number of locks; each export is assigned to one of them.
const LOCKS: usize = 64;

/// How long receipts and failure records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalRetention {
    /// The setting `RECEIPT_RETENTION`.
    pub receipts: Duration,
    /// The setting `FAILURE_RETENTION`.
    pub failures: Duration,
}

/// The number of removed files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovedFiles {
    /// Removed receipts.
    pub receipts: u64,
    /// Removed failure records.
    pub failures: u64,
    /// Whether more files may have expired.
    pub more: bool,
}

/// In-memory indexes of receipts and failure records.
#[derive(Debug)]
pub(super) struct Retained {
    pub receipts: RetentionIndex,
    /// Failure records of exports without a bundle under any id.
    pub failures: RetentionIndex,
    /// Failure records of exports whose content is stored under another id.
    pub stored_under_other_id: RetentionIndex,
    /// Whether the folders were listed, so that the indexes are complete.
    is_complete: Mutex<bool>,
    locks: [Mutex<()>; LOCKS],
}

impl Default for Retained {
    fn default() -> Self {
        Self {
            receipts: RetentionIndex::default(),
            failures: RetentionIndex::default(),
            stored_under_other_id: RetentionIndex::default(),
            is_complete: Mutex::default(),
            locks: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Retained {
    /// Locks the files of an export. Hold the lock while reading a file and then writing or removing it.
    pub(super) fn lock(&self, export_id: ExportId) -> MutexGuard<'_, ()> {
        let number = export_id.as_uuid().as_u128() % LOCKS as u128;
        // The lock guards no value.
        self.locks[number as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    /// Removes expired files, damaged receipts, and files beyond the limits; a limited number of each kind. The first
    /// call lists the folders.
    ///
    /// # Errors
    /// If a folder cannot be listed or a file cannot be removed.
    pub async fn remove_expired(
        &self,
        retention: JournalRetention,
        now: DateTime<Utc>,
    ) -> Result<RemovedFiles, JournalError> {
        self.run(move |files| files.remove_expired(retention, now)).await
    }

    /// Checks whether a caller may start another export that can end without a bundle. Does not access the disk.
    ///
    /// # Errors
    /// [`JournalError::TooManyFailures`] if the caller's failure records use up its share.
    pub fn check_failure_share(&self, caller: &str) -> Result<(), JournalError> {
        let limit = self.files.limits.max_failures;
        let (count, share) = self.files.retained.failures.share_of(caller, limit);
        if count < share {
            return Ok(());
        }
        Err(JournalError::TooManyFailures { caller: caller.to_owned(), count, share, limit })
    }
}

impl Files {
    fn remove_expired(
        &self,
        retention: JournalRetention,
        now: DateTime<Utc>,
    ) -> Result<RemovedFiles, JournalError> {
        let removed = batch(|removals| self.remove_expired_in_batch(retention, now, removals))?;
        let retained = &self.retained;
        for (kind, index) in [
            ("receipts", &retained.receipts),
            ("failures", &retained.failures),
            ("stored_under_other_id", &retained.stored_under_other_id),
        ] {
            names::RETAINED_RECORDS.set(index.count() as f64, [kind]);
        }
        Ok(removed)
    }

    fn remove_expired_in_batch(
        &self,
        retention: JournalRetention,
        now: DateTime<Utc>,
        removals: &mut Batch,
    ) -> Result<RemovedFiles, JournalError> {
        let mut removed = RemovedFiles::default();
        removed.receipts += self.build_indexes(removals)?;
        let retained = &self.retained;
        if let Some(before) = expiry_threshold(retention.receipts, now) {
            let expired = retained.receipts.written_before(before, MAX_REMOVED_PER_CALL);
            removed.more |= expired.len() == MAX_REMOVED_PER_CALL;
            for export_id in expired {
                let is_removed = self.remove_receipt(export_id, Some(before), removals)?;
                removed.receipts += u64::from(is_removed);
            }
        }
        removed.receipts += self.remove_surplus_receipts(MAX_REMOVED_PER_CALL, removals)?;
        if let Some(before) = expiry_threshold(retention.failures, now) {
            for index in [&retained.failures, &retained.stored_under_other_id] {
                let expired = index.written_before(before, MAX_REMOVED_PER_CALL);
                removed.more |= expired.len() == MAX_REMOVED_PER_CALL;
                for export_id in expired {
                    let is_removed =
                        self.remove_failure(index, export_id, Some(before), removals)?;
                    removed.failures += u64::from(is_removed);
                }
            }
        }
        removed.failures += self.remove_surplus_failures(MAX_REMOVED_PER_CALL, removals)?;
        Ok(removed)
    }

    /// Removes up to `max_count` receipts beyond their limit. Returns how many were removed.
    pub(super) fn remove_surplus_receipts(
        &self,
        max_count: usize,
        removals: &mut Batch,
    ) -> Result<u64, DiskError> {
        let mut removed = 0;
        for _ in 0..max_count {
            let surplus = self.retained.receipts.surplus(self.limits.max_receipts);
            let Some(export_id) = surplus else { break };
            removed += u64::from(self.remove_receipt(export_id, None, removals)?);
        }
        Ok(removed)
    }

    /// Removes up to `max_count` failure records beyond the limit of those whose content is stored under another id.
    /// Returns how many were removed.
    pub(super) fn remove_surplus_failures(
        &self,
        max_count: usize,
        removals: &mut Batch,
    ) -> Result<u64, DiskError> {
        let index = &self.retained.stored_under_other_id;
        let mut removed = 0;
        for _ in 0..max_count {
            let Some(export_id) = index.surplus(self.limits.max_failures) else { break };
            removed += u64::from(self.remove_failure(index, export_id, None, removals)?);
        }
        Ok(removed)
    }

    /// Builds the indexes from the folders, once. Returns how many damaged receipts were removed.
    fn build_indexes(&self, removals: &mut Batch) -> Result<u64, JournalError> {
        let mut is_complete =
            self.retained.is_complete.lock().unwrap_or_else(PoisonError::into_inner);
        let mut damaged = 0;
        if *is_complete {
            return Ok(damaged);
        }
        // Failure records first: admission of new exports depends on them.
        for folder in [&self.failed, &self.receipts] {
            for file in plain_files(folder)? {
                let file = file?;
                // A stop must not wait for the rest.
                if self.attempts.is_closed() {
                    return Ok(damaged);
                }
                let name = file.name.to_string_lossy();
                let export_id = name.strip_suffix(".json").and_then(|id| id.parse().ok());
                let Some(export_id) = export_id else { continue };
                if *folder == self.receipts {
                    damaged += u64::from(self.count_receipt(export_id, removals)?);
                } else {
                    self.count_failure(export_id);
                }
            }
        }
        *is_complete = true;
        Ok(damaged)
    }
}

/// Files written before this time have expired. `None` if the retention exceeds the range of times.
fn expiry_threshold(retention: Duration, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    now.checked_sub_signed(TimeDelta::from_std(retention).ok()?)
}

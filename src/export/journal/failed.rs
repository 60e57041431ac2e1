//! Failure records of exports that ended without a bundle.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tara_export_bundle::{ContentDigest, ExportId, FormatVersion, StoreId};
use tara_export_catalog::{
    Export, ExportState,
    summary::{SummaryV1, TimeV1},
};
use tara_export_digest::Sha256;
use tara_export_disk::{Batch, DiskError, batch, plain_files, plain_names};
use tara_export_failpoint::failpoint;

use tara_export_state_file::{self as state_file, StateFileError};

use super::{EntryName, Files, JournalError, retention_index::RetentionIndex};
use crate::export::failure::{Failure, FailureReason};

/// Maximum number of listed failures.
pub const MAX_FAILURES_LISTED: usize = 10_000;

const SCHEMA: &str = "tara-export/failed/v1";

/// An export that ended without a bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedExport {
    export: Export,
    content_digest: ContentDigest,
    failure: Failure,
    stored_under: Option<ExportId>,
    store_id: Option<StoreId>,
    failed_time: DateTime<Utc>,
}

impl FailedExport {
    /// Sets the export's state to [`ExportState::Failed`] with the failure's reason.
    pub fn new(
        mut export: Export,
        content_digest: ContentDigest,
        failure: Failure,
        failed_time: DateTime<Utc>,
    ) -> Self {
        export.state = ExportState::Failed;
        failure.reason.as_str().clone_into(&mut export.state_reason);
        Self { export, content_digest, failure, stored_under: None, store_id: None, failed_time }
    }

    /// Sets the store that the export was accepted for.
    #[must_use]
    pub fn with_store_id(mut self, store_id: Option<StoreId>) -> Self {
        self.store_id = store_id;
        self
    }

    /// Sets the derived id under which the content is stored.
    #[must_use]
    pub fn stored_under(mut self, stored_under: Option<ExportId>) -> Self {
        self.stored_under = stored_under;
        self
    }

    /// The derived id under which the content is stored, if the request id belongs to another export.
    pub fn stored_under_id(&self) -> Option<ExportId> {
        self.stored_under
    }

    /// The export as it was when it failed.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// The content digest of the request.
    pub fn content_digest(&self) -> ContentDigest {
        self.content_digest
    }

    /// Why the export failed.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// When the export failed, by this server's clock.
    pub fn failed_time(&self) -> DateTime<Utc> {
        self.failed_time
    }
}

/// The most recent failures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Failures {
    /// Newest first.
    pub newest: Vec<FailedExport>,
    /// Number of failure records, including unreadable ones.
    pub count: u64,
    /// Number of unreadable failure records; each is logged.
    pub unreadable: u64,
}

#[derive(Serialize, Deserialize)]
struct FailureRecordV1 {
    export: SummaryV1,
    content_digest: Sha256,
    format_version: FormatVersion,
    #[serde(with = "ReasonV1")]
    reason: FailureReason,
    message: String,
    #[serde(rename = "kept_as", default, skip_serializing_if = "Option::is_none")]
    stored_under: Option<ExportId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store_id: Option<StoreId>,
    failed_time: TimeV1,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FailureReason", rename_all = "SCREAMING_SNAKE_CASE")]
enum ReasonV1 {
    StoreUnavailable,
    StoreDenied,
    StoreMisconfigured,
    Archived,
    StoreUnsafe,
    LocalStoreFull,
    DataLoss,
    RequestIdReused,
    StoreChanged,
    SourceLost,
    Internal,
}

impl From<&FailedExport> for FailureRecordV1 {
    fn from(failed: &FailedExport) -> Self {
        Self {
            export: SummaryV1::from(&failed.export),
            content_digest: failed.content_digest.sha256,
            format_version: failed.content_digest.format_version,
            reason: failed.failure.reason,
            message: failed.failure.message.clone(),
            stored_under: failed.stored_under,
            store_id: failed.store_id,
            failed_time: TimeV1(failed.failed_time),
        }
    }
}

impl From<FailureRecordV1> for FailedExport {
    fn from(record: FailureRecordV1) -> Self {
        let export = record.export.into_export(ExportState::Failed, String::new());
        let FailureRecordV1 {
            content_digest,
            format_version,
            reason,
            message,
            stored_under,
            store_id,
            failed_time,
            ..
        } = record;
        let digest = ContentDigest { format_version, sha256: content_digest };
        Self::new(export, digest, Failure { reason, message }, failed_time.0)
            .stored_under(stored_under)
            .with_store_id(store_id)
    }
}

impl Files {
    pub(super) fn set_failed(&self, failed: &FailedExport) -> Result<(), JournalError> {
        let (export_id, content_digest) = (failed.export.export_id, failed.content_digest);
        let path = self.failure_path(export_id);
        let writing = self.retained.lock(export_id);
        match read_failure(&path, export_id) {
            Ok(None) => {
                state_file::write(&self.disk, &path, SCHEMA, &FailureRecordV1::from(failed))?
            }
            // A retry. The first writer may have died before the sync.
            Ok(Some(first)) if first.content_digest == content_digest => {
                self.disk.sync_name(&path)?
            }
            Ok(Some(first)) => {
                return Err(JournalError::FailedBefore {
                    export_id,
                    first: first.content_digest.sha256,
                });
            }
            Err(StateFileError::Damaged(reason)) => {
                tracing::warn!(%export_id, reason, "replacing a damaged failure record");
                state_file::write(&self.disk, &path, SCHEMA, &FailureRecordV1::from(failed))?;
            }
            Err(error) => return Err(unreadable(&path, error)),
        }
        let caller = &failed.export.requested_by;
        self.index_of(failed).add_found(export_id, failed.failed_time, caller);
        drop(writing);
        failpoint!("failure.written");
        self.settle_failed(failed)?;
        self.remove(EntryName { export_id, content_digest: content_digest.sha256 })?;
        let mut removals = Batch::default();
        if let Err(error) = self.remove_surplus_failures(1, &mut removals) {
            tracing::warn!(%error, "cannot remove a surplus failure record; the removal is retried");
        }
        // A record that a crash restores is removed again.
        removals.leave_unsynced();
        Ok(())
    }

    fn index_of(&self, failed: &FailedExport) -> &RetentionIndex {
        match failed.stored_under {
            Some(_) => &self.retained.stored_under_other_id,
            None => &self.retained.failures,
        }
    }

    /// Adds an existing failure record to its index.
    pub(super) fn count_failure(&self, export_id: ExportId) {
        let _counting = self.retained.lock(export_id);
        match read_failure(&self.failure_path(export_id), export_id) {
            Ok(Some(failed)) => {
                let caller = &failed.export.requested_by;
                self.index_of(&failed).add_found(export_id, failed.failed_time, caller);
            }
            Ok(None) => {}
            // It stays until an operator removes it: the id must not become free without an operator.
            Err(error) => {
                tracing::warn!(%error, %export_id, "cannot read a failure record");
            }
        }
    }

    /// Removes a failure record if its export failed before this time and its entry is gone. Returns whether it was
    /// removed.
    pub(super) fn remove_failure(
        &self,
        index: &RetentionIndex,
        export_id: ExportId,
        before: Option<DateTime<Utc>>,
        removals: &mut Batch,
    ) -> Result<bool, DiskError> {
        let path = self.failure_path(export_id);
        let _removing = self.retained.lock(export_id);
        let failed = match read_failure(&path, export_id) {
            Ok(Some(failed)) => failed,
            Ok(None) => {
                index.remove(export_id);
                return Ok(false);
            }
            Err(error) => {
                tracing::warn!(%error, %export_id, "cannot read a failure record");
                index.remove(export_id);
                return Ok(false);
            }
        };
        // Without the record, an entry that could not be removed yet would be processed again.
        let entry = EntryName { export_id, content_digest: failed.content_digest.sha256 };
        if self.has_entry(entry)? || before.is_some_and(|before| failed.failed_time >= before) {
            return Ok(false);
        }
        let removed = removals.add(self.disk.remove(&path)?);
        index.remove(export_id);
        Ok(removed)
    }

    pub(super) fn failure(
        &self,
        export_id: ExportId,
    ) -> Result<Option<FailedExport>, JournalError> {
        let path = self.failure_path(export_id);
        read_failure(&path, export_id).map_err(|error| unreadable(&path, error))
    }

    pub(super) fn failures(&self, limit: usize) -> Result<Failures, JournalError> {
        let (mut count, mut unreadable) = (0, 0);
        let mut newest = BTreeMap::new();
        for file in plain_files(&self.failed)? {
            let file = file?;
            let name = file.name.to_string_lossy();
            let Some(export_id) = name.strip_suffix(".json").and_then(|id| id.parse().ok()) else {
                continue;
            };
            match read_failure(&file.path, export_id) {
                Ok(Some(failed)) => {
                    count += 1;
                    newest.insert((Reverse(failed.failed_time), export_id), failed);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, name = %name, "cannot read a failure record");
                    count += 1;
                    unreadable += 1;
                }
            }
            if newest.len() > limit {
                newest.pop_last();
            }
        }
        Ok(Failures { newest: newest.into_values().collect(), count, unreadable })
    }

    /// Finishes [`Self::set_failed`] after a crash between its two steps. Opens only the failure records of exports
    /// that may still have an entry, so that the cost does not depend on the size of either folder.
    pub(super) fn remove_entries_of_failed(&self) -> Result<(), JournalError> {
        let mut failed_ids = HashSet::new();
        for name in plain_names(&self.failed)? {
            let name = name?;
            let name = name.to_string_lossy();
            let export_id = name.strip_suffix(".json").and_then(|id| id.parse().ok());
            failed_ids.extend(export_id.filter(|export_id| self.usage.may_have(*export_id)));
        }
        if failed_ids.is_empty() {
            return Ok(());
        }
        batch(|removals| self.remove_entries_of(&failed_ids, removals))
    }

    fn remove_entries_of(
        &self,
        failed_ids: &HashSet<ExportId>,
        removals: &mut Batch,
    ) -> Result<(), JournalError> {
        for name in plain_names(&self.journal)? {
            let name = name?;
            let Ok(entry) = name.to_string_lossy().parse::<EntryName>() else { continue };
            let EntryName { export_id, content_digest } = entry;
            if !failed_ids.contains(&export_id) {
                continue;
            }
            match read_failure(&self.failure_path(export_id), export_id) {
                Ok(Some(failed)) if failed.content_digest.sha256 == content_digest => {
                    self.settle_failed(&failed)?;
                    self.remove_attachments(entry)?;
                    self.remove_recipients(entry)?;
                    removals.add(self.unlink(&self.journal.join(&name))?);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, %export_id, "cannot read a failure record");
                }
            }
        }
        Ok(())
    }

    fn failure_path(&self, export_id: ExportId) -> PathBuf {
        self.failed.join(format!("{export_id}.json"))
    }
}

fn read_failure(path: &Path, export_id: ExportId) -> Result<Option<FailedExport>, StateFileError> {
    let Some(record) = state_file::read::<FailureRecordV1>(path, SCHEMA)? else { return Ok(None) };
    if record.export.export_id != export_id {
        return Err(StateFileError::Damaged("it belongs to another export"));
    }
    Ok(Some(record.into()))
}

fn unreadable(path: &Path, error: StateFileError) -> JournalError {
    match error {
        StateFileError::Disk(error) => error.into(),
        error => JournalError::UnreadableFailure {
            path: path.display().to_string(),
            reason: error.to_string(),
        },
    }
}

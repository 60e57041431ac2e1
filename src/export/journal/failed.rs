//! Exports that ended without a bundle.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    EntryName, Files, JournalError,
    entries::plain_files,
    notes::{NoteError, read_note},
    summary::{SummaryV1, TimeV1},
};
use crate::{
    bundle::{ContentDigest, ExportId, FormatVersion},
    catalog::{Export, ExportState},
    digest::Sha256,
    export::FailureReason,
};

/// The most failures that are listed.
pub const MAX_FAILURES_LISTED: usize = 10_000;

const SCHEMA: &str = "tara-export/failed/v1";

/// An export that ended without a bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedExport {
    export: Export,
    content_digest: ContentDigest,
    reason: FailureReason,
    message: String,
    kept_as: Option<ExportId>,
    failed_time: DateTime<Utc>,
}

impl FailedExport {
    /// This export, failed: its state becomes [`ExportState::Failed`], with the reason.
    pub fn new(
        mut export: Export,
        content_digest: ContentDigest,
        reason: FailureReason,
        message: String,
        failed_time: DateTime<Utc>,
    ) -> Self {
        export.state = ExportState::Failed;
        reason.as_str().clone_into(&mut export.state_reason);
        Self { export, content_digest, reason, message, kept_as: None, failed_time }
    }

    /// The same, with the export under which the content was kept.
    #[must_use]
    pub fn kept_as(mut self, kept_as: Option<ExportId>) -> Self {
        self.kept_as = kept_as;
        self
    }

    /// The export under which the content was kept, since the id is another's.
    pub fn kept(&self) -> Option<ExportId> {
        self.kept_as
    }

    /// The export.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// The digest of what was asked for.
    pub fn content_digest(&self) -> ContentDigest {
        self.content_digest
    }

    /// Why it failed.
    pub fn reason(&self) -> FailureReason {
        self.reason
    }

    /// Why, for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// When it failed.
    pub fn failed_time(&self) -> DateTime<Utc> {
        self.failed_time
    }
}

/// The exports that failed last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Failures {
    /// Newest first.
    pub newest: Vec<FailedExport>,
    /// How many there are, unreadable ones too.
    pub count: u64,
    /// How many can't be read; the log names them.
    pub unreadable: u64,
}

#[derive(Serialize, Deserialize)]
struct NoteV1 {
    export: SummaryV1,
    content_digest: Sha256,
    format_version: FormatVersion,
    #[serde(with = "ReasonV1")]
    reason: FailureReason,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_as: Option<ExportId>,
    failed_time: TimeV1,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FailureReason", rename_all = "SCREAMING_SNAKE_CASE")]
enum ReasonV1 {
    StoreUnavailable,
    StoreDenied,
    StoreMisconfigured,
    StoreUnsafe,
    LocalStoreFull,
    DataLoss,
    RequestIdReused,
    SourceLost,
    Internal,
}

impl From<&FailedExport> for NoteV1 {
    fn from(failed: &FailedExport) -> Self {
        Self {
            export: SummaryV1::from(&failed.export),
            content_digest: failed.content_digest.sha256,
            format_version: failed.content_digest.format_version,
            reason: failed.reason,
            message: failed.message.clone(),
            kept_as: failed.kept_as,
            failed_time: TimeV1(failed.failed_time),
        }
    }
}

impl From<NoteV1> for FailedExport {
    fn from(note: NoteV1) -> Self {
        let export = note.export.into_export(ExportState::Failed, String::new());
        let NoteV1 {
            content_digest, format_version, reason, message, kept_as, failed_time, ..
        } = note;
        let digest = ContentDigest { format_version, sha256: content_digest };
        Self::new(export, digest, reason, message, failed_time.0).kept_as(kept_as)
    }
}

impl Files {
    pub(super) fn set_failed(&self, failed: &FailedExport) -> Result<(), JournalError> {
        let (export_id, content_digest) = (failed.export.export_id, failed.content_digest);
        let path = self.failure_path(export_id);
        match read_failure(&path, export_id) {
            Ok(None) => self.write_note(&path, SCHEMA, &NoteV1::from(failed))?,
            // A retry, maybe of one whose answer was lost.
            Ok(Some(first)) if first.content_digest == content_digest => self.sync_failed()?,
            Ok(Some(first)) => {
                return Err(JournalError::FailedBefore {
                    export_id,
                    first: first.content_digest.sha256,
                });
            }
            Err(NoteError::Damaged(reason)) => {
                tracing::warn!(%export_id, reason, "a damaged note of a failed export is replaced");
                self.write_note(&path, SCHEMA, &NoteV1::from(failed))?;
            }
            Err(error) => return Err(unreadable(&path, error)),
        }
        failpoint!("failure.written");
        self.remove(EntryName { export_id, content_digest: content_digest.sha256 })
    }

    /// Makes a note durable whose writer may have died before it did that.
    fn sync_failed(&self) -> Result<(), JournalError> {
        Ok(crate::disk::sync_directory(&self.failed)?)
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
                    tracing::warn!(%error, name = %name, "the note of a failed export can't be read");
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

    /// Finishes [`Self::set_failed`] where a crash came between its two steps.
    pub(super) fn remove_entries_of_failed(&self) -> Result<(), JournalError> {
        let mut removed = false;
        for file in plain_files(&self.journal)? {
            let file = file?;
            let name = file.name.to_string_lossy();
            let Ok(EntryName { export_id, content_digest }) = name.parse() else { continue };
            match read_failure(&self.failure_path(export_id), export_id) {
                Ok(Some(failed)) if failed.content_digest.sha256 == content_digest => {
                    self.remove_attachments(EntryName { export_id, content_digest })?;
                    self.unlink(&file.path)?;
                    removed = true;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, %export_id, "the note of a failed export can't be read");
                }
            }
        }
        if removed { Ok(self.sync_journal()?) } else { Ok(()) }
    }

    fn failure_path(&self, export_id: ExportId) -> PathBuf {
        self.failed.join(format!("{export_id}.json"))
    }
}

fn read_failure(path: &Path, export_id: ExportId) -> Result<Option<FailedExport>, NoteError> {
    let Some(note) = read_note::<NoteV1>(path, SCHEMA)? else { return Ok(None) };
    if note.export.export_id != export_id {
        return Err(NoteError::Damaged("it is another export's"));
    }
    Ok(Some(note.into()))
}

fn unreadable(path: &Path, error: NoteError) -> JournalError {
    match error {
        NoteError::Disk(error) => error.into(),
        error => JournalError::UnreadableFailure {
            path: path.display().to_string(),
            reason: error.to_string(),
        },
    }
}

//! Short notes of exports whose entries are gone, so that a retry in a later outage re-attaches
//! instead of starting again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Files, JournalError,
    entries::plain_files,
    notes::{NoteError, read_note},
    summary::{SummaryV1, TimeV1},
};
use crate::{
    bundle::{ContentDigest, Destination, ExportId, FormatVersion},
    catalog::{Export, ExportState},
    digest::Sha256,
    disk::sync_directory,
    store::StoreKind,
};

const SCHEMA: &str = "tara-export/receipt/v1";

/// What became of an export whose bundle is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    export: Export,
    content_digest: ContentDigest,
    written_time: DateTime<Utc>,
}

impl Receipt {
    /// The receipt of a committed export, written at this time. Its state is told by where it is
    /// stored.
    pub fn new(
        mut export: Export,
        content_digest: ContentDigest,
        written_time: DateTime<Utc>,
    ) -> Self {
        export.state = match (export.requested_destination, export.stored_in) {
            (Destination::S3, Some(StoreKind::Local)) => ExportState::FellBack,
            _ => ExportState::Committed,
        };
        export.state_reason.clear();
        Self { export, content_digest, written_time }
    }

    /// The export.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// The digest of what was asked for.
    pub fn content_digest(&self) -> ContentDigest {
        self.content_digest
    }

    /// When the receipt was written.
    pub fn written_time(&self) -> DateTime<Utc> {
        self.written_time
    }
}

#[derive(Serialize, Deserialize)]
struct NoteV1 {
    export: SummaryV1,
    content_digest: Sha256,
    format_version: FormatVersion,
    written_time: TimeV1,
}

impl Files {
    pub(super) fn write_receipt(&self, receipt: &Receipt) -> Result<(), JournalError> {
        let note = NoteV1 {
            export: SummaryV1::from(&receipt.export),
            content_digest: receipt.content_digest.sha256,
            format_version: receipt.content_digest.format_version,
            written_time: TimeV1(receipt.written_time),
        };
        Ok(self.write_note(&self.receipt_path(receipt.export.export_id), SCHEMA, &note)?)
    }

    pub(super) fn receipt(&self, export_id: ExportId) -> Result<Option<Receipt>, JournalError> {
        match read_receipt(&self.receipt_path(export_id), export_id) {
            Ok(receipt) => Ok(receipt),
            Err(NoteError::Disk(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, %export_id, "the receipt of an export can't be read");
                Ok(None)
            }
        }
    }

    pub(super) fn expire_receipts(
        &self,
        keep: Duration,
        now: DateTime<Utc>,
    ) -> Result<u64, JournalError> {
        // A time too long to count is never over.
        let keep = TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
        let mut removed = 0;
        for file in plain_files(&self.receipts)? {
            let file = file?;
            let name = file.name.to_string_lossy();
            let Some(export_id) = name.strip_suffix(".json").and_then(|id| id.parse().ok()) else {
                continue;
            };
            let is_over = match read_receipt(&file.path, export_id) {
                Ok(Some(receipt)) => now.signed_duration_since(receipt.written_time) > keep,
                // Of no use to anybody, and without a time.
                Err(NoteError::Damaged(reason)) => {
                    tracing::warn!(reason, %export_id, "a damaged receipt is removed");
                    true
                }
                Err(error @ (NoteError::Disk(_) | NoteError::LaterRelease)) => {
                    tracing::warn!(%error, %export_id, "the receipt of an export can't be read");
                    false
                }
                Ok(None) => false,
            };
            if is_over && self.disk.remove(&file.path)? {
                removed += 1;
            }
        }
        if removed > 0 {
            sync_directory(&self.receipts)?;
        }
        Ok(removed)
    }

    fn receipt_path(&self, export_id: ExportId) -> PathBuf {
        self.receipts.join(format!("{export_id}.json"))
    }
}

fn read_receipt(path: &Path, export_id: ExportId) -> Result<Option<Receipt>, NoteError> {
    let Some(NoteV1 { export, content_digest, format_version, written_time }) =
        read_note(path, SCHEMA)?
    else {
        return Ok(None);
    };
    if export.export_id != export_id {
        return Err(NoteError::Damaged("it is another export's"));
    }
    let export = export.into_export(ExportState::Committed, String::new());
    let digest = ContentDigest { format_version, sha256: content_digest };
    Ok(Some(Receipt::new(export, digest, written_time.0)))
}

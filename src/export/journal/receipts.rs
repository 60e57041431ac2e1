//! Receipts of exports whose entries were removed: a retry during an outage finds its export instead of starting again.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tara_export_bundle::{ContentDigest, ExportId, FormatVersion, StoreId};
use tara_export_catalog::{
    Export, ExportState,
    summary::{SummaryV1, TimeV1},
};
use tara_export_digest::Sha256;
use tara_export_disk::{Batch, DiskError};

use tara_export_state_file::{self as state_file, StateFileError};

use super::{Files, JournalError};

const SCHEMA: &str = "tara-export/receipt/v1";

/// The outcome of an export whose bundle is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    export: Export,
    content_digest: ContentDigest,
    store_id: Option<StoreId>,
    written_time: DateTime<Utc>,
}

impl Receipt {
    /// Creates the receipt of a committed export. Its state is derived from the store that has the bundle.
    pub fn new(
        mut export: Export,
        content_digest: ContentDigest,
        written_time: DateTime<Utc>,
    ) -> Self {
        export.state = export.stored_in.map_or(ExportState::Committed, |stored_in| {
            ExportState::of_bundle(export.requested_destination, stored_in)
        });
        export.state_reason.clear();
        Self { export, content_digest, store_id: None, written_time }
    }

    /// Sets the store that the export was accepted for.
    #[must_use]
    pub fn with_store_id(mut self, store_id: Option<StoreId>) -> Self {
        self.store_id = store_id;
        self
    }

    /// The store that the export was accepted for; `None` in receipts of previous releases.
    pub fn store_id(&self) -> Option<StoreId> {
        self.store_id
    }

    /// The export as it was when its journal entry was removed.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// The content digest of the request.
    pub fn content_digest(&self) -> ContentDigest {
        self.content_digest
    }

    /// When the receipt was written, by this server's clock.
    pub fn written_time(&self) -> DateTime<Utc> {
        self.written_time
    }
}

#[derive(Serialize, Deserialize)]
struct ReceiptV1 {
    export: SummaryV1,
    content_digest: Sha256,
    format_version: FormatVersion,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store_id: Option<StoreId>,
    written_time: TimeV1,
}

impl Files {
    pub(super) fn write_receipt(&self, receipt: &Receipt) -> Result<(), JournalError> {
        let content = ReceiptV1 {
            export: SummaryV1::from(&receipt.export),
            content_digest: receipt.content_digest.sha256,
            format_version: receipt.content_digest.format_version,
            store_id: receipt.store_id,
            written_time: TimeV1(receipt.written_time),
        };
        let export_id = receipt.export.export_id;
        {
            let _writing = self.retained.lock(export_id);
            state_file::write(&self.disk, &self.receipt_path(export_id), SCHEMA, &content)?;
            let caller = &receipt.export.requested_by;
            self.retained.receipts.add(export_id, receipt.written_time, caller);
        }
        let mut removals = Batch::default();
        if let Err(error) = self.remove_surplus_receipts(1, &mut removals) {
            tracing::warn!(%error, "cannot remove a surplus receipt; the removal is retried");
        }
        // A receipt that a crash restores is removed again.
        removals.leave_unsynced();
        Ok(())
    }

    pub(super) fn receipt(&self, export_id: ExportId) -> Result<Option<Receipt>, JournalError> {
        match read_receipt(&self.receipt_path(export_id), export_id) {
            Ok(receipt) => Ok(receipt),
            Err(StateFileError::Disk(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, %export_id, "cannot read a receipt");
                Ok(None)
            }
        }
    }

    /// Adds an existing receipt to the index. A damaged receipt is removed, because it has no use and no time. Returns
    /// whether it was removed.
    pub(super) fn count_receipt(
        &self,
        export_id: ExportId,
        removals: &mut Batch,
    ) -> Result<bool, DiskError> {
        let path = self.receipt_path(export_id);
        let _removing = self.retained.lock(export_id);
        match read_receipt(&path, export_id) {
            Ok(None) => Ok(false),
            Ok(Some(receipt)) => {
                let caller = &receipt.export.requested_by;
                self.retained.receipts.add_found(export_id, receipt.written_time, caller);
                Ok(false)
            }
            Err(StateFileError::Damaged(reason)) => {
                tracing::warn!(reason, %export_id, "removing a damaged receipt");
                Ok(removals.add(self.disk.remove(&path)?))
            }
            Err(error @ (StateFileError::Disk(_) | StateFileError::LaterRelease)) => {
                tracing::warn!(%error, %export_id, "cannot read a receipt");
                Ok(false)
            }
        }
    }

    /// Removes a receipt if it was written before this time. Returns whether it was removed.
    pub(super) fn remove_receipt(
        &self,
        export_id: ExportId,
        before: Option<DateTime<Utc>>,
        removals: &mut Batch,
    ) -> Result<bool, DiskError> {
        let path = self.receipt_path(export_id);
        let _removing = self.retained.lock(export_id);
        match read_receipt(&path, export_id) {
            Ok(Some(receipt)) if before.is_some_and(|before| receipt.written_time >= before) => {
                return Ok(false);
            }
            Ok(Some(_)) | Err(StateFileError::Damaged(_)) => {}
            // An operator removed it, or a later release or the next start must handle it.
            Ok(None) | Err(StateFileError::Disk(_) | StateFileError::LaterRelease) => {
                self.retained.receipts.remove(export_id);
                return Ok(false);
            }
        }
        let removed = removals.add(self.disk.remove(&path)?);
        self.retained.receipts.remove(export_id);
        Ok(removed)
    }

    fn receipt_path(&self, export_id: ExportId) -> PathBuf {
        self.receipts.join(format!("{export_id}.json"))
    }
}

fn read_receipt(path: &Path, export_id: ExportId) -> Result<Option<Receipt>, StateFileError> {
    let Some(ReceiptV1 { export, content_digest, format_version, store_id, written_time }) =
        state_file::read(path, SCHEMA)?
    else {
        return Ok(None);
    };
    if export.export_id != export_id {
        return Err(StateFileError::Damaged("it belongs to another export"));
    }
    let export = export.into_export(ExportState::Committed, String::new());
    let digest = ContentDigest { format_version, sha256: content_digest };
    Ok(Some(Receipt::new(export, digest, written_time.0).with_store_id(store_id)))
}

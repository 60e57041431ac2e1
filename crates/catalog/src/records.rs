//! The service's own small records, stored next to the bundles. Written once, they never expire.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Destination, ExportId, FolderBase, FolderName, StoreId,
    to_json_pretty,
};
use tara_export_digest::Sha256;
use tara_export_store::{ObjectKey, Payload, Store, StoreError, StoreErrorKind, read_small};

use super::layout;

/// A record has a few hundred bytes; a larger object is not a record.
const LIMIT_BYTES: u64 = 64 * 1024;

/// What a replica pinned when it accepted an export, for every replica that receives the same request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRecord {
    /// The export.
    pub export_id: ExportId,
    /// The content digest of the request.
    pub content_digest: Sha256,
    /// When it was accepted.
    pub accepted_time: AcceptedTime,
    /// The format version as a number: a later release may have written the record.
    pub format_version: u32,
    /// The base of its folder name.
    pub folder_base: FolderBase,
    /// The requested destination; distinguishes a fallback from a bundle that was requested locally.
    pub requested_destination: Destination,
    /// The caller of the first request. The manifest names this caller regardless of which replica
    /// finishes the export. Empty, and then omitted, if the server does not authenticate callers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
}

impl ExportRecord {
    /// The record of this export.
    pub fn new(export: &AcceptedExport) -> Self {
        Self {
            export_id: export.export_id,
            content_digest: export.content_digest,
            accepted_time: export.accepted_time,
            format_version: export.format_version.into(),
            folder_base: export.folder_base.clone(),
            requested_destination: export.destination,
            requested_by: export.requested_by.clone(),
        }
    }
}

/// Which export a folder belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderClaim {
    /// The export.
    pub export_id: ExportId,
}

/// The content of an index entry. Its key has the time and the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The export.
    pub export_id: ExportId,
}

/// The identity of a store, created by the first replica that writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// Its identity.
    pub store_id: StoreId,
    /// When it was created.
    pub created_time: AcceptedTime,
}

/// The end marker of a journal entry in the store. Its existence means that the export has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEndMarker {
    /// The outcome, for human readers.
    pub outcome: JournalOutcome,
}

/// How the export of a journal entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalOutcome {
    /// Its bundle is committed, or its id belongs to other content.
    Done,
    /// The replica that accepted it reported that it ended without a bundle.
    Failed,
}

/// A record's bytes as they are stored.
pub fn payload(record: &impl Serialize) -> Payload {
    let bytes = Bytes::from(to_json_pretty(record));
    let sha256 = Sha256::of(&bytes);
    Payload::new(bytes, sha256, "application/json")
}

/// The identity of a store, if it has one.
pub async fn read_store_identity(store: &dyn Store) -> Result<Option<StoreIdentity>, StoreError> {
    read(store, &layout::store_identity()).await
}

/// The record of an export, if the store has one.
pub async fn read_record(
    store: &dyn Store,
    export_id: ExportId,
) -> Result<Option<ExportRecord>, StoreError> {
    read(store, &layout::record(export_id)).await
}

/// The claim on a folder, if there is one.
pub async fn read_claim(
    store: &dyn Store,
    folder: &FolderName,
) -> Result<Option<FolderClaim>, StoreError> {
    read(store, &layout::folder_claim(folder)).await
}

/// The content of an index entry.
pub async fn read_index_entry(
    store: &dyn Store,
    time: AcceptedTime,
    folder: &FolderName,
) -> Result<Option<IndexEntry>, StoreError> {
    read(store, &layout::index_entry(time, folder)).await
}

/// Reads a record, if there is one.
pub async fn read<T: DeserializeOwned>(
    store: &dyn Store,
    key: &ObjectKey,
) -> Result<Option<T>, StoreError> {
    let bytes = match read_small(store, key, LIMIT_BYTES).await {
        Ok((_, bytes)) => bytes,
        Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let location = store.location(key.as_str());
        StoreError::new(
            StoreErrorKind::Corrupt,
            format!("{location} is not a valid record of this service: {error}"),
        )
    })
}

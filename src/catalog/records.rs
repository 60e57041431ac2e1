//! The service's own small records beside the bundles. Written once, never expire.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::layout;
use crate::{
    bundle::{
        AcceptedExport, AcceptedTime, Destination, ExportId, FolderBase, FolderName, to_json_pretty,
    },
    digest::Sha256,
    store::{ObjectKey, Payload, Store, StoreError, StoreErrorKind, read_small},
};

/// A record has some hundred bytes; more is not ours.
const LIMIT_BYTES: u64 = 64 * 1024;

/// What one replica pinned when it accepted an export, for every other that is sent the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRecord {
    /// The export.
    pub export_id: ExportId,
    /// The digest of what was asked for.
    pub content_digest: Sha256,
    /// When it was accepted.
    pub accepted_time: AcceptedTime,
    /// How it is rendered, as a number: a later release may have written it.
    pub format_version: u32,
    /// What its folder's name starts with.
    pub folder_base: FolderBase,
    /// Where the caller asked for it; tells a local bundle that fell back from one meant to be local.
    pub requested_destination: Destination,
    /// The caller whose request came first, whose name the manifest has whoever finishes it. Empty, and
    /// then not written, where the server asked nobody.
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

/// Says which export a folder belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderClaim {
    /// The export.
    pub export_id: ExportId,
}

/// The content of an index entry. Its name says the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The export.
    pub export_id: ExportId,
}

/// A record's bytes as they are stored.
pub fn payload(record: &impl Serialize) -> Payload {
    let bytes = Bytes::from(to_json_pretty(record));
    let sha256 = Sha256::of(&bytes);
    Payload::new(bytes, sha256, "application/json")
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

/// What an index entry says beyond its name.
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
        let place = store.location(key.as_str());
        StoreError::new(
            StoreErrorKind::Corrupt,
            format!("{place} can't be read as a record of this service: {error}"),
        )
    })
}

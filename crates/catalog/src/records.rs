//! The service's own small records, stored next to the bundles. Written once, they never expire.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Destination, ExportId, FolderBase, FolderName, StoreId,
    to_json_pretty,
};
use tara_export_digest::Sha256;
use tara_export_store::{
    ObjectKey, Payload, PutOutcome, Store, StoreError, StoreErrorKind, read_small,
};
use uuid::Uuid;

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

/// The recipients of a journal entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecipients {
    /// E-mail addresses.
    pub addresses: Vec<String>,
}

/// The claim on an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventClaim {
    /// The machine that delivers the event.
    pub owner: Uuid,
    /// The event, so that another machine can deliver it.
    pub event: serde_json::Value,
}

/// The owner of the claim on an event, if it has one.
///
/// # Errors
/// The error of the store.
pub async fn event_owner(store: &dyn Store, event_id: Uuid) -> Result<Option<Uuid>, StoreError> {
    let found = read::<EventClaim>(store, &layout::event_claim(event_id)).await?;
    Ok(found.map(|found| found.owner))
}

/// Puts a claim on an event, unless it has one. Returns the owner in the store.
///
/// # Errors
/// The error of the store.
pub async fn claim_event(
    store: &dyn Store,
    event_id: Uuid,
    claim: &EventClaim,
) -> Result<Uuid, StoreError> {
    let key = layout::event_claim(event_id);
    match store.put_if_absent(&key, payload(claim)).await? {
        PutOutcome::Created => Ok(claim.owner),
        PutOutcome::Exists => {
            // Removed meanwhile only by a lifecycle rule, which removes no young objects.
            let found = read::<EventClaim>(store, &key).await?;
            Ok(found.map_or(claim.owner, |found| found.owner))
        }
    }
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
    read_within(store, key, LIMIT_BYTES).await
}

/// Reads a record of up to this size, if there is one.
pub async fn read_within<T: DeserializeOwned>(
    store: &dyn Store,
    key: &ObjectKey,
    limit_bytes: u64,
) -> Result<Option<T>, StoreError> {
    let bytes = match read_small(store, key, limit_bytes).await {
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

//! Writes the objects of an adopted bundle in order.

use bytes::Bytes;
use tara_export_bundle::{AdoptedBundle, ExportId, Manifest, to_json_pretty};
use tara_export_catalog::{
    MANIFEST_LIMIT_BYTES, destination_of, layout,
    records::{self, ExportRecord, FolderClaim, IndexEntry},
};
use tara_export_digest::Sha256;
use tara_export_store::{ObjectKey, Payload, PutOutcome, Store, StoreError, read_small};

use super::{
    outcome::{SkipReason, Stop},
    retry::retrying,
};

/// Limit for the records that adoption writes.
const RECORD_LIMIT_BYTES: u64 = 64 * 1024;

/// Writes the record, the claim, the index entry and finally the manifest. Each is put only if absent, and an existing
/// object with the same bytes is accepted, so that an interrupted adoption can be repeated.
///
/// The record is written before the claim, so that a claim's record distinguishes an interrupted adoption from an
/// export.
pub(super) async fn commit(store: &dyn Store, bundle: &AdoptedBundle) -> Result<(), Stop> {
    let manifest = manifest_bytes(bundle);
    check_manifest_size(&manifest, 0)?;
    let manifest = Payload::new(manifest.clone(), Sha256::of(&manifest), "application/json");
    let export_id = bundle.export_id();
    let record = ExportRecord {
        export_id,
        content_digest: bundle.content_digest(),
        accepted_time: bundle.accepted_time(),
        format_version: Manifest::NOT_RENDERED,
        folder_base: bundle.folder_base().clone(),
        requested_destination: destination_of(store.kind()),
        requested_by: String::new(),
    };
    let record_key = layout::record(export_id);
    if !put_or_compare(store, &record_key, records::payload(&record), RECORD_LIMIT_BYTES).await? {
        // The id is derived from the content of the record.
        let location = store.location(record_key.as_str());
        return Err(Stop::Fail(format!("{location} is not the record of this folder's adoption")));
    }
    let folder = bundle.folder();
    let claim = records::payload(&FolderClaim { export_id });
    if !put_or_compare(store, &layout::folder_claim(&folder), claim, RECORD_LIMIT_BYTES).await? {
        let existing = retrying(|| records::read_claim(store, &folder)).await?;
        return Err(match existing {
            Some(existing) => claimed(existing.export_id),
            None => Stop::Fail("the folder's claim was removed during the adoption".to_owned()),
        });
    }
    let index_key = layout::index_entry(bundle.accepted_time(), &folder);
    let index_entry = records::payload(&IndexEntry { export_id });
    if !put_or_compare(store, &index_key, index_entry, RECORD_LIMIT_BYTES).await? {
        let message = "the folder's index entry belongs to another export";
        return Err(Stop::skip(SkipReason::Claimed, message));
    }
    if !put_or_compare(store, &layout::manifest(&folder), manifest, MANIFEST_LIMIT_BYTES).await? {
        let message = "another manifest was written to the folder during the adoption";
        return Err(Stop::skip(SkipReason::HasManifest, message));
    }
    Ok(())
}

/// Skips a folder that is claimed by another export.
pub(super) fn claimed(export_id: ExportId) -> Stop {
    let message = format!("the folder is claimed by exports/{export_id}");
    Stop::skip(SkipReason::Claimed, message)
}

pub(super) fn manifest_bytes(bundle: &AdoptedBundle) -> Bytes {
    to_json_pretty(&bundle.manifest()).into()
}

/// Checks that readers accept this manifest with `more_bytes` in addition.
pub(super) fn check_manifest_size(manifest: &Bytes, more_bytes: usize) -> Result<(), Stop> {
    let size_bytes = manifest.len() + more_bytes;
    if size_bytes as u64 <= MANIFEST_LIMIT_BYTES {
        return Ok(());
    }
    let message = format!(
        "the folder has too many files: its manifest would have up to {size_bytes} bytes, and readers accept \
         {MANIFEST_LIMIT_BYTES}"
    );
    Err(Stop::skip(SkipReason::TooLarge, message))
}

/// Puts the bytes if the key is absent. Whether the key has these bytes then.
async fn put_or_compare(
    store: &dyn Store,
    key: &ObjectKey,
    payload: Payload,
    limit_bytes: u64,
) -> Result<bool, StoreError> {
    match retrying(|| store.put_if_absent(key, payload.clone())).await? {
        PutOutcome::Created => Ok(true),
        PutOutcome::Exists => {
            let (_, bytes) = retrying(|| read_small(store, key, limit_bytes)).await?;
            Ok(bytes == payload.bytes)
        }
    }
}

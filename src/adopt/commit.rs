//! What adopting writes, and in which order.

use bytes::Bytes;

use super::{
    outcome::{SkipReason, Stop},
    retry::retrying,
};
use crate::{
    bundle::{AdoptedBundle, Destination, ExportId, Manifest, to_json_pretty},
    catalog::{
        MANIFEST_LIMIT_BYTES, layout,
        records::{self, ExportRecord, FolderClaim, IndexEntry},
    },
    digest::Sha256,
    store::{ObjectKey, Payload, PutOutcome, Store, StoreError, StoreKind, read_small},
};

/// More is nothing that adopting wrote.
const RECORD_LIMIT_BYTES: u64 = 64 * 1024;

/// Writes what makes the folder a bundle: the manifest last. Each is put only if absent; the same bytes
/// that are there already are as good, so that who was stopped goes on here.
///
/// The record comes before the claim, so that whoever finds the claim can tell an adoption that was
/// stopped from an export.
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
        requested_destination: match store.kind() {
            StoreKind::S3 => Destination::S3,
            StoreKind::Local => Destination::Local,
        },
        requested_by: String::new(),
    };
    let record_key = layout::record(export_id);
    if !holds(store, &record_key, records::payload(&record), RECORD_LIMIT_BYTES).await? {
        // Its id follows from all that it says.
        let place = store.location(record_key.as_str());
        return Err(Stop::Fail(format!("{place} is not what adopting this folder writes there")));
    }
    let folder = bundle.folder();
    let claim = records::payload(&FolderClaim { export_id });
    if !holds(store, &layout::folder_claim(&folder), claim, RECORD_LIMIT_BYTES).await? {
        let theirs = retrying(|| records::read_claim(store, &folder)).await?;
        return Err(match theirs {
            Some(theirs) => claimed(theirs.export_id),
            None => Stop::Fail("its claim went away while it was looked at".to_owned()),
        });
    }
    let index_key = layout::index_entry(bundle.accepted_time(), &folder);
    let index_entry = records::payload(&IndexEntry { export_id });
    if !holds(store, &index_key, index_entry, RECORD_LIMIT_BYTES).await? {
        let message = "its entry in the index is another export's";
        return Err(Stop::skip(SkipReason::Claimed, message));
    }
    if !holds(store, &layout::manifest(&folder), manifest, MANIFEST_LIMIT_BYTES).await? {
        let message = "it got another manifest meanwhile";
        return Err(Stop::skip(SkipReason::HasManifest, message));
    }
    Ok(())
}

/// The folder is another's.
pub(super) fn claimed(export_id: ExportId) -> Stop {
    let message = format!("it is claimed by exports/{export_id}");
    Stop::skip(SkipReason::Claimed, message)
}

pub(super) fn manifest_bytes(bundle: &AdoptedBundle) -> Bytes {
    to_json_pretty(&bundle.manifest()).into()
}

/// Whether readers take this manifest, with so many more bytes.
pub(super) fn check_manifest_size(manifest: &Bytes, more_bytes: usize) -> Result<(), Stop> {
    let size_bytes = manifest.len() + more_bytes;
    if size_bytes as u64 <= MANIFEST_LIMIT_BYTES {
        return Ok(());
    }
    let message = format!(
        "it has so many files that its manifest would have up to {size_bytes} bytes, and readers take \
         {MANIFEST_LIMIT_BYTES}"
    );
    Err(Stop::skip(SkipReason::TooLarge, message))
}

/// Whether the key holds these bytes now: put just now, or there before.
async fn holds(
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

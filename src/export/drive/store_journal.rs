//! Journal entries in the store, for `JOURNAL=store`: accepted exports survive the loss of their machine.
//!
//! The entry of an ended export is deleted. If the service has no permission to delete, it writes an end marker beside
//! the entry, so that a listing alone shows which exports are unfinished (docs/adr/0021-takeover-by-listing.md). One
//! lifecycle rule removes entries and end markers. An end marker without its entry has no meaning. Steps 15 and 16
//! of docs/design/commit-protocol.md.

use bytes::{Bytes, BytesMut};
use tara_export_bundle::{AcceptedExport, AcceptedHeader, Destination, ExportId, Fallback};
use tara_export_catalog::{
    layout::{self, JournalLocation},
    records::{self, JournalEndMarker, JournalOutcome, JournalRecipients},
};
use tara_export_digest::Sha256;
use tara_export_limits::Pool;
use tara_export_store::{Payload, Store, StoreError, StoreErrorKind, exists};

use crate::{
    export::{
        drive::{commit::Commit, documents::have_attachments},
        shared::Shared,
    },
    transfer::RetryBudget,
};

const MEDIA_TYPE: &str = "application/octet-stream";

/// Whether the entry of an accepted export is also stored in the store. An export without fallback is not: this
/// process may still fail it, and another replica would finish it. Neither is an export with documents that are only
/// on this machine.
pub(in crate::export) fn should_store(shared: &Shared, export: &AcceptedExport) -> bool {
    may_be_stored(shared, &export.header()) && !have_attachments(&export.content.documents)
}

/// Like [`should_store`], but decides by the header alone.
fn may_be_stored(shared: &Shared, header: &AcceptedHeader) -> bool {
    shared.settings.journal == JournalLocation::Store
        && header.destination == Destination::S3
        && header.fallback == Fallback::Local
}

/// Puts the entry of an accepted export into the store.
pub(in crate::export) async fn put_entry(
    commit: &Commit<'_>,
    computing: &Pool,
    export: &AcceptedExport,
) -> Result<(), StoreError> {
    let key = layout::journal_entry(export.export_id, export.content_digest);
    let encoding = export.clone();
    let encoded = computing.run(move || {
        let mut bytes = BytesMut::new();
        encoding.encode().iter().for_each(|piece| bytes.extend_from_slice(piece));
        let bytes = bytes.freeze();
        (Sha256::of(&bytes), bytes)
    });
    let (sha256, bytes): (Sha256, Bytes) = encoded
        .await
        .map_err(|_| StoreError::new(StoreErrorKind::Unavailable, "the server is shutting down"))?;
    // An existing entry has another acceptance time: it is from another replica, or from this one before a crash. The
    // replica that finishes the export uses the time of the record.
    commit.put(&key, Payload::new(bytes, sha256, MEDIA_TYPE)).await.map(drop)
}

/// Puts the recipients of an entry beside it, if it has some.
pub(in crate::export) async fn put_recipients(
    shared: &Shared,
    commit: &Commit<'_>,
    export: &AcceptedExport,
) -> Result<(), StoreError> {
    let Ok(journal) = shared.journal() else { return Ok(()) };
    let addresses = journal.recipients(export.export_id, export.content_digest).await;
    if addresses.is_empty() {
        return Ok(());
    }
    let key = layout::journal_recipients(export.export_id, export.content_digest);
    commit.put(&key, records::payload(&JournalRecipients { addresses })).await.map(drop)
}

/// The recipients of an entry of a lost replica.
pub(in crate::export) async fn read_recipients(
    store: &dyn Store,
    export_id: ExportId,
    content_digest: Sha256,
) -> Result<Vec<String>, StoreError> {
    let key = layout::journal_recipients(export_id, content_digest);
    let found = records::read::<JournalRecipients>(store, &key).await?;
    Ok(found.map(|found| found.addresses).unwrap_or_default())
}

/// Ends the entry of a committed export, if it has one.
pub(in crate::export) async fn end_committed(shared: &Shared, accepted: &AcceptedExport) {
    if let Some(s3) = shared.stores.s3.as_ref().filter(|_| should_store(shared, accepted)) {
        let (export_id, content_digest) = (accepted.export_id, accepted.content_digest);
        end(s3.as_ref(), export_id, content_digest, Entry::Unknown).await;
    }
}

/// Ends the entry of an export that was refused because its id belongs to other content, so that other replicas do not
/// take it over or check it again.
pub(in crate::export) async fn end_refused(shared: &Shared, header: &AcceptedHeader) {
    let Some(s3) = shared.stores.s3.as_ref().filter(|_| may_be_stored(shared, header)) else {
        return;
    };
    let (export_id, content_digest) = (header.export_id, header.content_digest);
    let ending = end(s3.as_ref(), export_id, content_digest, Entry::Unknown);
    // The caller is waiting. The next scan of the journal ends an entry that remains.
    let _ = tokio::time::timeout(shared.settings.accept_timeout, ending).await;
}

/// What is known about an entry that is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Entry {
    /// The entry was listed.
    Listed,
    /// The entry may not exist in the store.
    Unknown,
}

/// Ends an entry whose bundle is committed or whose id belongs to other content. If this fails, the next scan of the
/// journal ends the entry.
pub(in crate::export) async fn end(
    store: &dyn Store,
    export_id: ExportId,
    content_digest: Sha256,
    entry: Entry,
) {
    let key = layout::journal_entry(export_id, content_digest);
    let ended = match store.delete(&key).await {
        // The service has no permission to delete. Servers report this with different errors.
        Err(error) if error.kind() != StoreErrorKind::Unavailable => {
            let has_entry = match entry {
                Entry::Listed => Ok(true),
                Entry::Unknown => exists(store, &key).await,
            };
            match has_entry {
                Ok(true) => {
                    put_end_marker(store, export_id, content_digest, JournalOutcome::Done).await
                }
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            }
        }
        other => other,
    };
    if let Err(error) = ended {
        tracing::info!(%export_id, %error, "cannot end a finished entry of the store's journal; retrying later");
    }
}

/// Puts the end marker of an export that fails, before the failure record is written, so that no other replica takes
/// the export over. The end marker remains even if the entry is deleted: a put of the entry whose response was lost
/// may take effect later (`tests/model`, mechanism `store_journal_failure_marked`).
///
/// # Errors
/// The error of the store. The export must not fail in this case.
pub(in crate::export) async fn end_failed(
    shared: &Shared,
    header: &AcceptedHeader,
) -> Result<(), StoreError> {
    let Some(s3) = shared.stores.s3.as_ref().filter(|_| may_be_stored(shared, header)) else {
        return Ok(());
    };
    let (export_id, content_digest) = (header.export_id, header.content_digest);
    let budget = RetryBudget::new(shared.settings.retry_budget);
    let putting = || put_end_marker(s3.as_ref(), export_id, content_digest, JournalOutcome::Failed);
    budget.run(putting, |_, _| {}).await?;
    if let Err(error) = s3.delete(&layout::journal_entry(export_id, content_digest)).await {
        tracing::debug!(%export_id, %error, "cannot delete the entry of a failed export: a lifecycle rule removes it");
    }
    Ok(())
}

/// Whether an entry has an end marker.
pub(in crate::export) async fn has_end_marker(
    store: &dyn Store,
    export_id: ExportId,
    content_digest: Sha256,
) -> Result<bool, StoreError> {
    exists(store, &layout::journal_end_marker(export_id, content_digest)).await
}

async fn put_end_marker(
    store: &dyn Store,
    export_id: ExportId,
    content_digest: Sha256,
    outcome: JournalOutcome,
) -> Result<(), StoreError> {
    let key = layout::journal_end_marker(export_id, content_digest);
    store.put_if_absent(&key, records::payload(&JournalEndMarker { outcome })).await.map(drop)
}

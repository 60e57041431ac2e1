//! Accepted exports in the store, where `journal: store` is set: they survive their machine.

use bytes::{Bytes, BytesMut};

use super::commit::Commit;
use crate::{
    bundle::{AcceptedExport, ExportId},
    catalog::layout,
    digest::Sha256,
    limits::Pool,
    store::{Payload, Store, StoreError, StoreErrorKind},
};

const MEDIA_TYPE: &str = "application/octet-stream";

/// Keeps an accepted export in the store.
pub(super) async fn keep(
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
    // One that is there was accepted at another time, by another replica or by this one before a
    // crash; whoever finishes it adopts the record's time.
    commit.put(&key, Payload::new(bytes, sha256, MEDIA_TYPE)).await.map(drop)
}

/// Removes what [`keep`] kept, where this service may delete; elsewhere a lifecycle rule does it.
pub(super) async fn forget(store: &dyn Store, export_id: ExportId, content_digest: Sha256) {
    let key = layout::journal_entry(export_id, content_digest);
    if let Err(error) = store.delete(&key).await {
        tracing::debug!(%export_id, %error, "an entry of the store's journal stays to its lifecycle rule");
    }
}

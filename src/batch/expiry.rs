//! Removes the notes of batches that ended long ago. Their reports stay in the store.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time;

use super::Shared;

/// The notes of ended batches that are kept at most: some have 500 KiB.
const MAX_ENDED: usize = 2_000;

/// Removes expired notes until the server stops.
pub(super) async fn watch(shared: Arc<Shared>) {
    loop {
        let retention = TimeDelta::from_std(shared.settings.retention).unwrap_or(TimeDelta::MAX);
        let now = shared.clock.now();
        let before = now.checked_sub_signed(retention).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let files = shared.files.clone();
        match shared.pool.run(move || files.remove_expired(before, MAX_ENDED)).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(count)) => tracing::info!(count, "removed the notes of batches that have ended"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot remove the notes of ended batches; retrying later");
            }
        }
        tokio::select! {
            () = time::sleep(shared.settings.retention_interval) => {}
            () = shared.draining.cancelled() => return,
        }
    }
}

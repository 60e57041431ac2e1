//! Moves the local store's files of previous releases to the places of this one, while the server runs.

use std::sync::Arc;

use tokio::time;

use crate::export::shared::Shared;

/// Moves the files. After a failure, tries again until the server stops.
pub(in crate::export) async fn move_all(shared: Arc<Shared>) {
    loop {
        let moved = tokio::select! {
            moved = shared.stores.local.move_old_files() => moved,
            () = shared.draining.cancelled() => return,
        };
        match moved {
            Ok(0) => return,
            Ok(moved) => {
                tracing::info!(moved, "moved the index entries of a previous release into shards");
                return;
            }
            Err(error) => tracing::warn!(
                %error,
                "cannot move the index entries of a previous release; lists work, but are slow; retrying later"
            ),
        }
        tokio::select! {
            () = time::sleep(shared.jittered(shared.settings.retention_interval)) => {}
            () = shared.draining.cancelled() => return,
        }
    }
}

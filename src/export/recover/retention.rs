//! Removes expired data at startup and while the server runs: receipts and failure records, uploads, and parts of
//! unfinished multipart uploads in S3.
//!
//! Each pass does a bounded amount of work. If more is left, the next pass starts soon. The kinds are processed
//! concurrently, so that unavailable S3 does not delay the removal of files on disk.

use std::{sync::Arc, time::Duration};

use tara_export_store::{PartUpload, StoreErrorKind};
use tara_export_telemetry::names;
use tokio::time;

use crate::{
    export::{journal::RemovedFiles, shared::Shared},
    upload::ExpiryPosition,
};

/// Pause until the next pass if more is left.
const SHORT_PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of multipart uploads that one pass aborts.
const MAX_ABORTED_UPLOADS: usize = 1_000;

/// Removes expired data until the server stops.
pub(in crate::export) async fn watch(shared: Arc<Shared>) {
    let mut position = ExpiryPosition::default();
    loop {
        let is_more_left = tokio::select! {
            is_more_left = pass(&shared, &mut position) => is_more_left,
            () = shared.draining.cancelled() => return,
        };
        let pause = match is_more_left {
            true => SHORT_PAUSE.min(shared.settings.retention_interval),
            false => shared.jittered(shared.settings.retention_interval),
        };
        tokio::select! {
            () = time::sleep(pause) => {}
            () = shared.draining.cancelled() => return,
        }
    }
}

/// Removes expired data. Returns whether more is left.
async fn pass(shared: &Shared, position: &mut ExpiryPosition) -> bool {
    let (records, uploads, parts) = futures::join!(
        remove_records(shared),
        remove_uploads(shared, position),
        abort_parts(shared)
    );
    records || uploads || parts
}

async fn remove_records(shared: &Shared) -> bool {
    let Ok(journal) = shared.journal() else { return false };
    match journal.remove_expired(shared.settings.journal_retention, shared.clock.now()).await {
        Ok(RemovedFiles { receipts, failures, more }) => {
            log_removed("receipts", receipts);
            log_removed("failures", failures);
            more
        }
        Err(error) => {
            tracing::warn!(%error, "cannot remove expired receipts and failure records; retrying later");
            false
        }
    }
}

async fn remove_uploads(shared: &Shared, position: &mut ExpiryPosition) -> bool {
    match shared.uploads.expire(position).await {
        Ok(expired) => {
            log_removed("uploads", expired);
            position.has_more()
        }
        Err(error) => {
            tracing::warn!(%error, "cannot remove expired uploads; retrying later");
            false
        }
    }
}

/// Aborts unfinished multipart uploads of this process or a previous one.
async fn abort_parts(shared: &Shared) -> bool {
    let (Some(s3), Some(records)) = (&shared.stores.s3, shared.transfers.part_upload_records())
    else {
        return false;
    };
    let Some(parts) = s3.parts() else { return false };
    let left: Vec<PartUpload> = records.orphans(MAX_ABORTED_UPLOADS).await;
    let mut aborted = 0;
    let mut is_more_left = left.len() == MAX_ABORTED_UPLOADS;
    for upload in left {
        match records.abort(parts, &upload).await {
            Ok(()) => aborted += 1,
            Err(error) => {
                tracing::debug!(key = %upload.key, %error, "cannot abort a multipart upload; retrying later");
                // Further requests would fail as well.
                if error.kind() == StoreErrorKind::Unavailable {
                    is_more_left = true;
                    break;
                }
            }
        }
    }
    log_removed("parts", aborted);
    is_more_left
}

fn log_removed(kind: &'static str, count: u64) {
    if count > 0 {
        tracing::info!(kind, count, "removed expired data");
        names::EXPIRED.add(count, [kind]);
    }
}

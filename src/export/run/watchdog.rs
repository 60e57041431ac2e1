//! Ends work that makes no progress, so that it can be restarted. Every wait has its own timeout; the watchdog covers
//! waits without one, and disks and servers that hang unexpectedly.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use tara_export_bundle::ExportId;
use tokio::{sync::watch::Receiver, time};
use tokio_util::sync::CancellationToken;

use crate::export::failure::Failure;

/// Work without a change in a run for this long is ended: far longer than any healthy step, and shorter than it takes an
/// operator to notice. It may take up to one interval of checks longer.
const STALL_TIMEOUT: Duration = Duration::from_secs(3600);
/// The watchdog compares at intervals and is not woken by each change, because a small export has dozens within
/// milliseconds.
const CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// How watched work ended.
#[derive(Debug)]
pub(in crate::export) enum Ended {
    /// The work completed.
    Done,
    /// The work panicked or stalled. Accepted exports are in the journal.
    Interrupted(Failure),
    /// The server is shutting down.
    Aborted,
}

/// Runs work on an export until it completes, stalls or panics. A panic does not affect other exports. `changes` must
/// be notified of progress; its sender must live as long as the work.
pub(in crate::export) async fn watch(
    work: impl Future<Output = ()>,
    export_id: ExportId,
    mut changes: Receiver<u64>,
    aborting: &CancellationToken,
) -> Ended {
    let stall = async {
        let mut unchanged = Duration::ZERO;
        while unchanged < STALL_TIMEOUT {
            time::sleep(CHECK_INTERVAL).await;
            // Fails only if the sender is gone, and then nothing changes any more.
            let has_changed = changes.has_changed().unwrap_or(false);
            changes.mark_unchanged();
            unchanged = if has_changed { Duration::ZERO } else { unchanged + CHECK_INTERVAL };
        }
    };
    let failure = tokio::select! {
        ended = AssertUnwindSafe(work).catch_unwind() => match ended {
            Ok(()) => return Ended::Done,
            Err(_) => Failure::of_panic(),
        },
        () = stall => Failure::of_stall(),
        () = aborting.cancelled() => return Ended::Aborted,
    };
    tracing::error!(%export_id, error = failure.message, "work on an export was interrupted");
    Ended::Interrupted(failure)
}

//! Ends work that makes no progress, so that it can be restarted. Every wait has its own timeout; the watchdog covers
//! waits without one, and disks and servers that hang unexpectedly.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use tara_export_bundle::ExportId;
use tokio::{
    sync::watch::Receiver,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::export::failure::Failure;

/// Maximum time without a change in a run: far longer than any healthy step, and shorter than it takes an operator to
/// notice.
const STALL_TIMEOUT: Duration = Duration::from_secs(3600);

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

/// Runs work on an export until it completes, stalls or panics. A panic does not affect other exports. `changes` has
/// the time of the latest progress.
pub(in crate::export) async fn watch(
    work: impl Future<Output = ()>,
    export_id: ExportId,
    changes: Receiver<Instant>,
    aborting: &CancellationToken,
) -> Ended {
    // Sleeps until the latest known change would be too old, and is not woken by each change: a small export has dozens
    // within milliseconds.
    let stall = async {
        loop {
            let stalled_at = *changes.borrow() + STALL_TIMEOUT;
            if stalled_at <= Instant::now() {
                break;
            }
            time::sleep_until(stalled_at).await;
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

//! Takes up anew what hangs. Every wait has a bound of its own; this one is for the wait that was
//! forgotten, and for disks and servers that hang where nobody expects it.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{events::Run, failure::Failure};

/// How long nothing may happen in a run: far longer than anything takes that is well, and far shorter
/// than anybody should have to notice it.
const LONGEST_SILENCE: Duration = Duration::from_secs(3600);

/// How watched work ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself.
    Done,
    /// By a panic, or because nothing happened any more. The journal has what was accepted.
    BrokeOff(Failure),
    /// The server goes down.
    Aborted,
}

/// Works on a run until it is done, or hangs, or panics, which harms no other.
pub(super) async fn watch(
    work: impl Future<Output = ()>,
    run: &Run,
    aborting: &CancellationToken,
) -> Ended {
    let mut changes = run.changes();
    let silence = async {
        // The other end lives in the run.
        while time::timeout(LONGEST_SILENCE, changes.changed()).await.is_ok() {}
    };
    let failure = tokio::select! {
        ended = AssertUnwindSafe(work).catch_unwind() => match ended {
            Ok(()) => return Ended::Done,
            Err(_) => Failure::of_panic(),
        },
        () = silence => Failure::of_hanging(),
        () = aborting.cancelled() => return Ended::Aborted,
    };
    tracing::error!(export_id = %run.export_id(), error = failure.message, "work broke off");
    Ended::BrokeOff(failure)
}

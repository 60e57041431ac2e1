//! Stalls: pools that make no progress.

use std::{fmt, sync::Arc, time::Duration};

use tara_export_telemetry::names::STALLED;
use tokio::sync::watch;

/// The name of the async runtime among the pools.
pub const RUNTIME: &str = "runtime";

/// A pool, or the async runtime, that has waiting work and has neither started nor finished any for longer than the
/// threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// The pool's name, or [`RUNTIME`].
    pub pool: &'static str,
    /// How long it has made no progress.
    pub since: Duration,
    /// Running work.
    pub running: u64,
    /// Waiting work.
    pub queued: u64,
}

impl fmt::Display for Stall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, since, running, queued } = self;
        write!(
            formatter,
            "{pool}: no progress for {} s, {running} running, {queued} waiting",
            since.as_secs()
        )
    }
}

/// The current stalls of a server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stalls {
    now: Arc<watch::Sender<Vec<Stall>>>,
}

impl Stalls {
    /// The current stalls.
    pub fn now(&self) -> Vec<Stall> {
        self.now.borrow().clone()
    }

    /// Subscribes to changes.
    pub fn subscribe(&self) -> watch::Receiver<Vec<Stall>> {
        self.now.subscribe()
    }

    /// Sets the current stalls. Logs and records when each begins and ends.
    pub(super) fn set(&self, stalls: Vec<Stall>) {
        self.now.send_if_modified(|current| {
            let contains = |stalls: &[Stall], pool| stalls.iter().any(|stall| stall.pool == pool);
            let begun: Vec<&Stall> =
                stalls.iter().filter(|stall| !contains(current, stall.pool)).collect();
            let ended: Vec<&Stall> =
                current.iter().filter(|stall| !contains(&stalls, stall.pool)).collect();
            for Stall { pool, since, running, queued } in &begun {
                STALLED.set(1.0, [*pool]);
                tracing::error!(
                    pool,
                    since_seconds = since.as_secs(),
                    running,
                    queued,
                    "work makes no progress: a restart may help (liveness is NOT_SERVING)"
                );
            }
            for Stall { pool, .. } in &ended {
                STALLED.set(0.0, [*pool]);
                tracing::error!(pool, "work makes progress again");
            }
            let has_changed = !begun.is_empty() || !ended.is_empty();
            *current = stalls;
            has_changed
        });
    }
}

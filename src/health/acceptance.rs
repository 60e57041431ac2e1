//! Whether this server accepts exports.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tara_export_telemetry::names::NOT_ACCEPTING;
use tokio::sync::watch;

/// The reason why exports are not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Machine-readable.
    pub reason: RefusalReason,
    /// Human-readable.
    pub message: String,
}

/// The machine-readable reason why exports are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The data directory's disk is full or read-only, or its permissions do not allow writing.
    DiskNotWritable,
    /// The data directory's disk fails: an I/O error, or an error that may be temporary.
    DiskFailing,
    /// The data directory's disk does not complete a write.
    DiskHanging,
    /// The journal has reached its size limit.
    JournalFull,
    /// The store refuses bundles, and no other store accepts them.
    StoreRefuses,
}

impl RefusalReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::DiskNotWritable,
        Self::DiskFailing,
        Self::DiskHanging,
        Self::JournalFull,
        Self::StoreRefuses,
    ];

    /// The name in UPPER_SNAKE_CASE.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DiskNotWritable => "DISK_NOT_WRITABLE",
            Self::DiskFailing => "DISK_FAILING",
            Self::DiskHanging => "DISK_HANGING",
            Self::JournalFull => "JOURNAL_FULL",
            Self::StoreRefuses => "STORE_REFUSES",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whether exports are accepted, according to the latest write or check. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acceptance {
    refusal: Arc<watch::Sender<Option<Refusal>>>,
    is_check_requested: Arc<AtomicBool>,
}

impl Default for Acceptance {
    fn default() -> Self {
        for reason in RefusalReason::ALL {
            NOT_ACCEPTING.set(0.0, [reason.as_str()]);
        }
        Self { refusal: Arc::new(watch::Sender::new(None)), is_check_requested: Arc::default() }
    }
}

impl Acceptance {
    /// The reason why exports are not accepted now. `None` if they are accepted.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.borrow().clone()
    }

    /// Subscribes to changes.
    pub fn subscribe(&self) -> watch::Receiver<Option<Refusal>> {
        self.refusal.subscribe()
    }

    /// Sets the result of a write or a check. Logs and records each change of the reason.
    pub fn set(&self, refusal: Option<Refusal>) {
        self.refusal.send_if_modified(|current| {
            if *current == refusal {
                return false;
            }
            let previous = current.as_ref().map(|refusal| refusal.reason);
            let now = refusal.as_ref().map(|refusal| refusal.reason);
            if previous != now {
                if let Some(previous) = previous {
                    NOT_ACCEPTING.set(0.0, [previous.as_str()]);
                }
                match &refusal {
                    Some(Refusal { reason, message }) => {
                        NOT_ACCEPTING.set(1.0, [reason.as_str()]);
                        tracing::error!(%reason, message, "exports are not accepted");
                    }
                    None => tracing::info!("exports are accepted again"),
                }
            }
            *current = refusal;
            true
        });
    }

    /// Records that an export was accepted, which ends refusals because of the disk or a limit.
    pub fn accepted(&self) {
        let is_outdated = |refusal: Refusal| refusal.reason != RefusalReason::StoreRefuses;
        if self.refusal().is_some_and(is_outdated) {
            self.set(None);
        }
    }

    /// Requests a check now, because a failure may affect all exports.
    pub fn request_check(&self) {
        self.is_check_requested.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_check_request(&self) -> bool {
        self.is_check_requested.swap(false, Ordering::Relaxed)
    }
}

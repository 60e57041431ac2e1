//! Whether this server would accept an export.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use crate::telemetry::names::NOT_ACCEPTING;

/// Why no export would be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In one word.
    pub reason: RefusalReason,
    /// For a person.
    pub message: String,
}

/// Why no export would be accepted, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The data directory's disk is full or read-only, or its permissions do not allow writing.
    DiskNotWritable,
    /// The data directory's disk fails: an I/O error, or one that may pass.
    DiskFailing,
    /// The data directory's disk does not complete a write.
    DiskHanging,
    /// The journal has as many bytes as it may have.
    JournalFull,
    /// The store refuses bundles, and there is no other that takes them.
    StoreRefuses,
}

impl RefusalReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::DiskNotWritable,
        Self::DiskFailing,
        Self::DiskHanging,
        Self::JournalFull,
        Self::StoreRefuses,
    ];

    /// The UPPER_SNAKE word.
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

/// Whether exports would be accepted, as far as the latest write or check shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acceptance {
    refusal: Arc<watch::Sender<Option<Refusal>>>,
    is_check_due: Arc<AtomicBool>,
}

impl Default for Acceptance {
    fn default() -> Self {
        for reason in RefusalReason::ALL {
            NOT_ACCEPTING.set(0.0, [reason.as_str()]);
        }
        Self { refusal: Arc::new(watch::Sender::new(None)), is_check_due: Arc::default() }
    }
}

impl Acceptance {
    /// Why no export would be accepted now; `None` if one would be.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.borrow().clone()
    }

    /// Hears of each change.
    pub fn subscribe(&self) -> watch::Receiver<Option<Refusal>> {
        self.refusal.subscribe()
    }

    /// Notes what a write or a check showed. The log and the metric say when it begins and ends.
    pub fn set(&self, refusal: Option<Refusal>) {
        self.refusal.send_if_modified(|current| {
            if *current == refusal {
                return false;
            }
            let before = current.as_ref().map(|refusal| refusal.reason);
            let now = refusal.as_ref().map(|refusal| refusal.reason);
            if before != now {
                if let Some(before) = before {
                    NOT_ACCEPTING.set(0.0, [before.as_str()]);
                }
                match &refusal {
                    Some(Refusal { reason, message }) => {
                        NOT_ACCEPTING.set(1.0, [reason.as_str()]);
                        tracing::error!(%reason, message, "no export is accepted");
                    }
                    None => tracing::info!("exports are accepted again"),
                }
            }
            *current = refusal;
            true
        });
    }

    /// Notes that an export was accepted, so that no disk and no limit refuses it.
    pub fn accepted(&self) {
        let is_past = |refusal: Refusal| refusal.reason != RefusalReason::StoreRefuses;
        if self.refusal().is_some_and(is_past) {
            self.set(None);
        }
    }

    /// Asks for a check now, because something failed that may concern all exports.
    pub fn check_soon(&self) {
        self.is_check_due.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_due(&self) -> bool {
        self.is_check_due.swap(false, Ordering::Relaxed)
    }
}

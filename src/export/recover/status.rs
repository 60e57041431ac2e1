//! The status of this machine's exports, for the preflight, metrics and alarms.

use std::{sync::Arc, time::Duration};

use tara_export_bundle::ExportId;
use tara_export_telemetry::names::{self, NONE};
use tokio::time;

use crate::export::{
    failure::{Failure, FailureReason},
    journal::{JournalSize, Suspect, UnprocessableEntry},
    recover::backlog::Task,
    run::tally::Counts,
    shared::Shared,
};

/// Timeout for reading quarantine details from disk, so that a hanging disk does not delay the counts.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of items in each list of the status.
const MAX_LISTED: usize = 10;

/// The state of this machine's exports.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Exports by state.
    pub counts: Counts,
    /// Number of entries whose headers are not in memory. They count as pending.
    pub unread: u64,
    /// The size of the journal.
    pub journal: JournalSize,
    /// The size limit of the journal in bytes.
    pub journal_limit_bytes: u64,
    /// File names and reasons of quarantined entries, up to 10.
    pub quarantined: Vec<(String, String)>,
    /// Entries that were in progress when a process crashed and are tried one at a time, up to 10.
    pub suspects: Vec<Suspect>,
    /// The number of entries that this process cannot process, and up to 10 of them.
    pub unprocessable: (u64, Vec<UnprocessableEntry>),
    /// The age of the oldest export whose bundle is not in its destination.
    pub oldest_unsynced_age: Option<Duration>,
    /// The oldest exports whose last attempt failed, up to 10.
    pub failed_attempts: Vec<FailedAttempt>,
    /// Number of exports that wait for another store than the configured one.
    pub for_other_store: u64,
    /// Why the circuit breaker skips S3. `None` if it does not.
    pub outage: Option<String>,
}

/// An unfinished export whose last attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The export.
    pub export_id: ExportId,
    /// Whether the complete bundle is in the local store.
    pub fell_back: bool,
    /// The machine-readable reason.
    pub reason: FailureReason,
    /// The human-readable reason.
    pub message: String,
}

pub(in crate::export) async fn status(shared: &Shared) -> Option<Status> {
    let journal = shared.journal().ok()?;
    let quarantined = match time::timeout(DISK_TIMEOUT, journal.quarantined()).await {
        Err(_) => vec![("the quarantine".to_owned(), "the disk does not respond".to_owned())],
        Ok(Ok(found)) => {
            let files = found.files.into_iter().take(MAX_LISTED);
            files.map(|file| (file.name, file.reason)).collect()
        }
        Ok(Err(error)) => vec![("the quarantine".to_owned(), error.to_string())],
    };
    let now = shared.clock.now();
    let failed_attempts = shared.backlog.failed(MAX_LISTED).into_iter().filter_map(|waiting| {
        let Failure { reason, message } = waiting.last_failure?;
        let export_id = waiting.entry.header.export_id;
        let fell_back = waiting.task == Task::Sync;
        Some(FailedAttempt { export_id, fell_back, reason, message })
    });
    // An export that hangs in its first run is not in the backlog.
    let oldest =
        [shared.backlog.oldest(), shared.registry.oldest_unfinished(), shared.unread.oldest()];
    // Entries that are not in memory count as pending, whatever their remaining task is.
    let unread = shared.unread.count();
    let counts = shared.tally.counts();
    let counts =
        Counts { started: counts.started + unread, pending: counts.pending + unread, ..counts };
    Some(Status {
        counts,
        unread,
        journal: journal.size(),
        journal_limit_bytes: journal.limits().max_bytes,
        quarantined,
        unprocessable: journal.unprocessable(MAX_LISTED),
        suspects: journal.suspects().into_iter().take(MAX_LISTED).collect(),
        oldest_unsynced_age: oldest.into_iter().flatten().min().map(|oldest| {
            // The age is negative if the clock was set back.
            (now - oldest.as_datetime()).to_std().unwrap_or_default()
        }),
        failed_attempts: failed_attempts.collect(),
        for_other_store: shared.backlog.count(|waiting| {
            waiting
                .last_failure
                .as_ref()
                .is_some_and(|failure| failure.reason == FailureReason::StoreChanged)
        }),
        outage: shared.breaker.outage().map(|outage| outage.message),
    })
}

/// Interval between updates of the metrics.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Updates the metrics until the server stops.
pub(in crate::export) async fn report(shared: Arc<Shared>) {
    let mut started_before = 0;
    loop {
        if let Some(status) = status(&shared).await {
            let Counts { started, completed, failed, running, pending, fell_back, quarantined } =
                status.counts;
            names::STARTED.add(started.saturating_sub(started_before), NONE);
            started_before = started;
            for (state, count) in [
                ("completed", completed),
                ("failed", failed),
                ("running", running),
                ("pending", pending),
                ("fell_back", fell_back),
                ("quarantined", quarantined),
                ("unreadable", status.unprocessable.0),
            ] {
                names::EXPORTS_BY_STATE.set(count as f64, [state]);
            }
            names::OTHER_STORE.set(status.for_other_store as f64, NONE);
            names::BACKLOG.set((pending + fell_back) as f64, NONE);
            let age = status.oldest_unsynced_age.unwrap_or_default();
            names::BACKLOG_OLDEST_AGE.set(age.as_secs_f64(), NONE);
            names::JOURNAL_SIZE.set(status.journal.size_bytes as f64, NONE);
            names::JOURNAL_LIMIT.set(status.journal_limit_bytes as f64, NONE);
            names::S3_OUTAGE.set(f64::from(u8::from(status.outage.is_some())), NONE);
        }
        tokio::select! {
            () = time::sleep(REPORT_INTERVAL) => {}
            () = shared.draining.cancelled() => return,
        }
    }
}

//! How much waits on this machine, and why: for the preflight and for alarms.

use std::{sync::Arc, time::Duration};

use tokio::time;

use super::{
    FailureReason,
    backlog::Task,
    journal::{JournalSize, Suspect},
    shared::Shared,
    tally::Counts,
};
use crate::{
    bundle::ExportId,
    telemetry::names::{self, NONE},
};

/// How long the disk may take for what is no number: the numbers must not wait for a disk that hangs.
const DISK_PATIENCE: Duration = Duration::from_secs(5);
/// The most setbacks that are told.
const MOST_SETBACKS: usize = 10;

/// The state of this machine's exports.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Exports by state.
    pub counts: Counts,
    /// What the journal holds.
    pub journal: JournalSize,
    /// What it may hold, in bytes.
    pub journal_limit_bytes: u64,
    /// What lies in quarantine: file names and reasons, the first of them.
    pub quarantined: Vec<(String, String)>,
    /// The first of the entries that were in progress when a process died, and are tried one at a time.
    pub suspects: Vec<Suspect>,
    /// How long the oldest export waits that is not where it was asked for.
    pub oldest_unsynced_age: Option<Duration>,
    /// The oldest exports that could not be finished, and why.
    pub setbacks: Vec<Setback>,
    /// Why S3 is left alone at the moment.
    pub outage: Option<String>,
}

/// An export that could not be finished yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// The export.
    pub export_id: ExportId,
    /// Whether its bundle is whole in the local store.
    pub fell_back: bool,
    /// Why, in one word.
    pub reason: FailureReason,
    /// Why, for a person.
    pub message: String,
}

pub(super) async fn status(shared: &Shared) -> Option<Status> {
    let journal = shared.journal().ok()?;
    let quarantined = match time::timeout(DISK_PATIENCE, journal.quarantined()).await {
        Err(_) => vec![("the quarantine".to_owned(), "the disk does not answer".to_owned())],
        Ok(Ok(found)) => {
            let files = found.files.into_iter().take(MOST_SETBACKS);
            files.map(|file| (file.name, file.reason)).collect()
        }
        Ok(Err(error)) => vec![("the quarantine".to_owned(), error.to_string())],
    };
    let now = shared.clock.now();
    let setbacks = shared.backlog.set_back(MOST_SETBACKS).into_iter().filter_map(|waiting| {
        let outage = waiting.setback?;
        let export_id = waiting.entry.header.export_id;
        let fell_back = waiting.task == Task::Drain;
        Some(Setback { export_id, fell_back, reason: outage.reason, message: outage.message })
    });
    // One that hangs in its first run is in no backlog, and grows old like the others.
    let oldest = [shared.backlog.oldest(), shared.registry.oldest_unfinished()];
    Some(Status {
        counts: shared.tally.counts(),
        journal: journal.size(),
        journal_limit_bytes: journal.limits().max_bytes,
        quarantined,
        suspects: journal.suspects().into_iter().take(MOST_SETBACKS).collect(),
        oldest_unsynced_age: oldest.into_iter().flatten().min().map(|oldest| {
            // A clock that was set back makes nothing younger than new.
            (now - oldest.as_datetime()).to_std().unwrap_or_default()
        }),
        setbacks: setbacks.collect(),
        outage: shared.breaker.outage().map(|outage| outage.message),
    })
}

/// How often the numbers go to the metrics.
const REPORTED_EVERY: Duration = Duration::from_secs(10);

/// Tells the metrics how much waits, until the server stops.
pub(super) async fn report(shared: Arc<Shared>) {
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
            ] {
                names::EXPORTS_BY_STATE.set(count as f64, [state]);
            }
            names::OUTBOX.set((pending + fell_back) as f64, NONE);
            let age = status.oldest_unsynced_age.unwrap_or_default();
            names::OUTBOX_OLDEST_AGE.set(age.as_secs_f64(), NONE);
            names::JOURNAL_SIZE.set(status.journal.size_bytes as f64, NONE);
            names::JOURNAL_LIMIT.set(status.journal_limit_bytes as f64, NONE);
            names::S3_OUTAGE.set(f64::from(u8::from(status.outage.is_some())), NONE);
        }
        tokio::select! {
            () = time::sleep(REPORTED_EVERY) => {}
            () = shared.draining.cancelled() => return,
        }
    }
}

//! How much waits on this machine, and why: for the preflight and for alarms.

use std::time::Duration;

use super::{FailureReason, backlog::Task, journal::JournalSize, shared::Shared, tally::Counts};
use crate::bundle::ExportId;

/// The most setbacks that are told.
const MOST_SETBACKS: usize = 10;

/// The state of this machine's exports.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Exports by state.
    pub counts: Counts,
    /// What the journal holds.
    pub journal: JournalSize,
    /// What lies in quarantine: file names and reasons, the first of them.
    pub quarantined: Vec<(String, String)>,
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
    let quarantined = match journal.quarantined().await {
        Ok(found) => {
            let files = found.files.into_iter().take(MOST_SETBACKS);
            files.map(|file| (file.name, file.reason)).collect()
        }
        Err(error) => vec![("the quarantine".to_owned(), error.to_string())],
    };
    let now = shared.clock.now();
    let setbacks = shared.backlog.set_back(MOST_SETBACKS).into_iter().filter_map(|waiting| {
        let outage = waiting.setback?;
        let export_id = waiting.entry.header.export_id;
        let fell_back = waiting.task == Task::Drain;
        Some(Setback { export_id, fell_back, reason: outage.reason, message: outage.message })
    });
    Some(Status {
        counts: shared.tally.counts(),
        journal: journal.size(),
        quarantined,
        oldest_unsynced_age: shared.backlog.oldest().map(|oldest| {
            // A clock that was set back makes nothing younger than new.
            (now - oldest.as_datetime()).to_std().unwrap_or_default()
        }),
        setbacks: setbacks.collect(),
        outage: shared.breaker.outage().map(|outage| outage.message),
    })
}

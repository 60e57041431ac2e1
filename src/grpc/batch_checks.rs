//! The row of `CheckStorage` for batches that have not ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tara_export_store::{ProbeResult, ProbeStatus};

use crate::batch::BatchStatus;

/// What an operator should know about batches. `None` if there are none.
pub(super) fn row(status: BatchStatus, now: DateTime<Utc>) -> Option<ProbeResult> {
    let BatchStatus { active, incomplete, unreported, oldest } = status;
    let age = (now - oldest?).num_seconds().max(0);
    let message = format!(
        "{active} batches have not ended, the oldest is {age} s old: {incomplete} have items that were not accepted, \
         and {unreported} wait for their report or event to be stored"
    );
    let hint = match (incomplete, unreported) {
        (0, 0) => "",
        (0, _) => "the log has the reason; reports are stored as soon as the store works",
        _ => "callers of batches with such items must send them again; docs/batch.md describes it",
    };
    let status = if hint.is_empty() { ProbeStatus::Passed } else { ProbeStatus::Warning };
    let hint = hint.to_owned();
    Some(ProbeResult { check: "server.batches", status, message, hint, duration: Duration::ZERO })
}

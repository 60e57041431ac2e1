//! The rows of CheckStorage for the server's health.

use std::time::Duration;

use tara_export_store::{ProbeResult, ProbeStatus};

use crate::health::{Health, RefusalReason};

/// Returns one row for progress and one for acceptance.
pub(super) fn rows(health: &Health) -> Vec<ProbeResult> {
    vec![progress(health), accepting(health)]
}

fn progress(health: &Health) -> ProbeResult {
    let stalls = health.stalls.now();
    if stalls.is_empty() {
        return row("server.progress", Ok("all threads make progress".to_owned()));
    }
    let stalls: Vec<String> = stalls.iter().map(ToString::to_string).collect();
    let hint = "Check the disk that this work needs. If it works, restart the server.";
    row("server.progress", Err((stalls.join("; "), hint)))
}

fn accepting(health: &Health) -> ProbeResult {
    let Some(refusal) = health.acceptance.refusal() else {
        return row("server.accepting", Ok("exports are accepted".to_owned()));
    };
    let hint = match refusal.reason {
        RefusalReason::DiskNotWritable => {
            "Free space on the disk of DATA_DIR, or allow the service to write there. Exports are then accepted \
             again without a restart."
        }
        RefusalReason::DiskFailing | RefusalReason::DiskHanging => {
            "Check the system's log for errors of the disk of DATA_DIR."
        }
        RefusalReason::JournalFull => {
            "See the checks of the stores for why exports are not stored, or raise MAX_JOURNAL_BYTES."
        }
        RefusalReason::StoreRefuses => "Follow the hints of the checks of the stores.",
    };
    let message = format!("exports are not accepted ({}): {}", refusal.reason, refusal.message);
    row("server.accepting", Err((message, hint)))
}

fn row(check: &'static str, found: Result<String, (String, &str)>) -> ProbeResult {
    let (status, message, hint) = match found {
        Ok(message) => (ProbeStatus::Passed, message, ""),
        Err((message, hint)) => (ProbeStatus::Failed, message, hint),
    };
    ProbeResult { check, status, message, hint: hint.to_owned(), duration: Duration::ZERO }
}

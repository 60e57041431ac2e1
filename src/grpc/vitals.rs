//! The rows of CheckStorage that tell of the server's own health.

use std::time::Duration;

use crate::{
    health::{Health, RefusalReason},
    store::{ProbeResult, ProbeStatus},
};

/// One row for progress, one for acceptance.
pub(super) fn rows(health: &Health) -> Vec<ProbeResult> {
    vec![progress(health), accepting(health)]
}

fn progress(health: &Health) -> ProbeResult {
    let stalls = health.stalls.now();
    if stalls.is_empty() {
        return row("server.progress", Ok("all threads make progress".to_owned()));
    }
    let stalls: Vec<String> = stalls.iter().map(ToString::to_string).collect();
    let hint = "Look at the disk that this work needs; if it works, restart the server.";
    row("server.progress", Err((stalls.join("; "), hint)))
}

fn accepting(health: &Health) -> ProbeResult {
    let Some(refusal) = health.acceptance.refusal() else {
        return row("server.accepting", Ok("exports are accepted".to_owned()));
    };
    let hint = match refusal.reason {
        RefusalReason::DiskNotWritable => {
            "Make room on the disk of DATA_DIR, or let the service write there. Exports are accepted again without \
             a restart."
        }
        RefusalReason::DiskFailing | RefusalReason::DiskHanging => {
            "Look into the system's log for what is wrong with the disk of DATA_DIR."
        }
        RefusalReason::JournalFull => {
            "Look at the checks of the stores for why exports are not stored, or raise MAX_JOURNAL_BYTES."
        }
        RefusalReason::StoreRefuses => "Do what the checks of the stores say.",
    };
    let message = format!("no export is accepted ({}): {}", refusal.reason, refusal.message);
    row("server.accepting", Err((message, hint)))
}

fn row(check: &'static str, found: Result<String, (String, &str)>) -> ProbeResult {
    let (status, message, hint) = match found {
        Ok(message) => (ProbeStatus::Passed, message, ""),
        Err((message, hint)) => (ProbeStatus::Failed, message, hint),
    };
    ProbeResult { check, status, message, hint: hint.to_owned(), duration: Duration::ZERO }
}

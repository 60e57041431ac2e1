//! The rows of CheckStorage that tell what waits on this machine.

use std::time::Duration;

use crate::{
    export::Status,
    store::{ProbeResult, ProbeStatus},
};

/// One row each for the journal, what is pending, what fell back, the oldest of it, suspects, and
/// quarantine.
pub(super) fn rows(status: &Status) -> Vec<ProbeResult> {
    vec![
        journal(status),
        pending(status),
        fell_back(status),
        oldest(status),
        suspects(status),
        quarantined(status),
    ]
}

fn journal(status: &Status) -> ProbeResult {
    let (entries, bytes) = (status.journal.count, status.journal.size_bytes);
    let counts = status.counts;
    let message = format!(
        "{entries} accepted exports in the journal, {bytes} bytes; started {}: completed {}, failed {}, running {}, \
         pending {}, fell back {}, quarantined {}",
        counts.started,
        counts.completed,
        counts.failed,
        counts.running,
        counts.pending,
        counts.fell_back,
        counts.quarantined
    );
    row("exports.journal", ProbeStatus::Passed, message, "")
}

fn pending(status: &Status) -> ProbeResult {
    let count = status.counts.pending;
    let message = format!("{count} accepted exports wait for a store{}", reasons(status, false));
    let hint = "look at the checks of the stores; the exports go on by themselves";
    warn_above_zero("exports.pending", count, message, hint)
}

fn fell_back(status: &Status) -> ProbeResult {
    let count = status.counts.fell_back;
    let mut message = format!("{count} bundles are on this machine's disk and not in S3 yet");
    if let Some(outage) = &status.outage {
        message.push_str(&format!("; S3 is left alone at the moment: {outage}"));
    }
    message.push_str(&reasons(status, true));
    let hint =
        "they go to S3 by themselves as soon as it takes them; keep this machine's disk until then";
    warn_above_zero("exports.fell_back", count, message, hint)
}

fn oldest(status: &Status) -> ProbeResult {
    let age_seconds = status.oldest_unsynced_age.map_or(0, |age| age.as_secs());
    let message = format!("oldest_unsynced_age_seconds {age_seconds}");
    let hint = "an age that grows means that nothing reaches S3";
    warn_above_zero("exports.oldest_unsynced", age_seconds, message, hint)
}

fn suspects(status: &Status) -> ProbeResult {
    let count = status.suspects.len() as u64;
    let mut message =
        format!("{count} accepted exports were in progress when this server's process died");
    for suspect in &status.suspects {
        let (export_id, deaths) = (suspect.export_id, suspect.deaths);
        message.push_str(&format!("; exports/{export_id}: {deaths} of 3 deaths"));
    }
    let hint = "the server tries them one at a time, after all others; one that ends the process three times \
                while nothing else is in progress is moved to quarantine";
    warn_above_zero("exports.suspects", count, message, hint)
}

fn quarantined(status: &Status) -> ProbeResult {
    let count = status.counts.quarantined;
    let mut message = format!("{count} journal entries are in quarantine");
    for (name, reason) in &status.quarantined {
        message.push_str(&format!("; {name}: {reason}"));
    }
    let hint = "they are in .tara-export/journal/quarantine of DATA_DIR: remove the cause that each names, then run \
                'tara-export journal retry ID' with the first 36 characters of its name; restore damaged ones \
                from a backup of the disk, or have the reviews exported again";
    warn_above_zero("exports.quarantined", count, message, hint)
}

/// Why the oldest of what waits could not be finished.
fn reasons(status: &Status, fell_back: bool) -> String {
    let setbacks = status.setbacks.iter().filter(|setback| setback.fell_back == fell_back);
    let reasons = setbacks.map(|setback| {
        format!("; exports/{}: {} ({})", setback.export_id, setback.message, setback.reason)
    });
    reasons.collect()
}

fn warn_above_zero(
    check: &'static str,
    count: u64,
    message: String,
    hint: &'static str,
) -> ProbeResult {
    if count == 0 {
        row(check, ProbeStatus::Passed, message, "")
    } else {
        row(check, ProbeStatus::Warning, message, hint)
    }
}

fn row(check: &'static str, status: ProbeStatus, message: String, hint: &str) -> ProbeResult {
    ProbeResult { check, status, message, hint: hint.to_owned(), duration: Duration::ZERO }
}

//! The rows of CheckStorage for the backlog on this machine.

use std::time::Duration;

use tara_export_store::{ProbeResult, ProbeStatus};

use crate::export::{LeftExports, Status};

/// Returns one row each for the journal, pending exports, exports that fell back, exports for another store, the
/// oldest of them, suspects, unreadable entries and quarantine.
pub(super) fn rows(status: &Status) -> Vec<ProbeResult> {
    vec![
        journal(status),
        pending(status),
        fell_back(status),
        for_other_store(status),
        oldest(status),
        suspects(status),
        unreadable(status),
        quarantined(status),
    ]
}

/// The row for accepted exports that this process only reads.
pub(super) fn left(left: &LeftExports) -> ProbeResult {
    let count = left.count();
    let mut message = match left.is_in_use() {
        true => format!("{count} accepted exports are unfinished; another process works on them"),
        false => format!("{count} exports are accepted and not running"),
    };
    if left.unreadable() > 0 {
        message.push_str(&format!("; {} of them cannot be read", left.unreadable()));
    }
    if left.is_in_use() {
        return row("exports.journal", ProbeStatus::Passed, message, "");
    }
    let hint = "finish them with 'tara-export resume', or start a server with this data directory";
    warn_above_zero("exports.journal", count, message, hint)
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
    let mut message = format!("{count} accepted exports wait for a store");
    if status.unread > 0 {
        message.push_str(&format!(
            "; {} of them are not loaded from the journal yet and may include bundles that fell back",
            status.unread
        ));
    }
    message.push_str(&reasons(status, false));
    let hint = "see the checks of the stores; the exports continue automatically";
    warn_above_zero("exports.pending", count, message, hint)
}

fn fell_back(status: &Status) -> ProbeResult {
    let count = status.counts.fell_back;
    let mut message = format!("{count} bundles are on this machine's disk and not in S3 yet");
    if let Some(outage) = &status.outage {
        message.push_str(&format!("; S3 is skipped at the moment: {outage}"));
    }
    message.push_str(&reasons(status, true));
    let hint = "they are sent to S3 automatically once it accepts them; keep this machine's disk until then";
    warn_above_zero("exports.fell_back", count, message, hint)
}

fn for_other_store(status: &Status) -> ProbeResult {
    let count = status.for_other_store;
    let message = format!(
        "{count} accepted exports wait for a store other than this server's (STORE_CHANGED)"
    );
    let hint = "restore the previous S3_BUCKET_NAME, S3_BASE_PATH, AWS_REGION and AWS_ENDPOINT_URL; or stop the server \
                and bind them to its store with 'tara-export backlog move', which checks their documents first";
    warn_above_zero("exports.other_store", count, message, hint)
}

fn oldest(status: &Status) -> ProbeResult {
    let age_seconds = status.oldest_unsynced_age.map_or(0, |age| age.as_secs());
    let message = format!("oldest_unsynced_age_seconds {age_seconds}");
    let hint = "a growing age means that no bundle reaches S3";
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
    let hint = "the server tries them one at a time, after all others; an entry that ends the process three times \
                while no other is in progress is quarantined";
    warn_above_zero("exports.suspects", count, message, hint)
}

fn unreadable(status: &Status) -> ProbeResult {
    let (count, first) = &status.unprocessable;
    let mut message = format!("{count} accepted exports are in the journal and cannot be read now");
    for entry in first {
        message.push_str(&format!("; {}: {}", entry.name, entry.reason));
    }
    let hint = "they stay in .tara-export/journal of DATA_DIR: repair the disk, and the server reads them within a \
                minute; if a later release wrote them, run that release again";
    warn_above_zero("exports.unreadable", *count, message, hint)
}

fn quarantined(status: &Status) -> ProbeResult {
    let count = status.counts.quarantined;
    let mut message = format!("{count} journal entries are in quarantine");
    for (name, reason) in &status.quarantined {
        message.push_str(&format!("; {name}: {reason}"));
    }
    let hint = "they are in .tara-export/journal/quarantine of DATA_DIR: fix the cause that each names, then run \
                'tara-export journal retry ID' with the first 36 characters of its name; restore damaged entries \
                from a backup of the disk, or export the reviews again";
    warn_above_zero("exports.quarantined", count, message, hint)
}

/// The failures of the oldest unfinished exports.
fn reasons(status: &Status, fell_back: bool) -> String {
    let failed_attempts =
        status.failed_attempts.iter().filter(|setback| setback.fell_back == fell_back);
    let reasons = failed_attempts.map(|setback| {
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

//! The rows of `CheckStorage` for notifications: one for `NOTIFY_FILE`, one for each target, and one for the events in S3.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use tara_export_catalog::layout;
use tara_export_store::{ListRequest, ProbeResult, ProbeStatus, Store};

use crate::notifications::{Notifications, TargetActivity, TargetView};

/// The age that the objects of events in S3 should not exceed.
const MAX_AGE: TimeDelta = TimeDelta::days(60);
/// Objects of events that are checked.
const MAX_CHECKED: usize = 1_000;

/// Checks every target without sending an event.
pub(super) async fn rows(
    notifications: &Notifications,
    s3: Option<Arc<dyn Store>>,
    now: DateTime<Utc>,
) -> Vec<ProbeResult> {
    let file_error = notifications.file_error();
    let file = match file_error.as_str() {
        "" => row(ProbeStatus::Passed, "NOTIFY_FILE is in force".to_owned(), ""),
        error => row(
            ProbeStatus::Warning,
            format!("an older version of NOTIFY_FILE is in force: {error}"),
            "correct the file; the server reads it again by itself",
        ),
    };
    let targets = notifications.targets();
    let checks = join_all(targets.iter().map(|view| async move {
        let started = tokio::time::Instant::now();
        let checked = view.target.sender.check().await;
        let duration = started.elapsed();
        ProbeResult { duration, ..target_row(view, checked.map_err(|error| error.to_string())) }
    }));
    let expiry = match &s3 {
        Some(s3) => expiry_row(s3.as_ref(), now).await,
        None => None,
    };
    [file].into_iter().chain(checks.await).chain(expiry).collect()
}

/// Whether a lifecycle rule removes the objects of old events. `None` if the store does not list them, which other rows
/// report.
async fn expiry_row(s3: &dyn Store, now: DateTime<Utc>) -> Option<ProbeResult> {
    let request = ListRequest {
        prefix: layout::events_prefix(),
        start_after: None,
        delimited: false,
        limit: MAX_CHECKED,
    };
    let listing = s3.list(request).await.ok()?;
    let has_expired = listing
        .keys_with_times()
        .any(|(_, modified_time)| modified_time.is_some_and(|time| now - time > MAX_AGE));
    Some(match has_expired {
        false => row(ProbeStatus::Passed, "no event in S3 is older than 60 days".to_owned(), ""),
        true => row(
            ProbeStatus::Warning,
            "events in S3 are older than 60 days: no lifecycle rule removes them".to_owned(),
            "add a rule that removes objects below .tara-export/events/ after 30 days",
        ),
    })
}

fn target_row(view: &TargetView, checked: Result<(), String>) -> ProbeResult {
    let name = &view.target.name;
    let waiting = match view.pending_count {
        0 => String::new(),
        1 => "; 1 event waits".to_owned(),
        count => format!("; {count} events wait"),
    };
    if view.activity == TargetActivity::Disabled {
        return row(
            ProbeStatus::Warning,
            format!("target {name} asked not to be sent anything again{waiting}"),
            "change or remove it in NOTIFY_FILE",
        );
    }
    match checked {
        Ok(()) => row(ProbeStatus::Passed, format!("target {name} is reachable{waiting}"), ""),
        Err(error) => row(
            ProbeStatus::Warning,
            format!("target {name} cannot be used: {error}{waiting}"),
            "correct the target in NOTIFY_FILE, or what it names; its events wait for days",
        ),
    }
}

fn row(status: ProbeStatus, message: String, hint: &str) -> ProbeResult {
    let hint = hint.to_owned();
    ProbeResult { check: "server.notifications", status, message, hint, duration: Duration::ZERO }
}

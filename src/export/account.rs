//! What is told of an export when it ends: one line in the log with everything one needs, and the metrics.

use super::{events::Run, failure::Failure, shared::Shared};
use crate::{
    bundle::Destination,
    catalog::{Export, ExportState},
    store::{StoreError, StoreKind},
    telemetry::names,
};

/// The bundle is committed, where it was asked for or in the local store.
pub(super) fn completed(shared: &Shared, run: &Run, export: &Export) {
    let outcome = if export.state == ExportState::FellBack { "fell_back" } else { "committed" };
    let (artifacts, size_bytes) = (export.artifacts.len() + 1, export.size_bytes());
    if !run.counts() {
        tracing::info!(
            export_id = %export.export_id, outcome, location = export.location,
            "export was completed before"
        );
        return;
    }
    let (asked, got) = (asked(export), export.stored_in.map_or("none", kind));
    let duration = duration_seconds(shared, export);
    names::EXPORTS.add(1, [outcome, asked, got]);
    names::EXPORT_DURATION.record(duration, [outcome, got]);
    names::EXPORT_ARTIFACTS.record(artifacts as f64, [got]);
    names::EXPORT_SIZE.record(size_bytes as f64, [got]);
    tracing::info!(
        export_id = %export.export_id, outcome, reason = export.state_reason, asked, got,
        location = export.location, artifacts, size_bytes, duration_ms = milliseconds(duration),
        retries = run.retries(), resumed = run.is_resumed(), caller = export.requested_by,
        session_id = export.session_id, "export completed"
    );
}

/// There will be no bundle.
pub(super) fn failed(shared: &Shared, run: &Run, failure: &Failure) {
    let export = run.export();
    let (asked, duration) = (asked(&export), duration_seconds(shared, &export));
    names::EXPORTS.add(1, ["failed", asked, "none"]);
    names::EXPORT_DURATION.record(duration, ["failed", "none"]);
    names::FAILURES.add(1, [failure.reason.as_str()]);
    tracing::warn!(
        export_id = %export.export_id, outcome = "failed", reason = %failure.reason,
        error = failure.message, asked, got = "none", duration_ms = milliseconds(duration),
        retries = run.retries(), resumed = run.is_resumed(), caller = export.requested_by,
        session_id = export.session_id, "export failed"
    );
}

/// A store operation failed and will be repeated.
pub(super) fn retried(error: &StoreError) {
    names::RETRIES.add(1, [error.cause().as_str()]);
}

fn asked(export: &Export) -> &'static str {
    match export.requested_destination {
        Destination::S3 => "s3",
        Destination::Local => "local",
    }
}

fn kind(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::S3 => "s3",
        StoreKind::Local => "local",
    }
}

/// A clock that was set back makes nothing end before it began.
fn duration_seconds(shared: &Shared, export: &Export) -> f64 {
    let taken = shared.clock.now() - export.accepted_time.as_datetime();
    taken.to_std().unwrap_or_default().as_secs_f64()
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

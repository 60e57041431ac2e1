//! Reports the outcome of an export: one log line with all details, and the metrics.

use tara_export_auth::logged_name;
use tara_export_bundle::Destination;
use tara_export_catalog::{Export, ExportState};
use tara_export_store::{StoreError, StoreKind};
use tara_export_telemetry::names;

use crate::export::{failure::Failure, run::Run, shared::Shared};

/// Reports that the bundle is committed in its destination or, after a fallback, in the local store.
pub(in crate::export) fn completed(shared: &Shared, run: &Run, export: &Export) {
    let outcome = if export.state == ExportState::FellBack { "fell_back" } else { "committed" };
    let (artifacts, size_bytes) = (export.artifacts.len() + 1, export.size_bytes());
    if !run.is_counted() {
        tracing::info!(
            export_id = %export.export_id, outcome, location = export.location,
            "export was completed before"
        );
        return;
    }
    let (requested, stored_in) = (requested_label(export), export.stored_in.map_or("none", label));
    let duration = duration_seconds(shared, export);
    names::EXPORTS.add(1, [outcome, requested, stored_in]);
    names::EXPORT_DURATION.record(duration, [outcome, stored_in]);
    names::EXPORT_ARTIFACTS.record(artifacts as f64, [stored_in]);
    names::EXPORT_SIZE.record(size_bytes as f64, [stored_in]);
    tracing::info!(
        export_id = %export.export_id, outcome, reason = export.state_reason, requested,
        stored_in, location = export.location, artifacts, size_bytes,
        duration_ms = milliseconds(duration), retries = run.retries(), resumed = run.is_resumed(),
        caller = logged_name(&export.requested_by), session_id = export.session_id, "export completed"
    );
}

/// Reports that the export ended without a bundle.
pub(in crate::export) fn failed(shared: &Shared, run: &Run, failure: &Failure) {
    let export = run.export();
    let (requested, duration) = (requested_label(&export), duration_seconds(shared, &export));
    names::EXPORTS.add(1, ["failed", requested, "none"]);
    names::EXPORT_DURATION.record(duration, ["failed", "none"]);
    names::FAILURES.add(1, [failure.reason.as_str()]);
    tracing::warn!(
        export_id = %export.export_id, outcome = "failed", reason = %failure.reason,
        error = failure.message, requested, stored_in = "none",
        duration_ms = milliseconds(duration), retries = run.retries(), resumed = run.is_resumed(),
        caller = logged_name(&export.requested_by), session_id = export.session_id, "export failed"
    );
}

/// Counts a failed store operation that is retried.
pub(in crate::export) fn retried(error: &StoreError) {
    names::RETRIES.add(1, [error.cause().as_str()]);
}

fn requested_label(export: &Export) -> &'static str {
    match export.requested_destination {
        Destination::S3 => "s3",
        Destination::Local => "local",
    }
}

fn label(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::S3 => "s3",
        StoreKind::Local => "local",
    }
}

/// Time since acceptance; zero if the clock was set back.
fn duration_seconds(shared: &Shared, export: &Export) -> f64 {
    let elapsed = shared.clock.now() - export.accepted_time.as_datetime();
    elapsed.to_std().unwrap_or_default().as_secs_f64()
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

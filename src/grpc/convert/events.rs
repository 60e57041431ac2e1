//! Converts events to messages.

use chrono::{DateTime, Utc};
use tara_export_bundle::ExportId;
use tara_export_catalog::Export;
use uuid::Uuid;

use super::export::{export_message, signed, timestamp};
use crate::{
    export::{ArtifactUpdate, Durability, Event, EventKind, Progress, journal::FailedExport},
    proto::{self, export_event::Event as Kind},
};

/// The message of a run's event.
pub(in crate::grpc) fn event_message(
    export_id: ExportId,
    run_id: Uuid,
    event: &Event,
    replica: &str,
) -> proto::ExportEvent {
    proto::ExportEvent {
        name: format!("exports/{export_id}"),
        run_id: run_id.to_string(),
        sequence: signed(event.sequence),
        event_time: Some(timestamp(event.time)),
        progress: Some(progress_message(event.progress)),
        event: Some(kind(&event.kind, replica)),
    }
}

/// The terminal event of a bundle that was committed before the call.
pub(in crate::grpc) fn completed_event(
    export: &Export,
    now: DateTime<Utc>,
    replica: &str,
) -> proto::ExportEvent {
    let files = u32::try_from(export.artifacts.len() + 1).unwrap_or(u32::MAX);
    let bytes = export.size_bytes();
    let progress = Progress {
        artifacts_done: files,
        artifacts_total: files,
        bytes_done: bytes,
        bytes_total: bytes,
    };
    proto::ExportEvent {
        name: format!("exports/{}", export.export_id),
        run_id: String::new(),
        sequence: 1,
        event_time: Some(timestamp(now)),
        progress: Some(progress_message(progress)),
        event: Some(kind(&EventKind::Completed(Box::new(export.clone())), replica)),
    }
}

/// The terminal event of an export that failed before the call.
pub(in crate::grpc) fn failed_event(failed: &FailedExport, replica: &str) -> proto::ExportEvent {
    let event = EventKind::Failed {
        failure: failed.failure().clone(),
        stored_under: failed.stored_under_id(),
    };
    proto::ExportEvent {
        name: format!("exports/{}", failed.export().export_id),
        run_id: String::new(),
        sequence: 1,
        event_time: Some(timestamp(failed.failed_time())),
        progress: None,
        event: Some(kind(&event, replica)),
    }
}

fn kind(kind: &EventKind, replica: &str) -> Kind {
    match kind {
        EventKind::Accepted { accepted_time, resumed, durability } => {
            Kind::Accepted(proto::Accepted {
                accepted_time: Some(timestamp(accepted_time.as_datetime())),
                resumed: *resumed,
                durability: match durability {
                    Durability::LocalDisk => proto::accepted::Durability::LocalDisk,
                    Durability::Store => proto::accepted::Durability::Store,
                }
                .into(),
            })
        }
        EventKind::ArtifactStarted(update) => Kind::ArtifactStarted(update_message(update)),
        EventKind::ArtifactProgress(update) => Kind::ArtifactProgress(update_message(update)),
        EventKind::ArtifactRetrying(update) => Kind::ArtifactRetrying(update_message(update)),
        EventKind::ArtifactStored(update) => Kind::ArtifactStored(update_message(update)),
        EventKind::FellBack(failure) => Kind::FellBack(proto::FellBack {
            reason: failure.reason.to_string(),
            message: failure.message.clone(),
        }),
        EventKind::Heartbeat => Kind::Heartbeat(proto::Heartbeat {}),
        EventKind::Completed(export) => Kind::Completed(proto::Completed {
            export: Some(export_message(export, replica, true)),
        }),
        EventKind::Failed { failure, stored_under } => Kind::Failed(proto::Failed {
            reason: failure.reason.to_string(),
            message: failure.message.clone(),
            stored_under: stored_under
                .map(|export_id| format!("exports/{export_id}"))
                .unwrap_or_default(),
        }),
    }
}

fn update_message(update: &ArtifactUpdate) -> proto::ArtifactUpdate {
    proto::ArtifactUpdate {
        path: update.path.clone(),
        bytes_done: signed(update.bytes_done),
        size_bytes: signed(update.size_bytes),
        sha256: update.sha256.map(|sha256| sha256.to_string()).unwrap_or_default(),
        attempt: i32::try_from(update.attempt).unwrap_or(i32::MAX),
        reason: update.reason.clone(),
    }
}

fn progress_message(progress: Progress) -> proto::Progress {
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    proto::Progress {
        artifacts_done: count(progress.artifacts_done),
        artifacts_total: count(progress.artifacts_total),
        bytes_done: signed(progress.bytes_done),
        bytes_total: signed(progress.bytes_total),
    }
}

//! Exports, artifacts and checks as messages.

use chrono::{DateTime, Utc};

use crate::{
    bundle::Destination,
    catalog::{Export, ExportArtifact, ExportState},
    proto,
    store::{ProbeResult, ProbeStatus, StoreKind},
};

/// An export as a message; its artifacts are listed only where one export is shown.
pub(in crate::grpc) fn export_message(
    export: &Export,
    replica: &str,
    with_artifacts: bool,
) -> proto::Export {
    let artifacts = if with_artifacts {
        export.artifacts.iter().map(artifact_message).collect()
    } else {
        Vec::new()
    };
    proto::Export {
        name: format!("exports/{}", export.export_id),
        state: state(export.state).into(),
        state_reason: export.state_reason.clone(),
        document_name: export.document_name.clone(),
        session_id: export.session_id.clone(),
        reviewer: export.reviewer.clone(),
        requested_by: export.requested_by.clone(),
        requested_destination: match export.requested_destination {
            Destination::S3 => proto::Destination::S3,
            Destination::Local => proto::Destination::Local,
        }
        .into(),
        stored_in: match export.stored_in {
            Some(StoreKind::S3) => proto::Destination::S3,
            Some(StoreKind::Local) => proto::Destination::Local,
            None => proto::Destination::Unspecified,
        }
        .into(),
        folder_name: export.folder_name.as_ref().map(ToString::to_string).unwrap_or_default(),
        location: export.location.clone(),
        replica: replica.to_owned(),
        artifact_count: i32::try_from(export.artifacts.len()).unwrap_or(i32::MAX),
        size_bytes: signed(export.size_bytes()),
        manifest_sha256: export
            .manifest_sha256
            .map(|sha256| sha256.to_string())
            .unwrap_or_default(),
        accepted_time: Some(timestamp(export.accepted_time.as_datetime())),
        committed_time: export.committed_time.map(timestamp),
        artifacts,
        adopted: export.adopted,
    }
}

/// One file of a bundle as a message.
pub(in crate::grpc) fn artifact_message(artifact: &ExportArtifact) -> proto::Artifact {
    proto::Artifact {
        path: artifact.path.clone(),
        size_bytes: signed(artifact.size_bytes),
        sha256: artifact.sha256.to_string(),
        media_type: artifact.media_type.clone(),
    }
}

/// One check of a store as a message.
pub(in crate::grpc) fn check_message(result: ProbeResult) -> proto::StorageCheck {
    use proto::storage_check::Status;

    let status = match result.status {
        ProbeStatus::Passed => Status::Passed,
        ProbeStatus::Warning => Status::Warning,
        ProbeStatus::Failed => Status::Failed,
        ProbeStatus::Skipped => Status::Skipped,
    };
    proto::StorageCheck {
        check: result.check.to_owned(),
        status: status.into(),
        message: result.message,
        hint: result.hint,
        // Some seconds; the conversion fails beyond 292 billion years.
        duration: result.duration.try_into().ok(),
    }
}

fn state(state: ExportState) -> proto::export::State {
    match state {
        ExportState::Running => proto::export::State::Running,
        ExportState::Pending => proto::export::State::Pending,
        ExportState::FellBack => proto::export::State::FellBack,
        ExportState::Committed => proto::export::State::Committed,
        ExportState::Failed => proto::export::State::Failed,
        ExportState::Quarantined => proto::export::State::Quarantined,
    }
}

/// A time as a message.
pub(in crate::grpc) fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        // Below 2 * 10^9, also in a leap second.
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(i32::MAX).min(999_999_999),
    }
}

/// Protobuf's sizes are signed.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

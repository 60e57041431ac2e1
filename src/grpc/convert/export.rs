//! Converts exports, artifacts and checks to messages.

use chrono::{DateTime, Utc};
use tara_export_bundle::{Destination, Replacement};
use tara_export_catalog::{Export, ExportArtifact, ExportState, destination_of};
use tara_export_store::{ProbeResult, ProbeStatus};

use crate::proto;

/// The message of an export. Lists its artifacts and replacements only if `with_artifacts` is set.
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
    let replacements = if with_artifacts {
        export.replacements.iter().map(replacement_message).collect()
    } else {
        Vec::new()
    };
    let name = match export.is_id_unknown {
        true => String::new(),
        false => format!("exports/{}", export.export_id),
    };
    proto::Export {
        name,
        state: state(export.state).into(),
        state_reason: export.state_reason.clone(),
        document_name: export.document_name.clone(),
        session_id: export.session_id.clone(),
        reviewer: export.reviewer.clone(),
        requested_by: export.requested_by.clone(),
        requested_destination: destination(export.requested_destination).into(),
        stored_in: export
            .stored_in
            .map_or(proto::Destination::Unspecified, |kind| destination(destination_of(kind)))
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
        replacements,
    }
}

/// The message of an artifact.
pub(in crate::grpc) fn artifact_message(artifact: &ExportArtifact) -> proto::Artifact {
    proto::Artifact {
        path: artifact.path.clone(),
        size_bytes: signed(artifact.size_bytes),
        sha256: artifact.sha256.to_string(),
        media_type: artifact.media_type.clone(),
    }
}

fn replacement_message(replacement: &Replacement) -> proto::Replacement {
    proto::Replacement { path: replacement.path.clone(), reason: replacement.reason.clone() }
}

/// The message of a check.
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
        // Fails only beyond 292 billion years.
        duration: result.duration.try_into().ok(),
    }
}

fn destination(destination: Destination) -> proto::Destination {
    match destination {
        Destination::S3 => proto::Destination::S3,
        Destination::Local => proto::Destination::Local,
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

/// The message of a time.
pub(in crate::grpc) fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        // Chrono returns up to 2 * 10^9 in a leap second.
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(i32::MAX).min(999_999_999),
    }
}

/// Converts a size to the signed type of the proto.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

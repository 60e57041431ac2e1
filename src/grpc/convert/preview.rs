//! Converts a preview to a message: the bundle's artifacts, the possible destinations and warnings.

use tara_export_bundle::{Destination, PlannedArtifact, Warning};

use super::export::signed;
use crate::proto::{self, export_option};

/// The message of a preview. The default destination is recommended.
pub(in crate::grpc) fn preview_message(
    planned: Vec<PlannedArtifact>,
    warnings: Vec<Warning>,
    default: Destination,
) -> proto::PreviewExportResponse {
    let artifacts: Vec<proto::Artifact> = planned
        .into_iter()
        .map(|artifact| proto::Artifact {
            path: artifact.path.to_string(),
            size_bytes: signed(artifact.size_bytes),
            sha256: String::new(),
            media_type: artifact.media_type,
        })
        .collect();
    proto::PreviewExportResponse {
        accepts_notify_emails: false,
        size_bytes: artifacts
            .iter()
            .map(|artifact| artifact.size_bytes)
            .fold(0, i64::saturating_add),
        artifacts,
        options: options(default),
        warnings: warnings
            .into_iter()
            .map(|warning| proto::Warning {
                reason: warning.reason.as_str().to_owned(),
                message: warning.message,
            })
            .collect(),
    }
}

fn options(default: Destination) -> Vec<proto::ExportOption> {
    use export_option::Kind;

    let has_s3 = default == Destination::S3;
    let option = |kind: Kind, recommended, label: &str, explanation: &str| proto::ExportOption {
        kind: kind.into(),
        recommended,
        available: true,
        unavailable_reason: String::new(),
        label: label.to_owned(),
        explanation: explanation.to_owned(),
    };
    let mut s3 = option(
        Kind::S3,
        has_s3,
        "Save to S3",
        "The bundle is stored in the S3 bucket, where everyone with access can read it. If S3 is unavailable, it is \
         stored on the server's disk, and you are notified.",
    );
    if !has_s3 {
        s3.available = false;
        s3.unavailable_reason = "This server has no S3 bucket.".to_owned();
    }
    let local = option(
        Kind::Local,
        !has_s3,
        "Save on the server only",
        "The bundle is stored only on the server's disk, and can be downloaded. It is lost if that disk is lost.",
    );
    let cancel =
        option(Kind::Cancel, false, "Cancel", "Nothing is exported. The review does not change.");
    vec![s3, local, cancel]
}

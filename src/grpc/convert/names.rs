//! Parses resource names, paths, page sizes and other simple fields of requests.

use std::{fmt::Display, time::Duration};

use tara_export_bundle::{ArtifactPath, ExportId};
use tara_export_digest::{InvalidSha256, Sha256};
use tara_export_store::LinkRequest;
use tonic::Status;
use uuid::Uuid;

use crate::grpc::status::{Violations, invalid};

/// The page size if the request has none.
const DEFAULT_PAGE_SIZE: usize = 50;
/// The largest page size; larger values are clamped.
const MAX_PAGE_SIZE: usize = 1_000;

/// The validity of a link if the request has none.
const DEFAULT_TIME_TO_LIVE: Duration = Duration::from_secs(15 * 60);

/// Parses the resource name `exports/{export_id}`.
pub(in crate::grpc) fn export_id(name: &str) -> Result<ExportId, Status> {
    let id = name.strip_prefix("exports/").and_then(|id| id.parse().ok());
    id.ok_or_else(|| {
        let example = "exports/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
        invalid("name", format!("must be an export's name in lower case, such as {example}"))
    })
}

/// Parses the resource name `uploads/{upload_id}`.
pub(in crate::grpc) fn upload_id(name: &str) -> Result<Uuid, Status> {
    parse_upload_id(name).map_err(|description| invalid("name", description))
}

pub(super) fn parse_upload_id(name: &str) -> Result<Uuid, String> {
    let id = name.strip_prefix("uploads/").filter(|id| id.len() == 36);
    let id = id.and_then(|id| Uuid::try_parse(id).ok());
    let example = "uploads/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
    id.ok_or_else(|| format!("must be an upload's name from CreateUpload, such as {example}"))
}

/// Parses a digest. `None` if it is empty or invalid.
pub(in crate::grpc) fn optional_sha256(
    field: impl Display,
    text: &str,
    violations: &mut Violations,
) -> Option<Sha256> {
    if text.is_empty() {
        return None;
    }
    text.parse().map_err(|error: InvalidSha256| violations.add(field, error)).ok()
}

/// Parses a request id. `None` if it is empty.
pub(in crate::grpc) fn request_id(text: &str) -> Result<Option<Uuid>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    // Only the hyphenated form, so that the export's name contains the request id unchanged.
    let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
    uuid.map(Some).ok_or_else(|| {
        "must be empty, or a UUID such as 6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e".to_owned()
    })
}

/// Parses the path of an artifact.
pub(in crate::grpc) fn artifact_path(path: &str) -> Result<ArtifactPath, Status> {
    path.parse().map_err(|_| {
        let example = "documents/after_report.docx";
        invalid(
            "path",
            format!("must be the path of an artifact within the bundle, such as {example}"),
        )
    })
}

/// Converts a page size.
pub(in crate::grpc) fn page_size(page_size: i32) -> Result<usize, Status> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
        Err(_) => Err(invalid("page_size", "must be 0 (default) or greater")),
    }
}

/// Converts the validity of a link.
pub(in crate::grpc) fn time_to_live(
    requested: Option<prost_types::Duration>,
) -> Result<Duration, Status> {
    let Some(requested) = requested else { return Ok(DEFAULT_TIME_TO_LIVE) };
    let in_range = Duration::try_from(requested).ok().filter(|duration| {
        (Duration::from_secs(1)..=LinkRequest::MAX_TIME_TO_LIVE).contains(duration)
    });
    in_range
        .ok_or_else(|| invalid("time_to_live", "must be 1 s to 7 days, or unset for 15 minutes"))
}

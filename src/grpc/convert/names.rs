//! Resource names, paths and page sizes of requests.

use std::{fmt::Display, time::Duration};

use tonic::Status;
use uuid::Uuid;

use crate::{
    bundle::{ArtifactPath, ExportId},
    digest::{InvalidSha256, Sha256},
    grpc::status::{Violations, invalid},
    store::LinkWish,
};

/// Exports a page when the caller does not say.
const DEFAULT_PAGE_SIZE: usize = 50;
/// Largest page; larger wishes get this.
const LARGEST_PAGE_SIZE: usize = 1_000;

/// How long a link lives when the caller does not say.
const DEFAULT_TIME_TO_LIVE: Duration = Duration::from_secs(15 * 60);

/// The export of a resource name `exports/{export_id}`.
pub(in crate::grpc) fn export_id(name: &str) -> Result<ExportId, Status> {
    let id = name.strip_prefix("exports/").and_then(|id| id.parse().ok());
    id.ok_or_else(|| {
        let example = "exports/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
        invalid("name", format!("an export is named as {example}, in lower case"))
    })
}

/// The upload of a resource name `uploads/{upload_id}`.
pub(in crate::grpc) fn upload_id(name: &str) -> Result<Uuid, Status> {
    parse_upload_id(name).map_err(|description| invalid("name", description))
}

pub(super) fn parse_upload_id(name: &str) -> Result<Uuid, String> {
    let id = name.strip_prefix("uploads/").filter(|id| id.len() == 36);
    let id = id.and_then(|id| Uuid::try_parse(id).ok());
    let example = "uploads/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
    id.ok_or_else(|| format!("an upload is named as {example}, as CreateUpload said"))
}

/// A digest: none when empty.
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

/// A request id: none when empty.
pub(in crate::grpc) fn request_id(text: &str) -> Result<Option<Uuid>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    // Only the hyphenated form, so that what the caller sent is found again in the export's name.
    let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
    uuid.map(Some)
        .ok_or_else(|| "a UUID such as 6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e, or empty".to_owned())
}

/// The path of an artifact.
pub(in crate::grpc) fn artifact_path(path: &str) -> Result<ArtifactPath, Status> {
    path.parse().map_err(|_| {
        let example = "documents/after_report.docx";
        invalid(
            "path",
            format!("a file is named by its path within the bundle's folder, as {example}"),
        )
    })
}

/// The exports a page has at most.
pub(in crate::grpc) fn page_size(page_size: i32) -> Result<usize, Status> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(LARGEST_PAGE_SIZE)),
        Err(_) => Err(invalid("page_size", "0 for the default, or a number above")),
    }
}

/// How long a link is to live.
pub(in crate::grpc) fn time_to_live(
    given: Option<prost_types::Duration>,
) -> Result<Duration, Status> {
    let Some(given) = given else { return Ok(DEFAULT_TIME_TO_LIVE) };
    let in_range = Duration::try_from(given)
        .ok()
        .filter(|wished| (Duration::from_secs(1)..=LinkWish::LONGEST).contains(wished));
    in_range.ok_or_else(|| invalid("time_to_live", "1 s to 7 days, or unset for 15 minutes"))
}

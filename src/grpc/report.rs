//! GetReport: a report in the form that the caller requests, within one message.

use prost::Message as _;
use tara_export_bundle::ArtifactPath;
use tara_export_catalog::{Catalog, StoredBundle};
use tonic::{Code, Response, Status};

use super::{
    convert::report_message,
    failures::read_failed,
    readers::ReadPermit,
    response_memory::{EXPORT_BYTES, UNARY_LIMIT_BYTES, parsed_bytes, response_with},
    status::{internal_error, status},
};
use crate::proto::{GetReportResponse, get_report_request::View, get_report_response::Report};

/// The memory of each object in a report's JSON, in addition to its bytes.
const OBJECT_BYTES: u64 = 512;

/// Reads a report of a bundle.
pub(super) async fn read(
    catalog: &Catalog,
    bundle: &StoredBundle,
    view: View,
    mut permit: ReadPermit,
) -> Result<Response<GetReportResponse>, Status> {
    let path = match view {
        View::Unspecified | View::Structured | View::Json => ArtifactPath::comprehensive_report(),
        View::Text => ArtifactPath::readable_report(),
    };
    let too_large = || {
        let message = format!(
            "{path} is too large for one message: use DownloadArtifact, which has no limit"
        );
        status(Code::FailedPrecondition, "REPORT_TOO_LARGE", message)
    };
    let size_bytes = bundle.artifact(&path).map_err(read_failed)?.size_bytes;
    if size_bytes > UNARY_LIMIT_BYTES as u64 {
        return Err(too_large());
    }
    // While it waits for the report's memory, it holds only the manifest.
    permit.shrink_to(parsed_bytes(bundle.manifest_artifact().size_bytes));
    permit.grow_to(EXPORT_BYTES + parsed_bytes(size_bytes)).await?;
    let (artifact, bytes) = catalog.read_file(bundle, &path).await.map_err(read_failed)?;
    if matches!(view, View::Unspecified | View::Structured) {
        let objects = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() as u64;
        let document = parsed_bytes(size_bytes) + OBJECT_BYTES * objects;
        permit.grow_to(EXPORT_BYTES + document).await?;
    }
    let sha256 = artifact.sha256.to_string();
    let unreadable = |error: String| {
        if bundle.manifest().adopted {
            let message = format!(
                "{path} was not written by this service and does not have its format ({error}): use VIEW_JSON or \
                 DownloadArtifact, which return it unchanged"
            );
            return status(Code::FailedPrecondition, "REPORT_UNREADABLE", message);
        }
        tracing::error!(
            name = format!("exports/{}", bundle.manifest().export_id),
            error,
            "cannot parse a report that matches its manifest"
        );
        internal_error()
    };
    let report = match view {
        View::Json => Report::Json(bytes),
        View::Text => Report::Text(
            String::from_utf8(bytes.into()).map_err(|error| unreadable(error.to_string()))?,
        ),
        View::Unspecified | View::Structured => Report::Structured(
            report_message(&bytes).map_err(|error| unreadable(error.to_string()))?,
        ),
    };
    let response = GetReportResponse { sha256, report: Some(report) };
    if response.encoded_len() > UNARY_LIMIT_BYTES {
        return Err(too_large());
    }
    Ok(response_with(permit, response))
}

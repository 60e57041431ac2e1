//! Memory of responses: how much is reserved before reading, and how much a response keeps until it is sent.

use tara_export_catalog::Export;
use tonic::Response;

use super::{admitted::Admitted, readers::ReadPermit};

/// The largest unary response: clients accept 4 MiB by default, including framing.
pub(super) const UNARY_LIMIT_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;
/// The memory that is reserved before an export is read, for its manifest and the response.
pub(super) const EXPORT_BYTES: u64 = 128 * 1024;
/// The memory of a parsed manifest or report, as a multiple of its size.
const PARSED_FACTOR: u64 = 4;

/// The memory of a parsed manifest or report of this size.
pub(super) fn parsed_bytes(size_bytes: u64) -> u64 {
    PARSED_FACTOR.saturating_mul(size_bytes)
}

/// The memory of an export's lists of artifacts and replacements.
pub(super) fn artifact_list_bytes(export: &Export) -> u64 {
    let artifacts: usize = export.artifacts.iter().map(|artifact| artifact.path.len() + 128).sum();
    let replacements: usize =
        export.replacements.iter().map(|replacement| replacement.text_bytes() + 128).sum();
    parsed_bytes((artifacts + replacements) as u64)
}

/// A response that keeps only the memory that it needs while it is read: the message and its encoding.
pub(super) fn response_with<T: prost::Message>(mut permit: ReadPermit, message: T) -> Response<T> {
    permit.shrink_to(2 * message.encoded_len() as u64);
    response_under(permit, message)
}

/// A response that keeps its reservation until it has been read.
pub(super) fn response_under<T>(permit: ReadPermit, message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.extensions_mut().insert(Admitted::new(permit));
    response
}

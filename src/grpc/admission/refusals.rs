//! Statuses of requests that are not admitted.

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use tonic::{Code, Status, body::Body};

use super::compression::{ACCEPT_HEADER, ACCEPTED, DecompressError};
use crate::grpc::{
    status::{REQUEST_TOO_LARGE, REQUEST_TOO_SLOW, invalid, status},
    wire_scan::ScanError,
};

/// The bytes are not a message of their method.
pub(in crate::grpc) fn undecodable() -> Status {
    let message = "cannot decode the request: it is not a message of this method, or its free fields are nested \
                   deeper than 30 levels";
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

/// A request with a review is larger than `MAX_REQUEST_SIZE`.
pub(super) fn request_too_large(limit_bytes: u64) -> Status {
    let message = format!(
        "the request is larger than the limit of {limit_bytes} bytes (MAX_REQUEST_SIZE): upload its large documents \
         first (CreateUpload), or raise the setting"
    );
    status(Code::ResourceExhausted, REQUEST_TOO_LARGE, message)
}

/// A message of another method is larger than its limit.
pub(super) fn message_too_large(limit_bytes: usize) -> Status {
    let message =
        format!("the message is larger than the limit of this method, {limit_bytes} bytes");
    status(Code::ResourceExhausted, REQUEST_TOO_LARGE, message)
}

/// A request does not arrive in time.
pub(in crate::grpc) fn too_slow(timeout: std::time::Duration) -> Status {
    let message = format!(
        "the request did not arrive within {timeout:?} (REQUEST_TIMEOUT): upload its large documents first \
         (CreateUpload)"
    );
    status(Code::DeadlineExceeded, REQUEST_TOO_SLOW, message)
}

pub(super) fn not_decompressed(error: &DecompressError) -> Status {
    let message = match error {
        DecompressError::WindowTooLarge => {
            "the message is compressed with a window larger than 8 MiB: use a smaller window"
        }
        DecompressError::TooLarge | DecompressError::Malformed => {
            "cannot decompress the message: it does not have the encoding in the header grpc-encoding"
        }
    };
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

impl From<ScanError> for Status {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Malformed => undecodable(),
            ScanError::Limit { field, description } => invalid(&field, description),
        }
    }
}

/// UNIMPLEMENTED with the supported encodings, as gRPC's specification of compression requires.
pub(super) fn unknown_encoding() -> Response {
    let message = format!("the request's grpc-encoding is not supported: use one of {ACCEPTED}");
    let status = status(Code::Unimplemented, "ENCODING_NOT_SUPPORTED", message);
    let mut response = status.into_http::<Body>();
    response.headers_mut().insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPTED));
    response.into_response()
}

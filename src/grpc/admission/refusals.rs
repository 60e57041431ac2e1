//! Why a request is not admitted, as statuses.

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use tonic::{Code, Status, body::Body};

use super::compression::{ACCEPT_HEADER, ACCEPTED, DecompressError};
use crate::grpc::{
    status::{REQUEST_TOO_LARGE, REQUEST_TOO_SLOW, invalid, status},
    wire_scan::Refused,
};

/// The bytes are no message of their method.
pub(in crate::grpc) fn undecodable() -> Status {
    let message = "the request can't be decoded: it is no message of this method, or its free fields are nested \
                   deeper than 30 levels";
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

/// A request with a review is above `MAX_REQUEST_SIZE`.
pub(super) fn request_too_large(limit_bytes: u64) -> Status {
    let message = format!(
        "the request is larger than the {limit_bytes} bytes this server takes (MAX_REQUEST_SIZE): \
         upload its large documents first (CreateUpload), or raise the setting"
    );
    status(Code::ResourceExhausted, REQUEST_TOO_LARGE, message)
}

/// A message of any other method is above its limit.
pub(super) fn message_too_large(limit_bytes: usize) -> Status {
    let message = format!("requests of this method have at most {limit_bytes} bytes");
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
            "the message is compressed with a window of more than 8 MiB: use a smaller one"
        }
        DecompressError::TooLarge | DecompressError::Malformed => {
            "the message can't be decompressed: it is not in the encoding that grpc-encoding names"
        }
    };
    status(Code::InvalidArgument, "INVALID_REQUEST", message)
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed => undecodable(),
            Refused::Limit { field, description } => invalid(&field, description),
        }
    }
}

/// UNIMPLEMENTED with the encodings that this server reads, as gRPC's specification of compression asks.
pub(super) fn unknown_encoding() -> Response {
    let message = format!("the request's grpc-encoding is none of {ACCEPTED}");
    let status = status(Code::Unimplemented, "ENCODING_NOT_SUPPORTED", message);
    let mut response = status.into_http::<Body>();
    response.headers_mut().insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPTED));
    response.into_response()
}

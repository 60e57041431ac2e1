//! Errors as the Connect protocol sends them ("Error end stream", "Error codes").

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, StatusCode};
use prost::Message as _;
use prost_reflect::DescriptorPool;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::pb;

use super::to_json::JsonText;

/// The name and the HTTP status of a code.
pub(super) fn code_of(code: Code) -> (&'static str, StatusCode) {
    let (name, status) = match code {
        Code::Ok => ("ok", 200),
        // "Client closed request", as nginx defines it.
        Code::Cancelled => ("canceled", 499),
        Code::Unknown => ("unknown", 500),
        Code::InvalidArgument => ("invalid_argument", 400),
        Code::DeadlineExceeded => ("deadline_exceeded", 504),
        Code::NotFound => ("not_found", 404),
        Code::AlreadyExists => ("already_exists", 409),
        Code::PermissionDenied => ("permission_denied", 403),
        Code::ResourceExhausted => ("resource_exhausted", 429),
        Code::FailedPrecondition => ("failed_precondition", 400),
        Code::Aborted => ("aborted", 409),
        Code::OutOfRange => ("out_of_range", 400),
        Code::Unimplemented => ("unimplemented", 501),
        Code::Internal => ("internal", 500),
        Code::Unavailable => ("unavailable", 503),
        Code::DataLoss => ("data_loss", 500),
        Code::Unauthenticated => ("unauthenticated", 401),
    };
    (name, StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

/// The error with its details: each as protobuf in base64, and as JSON in `debug` if its type is known.
pub(super) fn error_json(pool: &DescriptorPool, status: &Status) -> Value {
    let mut error = Map::new();
    error.insert("code".to_owned(), code_of(status.code()).0.into());
    if !status.message().is_empty() {
        error.insert("message".to_owned(), status.message().into());
    }
    let details = pb::Status::decode(status.details()).map(|status| status.details);
    let details: Vec<Value> = details
        .unwrap_or_default()
        .into_iter()
        .map(|detail| {
            let name = detail.type_url.rsplit('/').next().unwrap_or_default().to_owned();
            let value = STANDARD_NO_PAD.encode(&detail.value);
            let mut json = json!({"type": name, "value": value});
            if let Some(debug) = debug_json(pool, &name, detail.value) {
                json["debug"] = debug;
            }
            json
        })
        .collect();
    if !details.is_empty() {
        error.insert("details".to_owned(), details.into());
    }
    error.into()
}

/// A detail as JSON. Errors are small.
fn debug_json(pool: &DescriptorPool, name: &str, bytes: Vec<u8>) -> Option<Value> {
    let message_type = pool.get_message_by_name(name)?;
    let mut text = JsonText::new(&message_type, bytes.into());
    let mut json = Vec::new();
    while let Some(piece) = text.next_piece().ok()? {
        json.extend_from_slice(&piece);
    }
    serde_json::from_slice(&json).ok()
}

/// The end of a stream: `{}`, or the error.
pub(super) fn end_json(pool: &DescriptorPool, trailers: &HeaderMap) -> Value {
    match Status::from_header_map(trailers) {
        Some(status) if status.code() == Code::Ok => json!({}),
        Some(status) => json!({"error": error_json(pool, &status)}),
        None => json!({"error": {"code": "unknown", "message": "the response has no status"}}),
    }
}

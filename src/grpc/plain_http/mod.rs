//! The API over plain HTTP: the Connect protocol, JSON with any HTTP client, and its description.
//!
//! A layer in front of gRPC-Web turns a call of plain HTTP into the gRPC call that the other layers and the services
//! handle: authentication, limits, admission and metrics are the same. This module has the ends of it: the request's
//! headers here, the response's status and its end in [`response`]. Messages are converted in the admission layer,
//! because their memory is reserved there ([`from_json`], [`to_json`]).

mod errors;
mod from_json;
mod openapi;
mod page;
mod request;
mod response;
mod scalars;
mod schema;
mod to_json;
mod values;
mod well_known;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{ALLOW, CONTENT_TYPE},
};
use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};
use tonic::Code;

pub use self::page::{OPENAPI_PATH, PAGE_PATH, WELCOME_PATH, openapi, page, welcome};
use self::{
    errors::error_json,
    request::{Refused, translated},
    response::respond,
};
pub(super) use self::{
    from_json::{JsonError, message_from_json},
    to_json::JsonText,
};
use super::{permissions::permission, status::status};

/// The content types of requests, as a refused caller reads them.
const ACCEPTED_TYPES: HeaderValue = HeaderValue::from_static(
    "application/json, application/proto, application/connect+json, application/connect+proto, application/grpc, \
     application/grpc-web",
);
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// How messages are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Proto,
    Json,
}

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// One request and one response, each a whole body.
    Unary,
    /// One request, which is the whole body, and lines of JSON as the response.
    Lines,
    /// Each message with the header of gRPC, in both directions.
    Envelopes,
}

/// A call over plain HTTP, in the extensions of its request. Its messages are as in `codec` and `framing`, and
/// everything else is as in gRPC.
#[derive(Debug, Clone)]
pub(super) struct PlainCall {
    pub(super) method: MethodDescriptor,
    pub(super) codec: Codec,
    pub(super) framing: Framing,
}

/// The methods that are served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PlainHttp(Arc<Methods>);

#[derive(Debug)]
struct Methods {
    pool: DescriptorPool,
    by_path: HashMap<String, MethodDescriptor>,
}

/// The descriptors of the API are not valid.
#[derive(Debug, thiserror::Error)]
pub enum PlainHttpError {
    /// The bytes are not a set of descriptors.
    #[error(transparent)]
    Undecodable(#[from] prost::DecodeError),
    /// A file does not match the others.
    #[error(transparent)]
    Invalid(#[from] prost_reflect::DescriptorError),
}

impl PlainHttp {
    /// Serves the methods of these sets of descriptors that have a row in the table of permissions.
    ///
    /// # Errors
    /// If a set cannot be read.
    pub fn new(sets: &[&[u8]]) -> Result<Self, PlainHttpError> {
        let mut pool = DescriptorPool::new();
        for set in sets {
            for file in FileDescriptorSet::decode(*set)?.file {
                // Several sets have the files of Google's types.
                if pool.get_file_by_name(file.name()).is_none() {
                    pool.add_file_descriptor_proto(file)?;
                }
            }
        }
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let by_path = methods
            .map(|method| (path_of(&method), method))
            .filter(|(path, _)| permission(path).is_some())
            .collect();
        Ok(Self(Arc::new(Methods { pool, by_path })))
    }
}

/// The path of a method.
fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Whether a method only reads, so that GET may call it.
fn only_reads(method: &MethodDescriptor) -> bool {
    let descriptor = method.method_descriptor_proto();
    let level = descriptor.options.as_ref().map(|options| options.idempotency_level());
    level == Some(IdempotencyLevel::NoSideEffects)
}

/// A layer for [`axum::middleware::from_fn_with_state`], directly outside of gRPC-Web.
pub async fn plain_http(
    State(PlainHttp(methods)): State<PlainHttp>,
    mut request: Request,
    next: Next,
) -> Response {
    if is_page(&request) {
        // gRPC-Web refuses plain HTTP/1.1.
        let version = std::mem::replace(request.version_mut(), Version::HTTP_2);
        let mut response = next.run(request).await;
        *response.version_mut() = version;
        return page::with_error(&methods.pool, response);
    }
    if !is_plain(&request) {
        return next.run(request).await;
    }
    let Some(method) = methods.by_path.get(request.uri().path()) else {
        return if has_plain_type(request.headers()) {
            unknown_method(&methods.pool)
        } else {
            next.run(request).await
        };
    };
    let version = request.version();
    let (request, call) = match translated(method, request) {
        Ok(translated) => translated,
        Err(refused) => return refuse(&methods.pool, method, refused),
    };
    let mut response = respond(&methods.pool, &call, next.run(request).await).await;
    *response.version_mut() = version;
    response
}

/// Whether the request is for the description of the API.
fn is_page(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && matches!(request.uri().path(), OPENAPI_PATH | PAGE_PATH | WELCOME_PATH)
}

/// Whether the request is no call of gRPC, of gRPC-Web, or of a browser that asks about CORS.
fn is_plain(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
    request.method() != Method::OPTIONS
        && !content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// Whether the request is a call of plain HTTP, whose refusal is an error of the protocol.
pub(super) fn is_plain_call(request: &Request) -> bool {
    let has_query = || request.uri().query().is_some_and(|query| query.contains("encoding="));
    let is_call =
        has_plain_type(request.headers()) || *request.method() == Method::GET && has_query();
    is_call && is_plain(request) && permission(request.uri().path()).is_some() && !is_page(request)
}

fn has_plain_type(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    ["application/json", "application/proto", "application/connect+"]
        .iter()
        .any(|prefix| content_type.is_some_and(|value| value.starts_with(prefix.as_bytes())))
}

fn unknown_method(pool: &DescriptorPool) -> Response {
    let error = status(Code::Unimplemented, "UNIMPLEMENTED", "unknown method");
    json_response(StatusCode::NOT_FOUND, &error_json(pool, &error))
}

/// The response to a request that is no call.
fn refuse(pool: &DescriptorPool, method: &MethodDescriptor, refused: Refused) -> Response {
    match refused {
        Refused::Method => {
            let allowed = if only_reads(method) { "GET, POST" } else { "POST" };
            let text = format!("{} accepts {allowed}\n", method.full_name());
            let mut response = (StatusCode::METHOD_NOT_ALLOWED, text).into_response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            response
        }
        Refused::ContentType(message) => {
            let text = format!("{message}\n");
            let mut response = (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
            response.headers_mut().insert(ACCEPT_POST, ACCEPTED_TYPES);
            response
        }
        Refused::Invalid(message) => {
            let error = status(Code::InvalidArgument, "INVALID_REQUEST", message);
            json_response(StatusCode::BAD_REQUEST, &error_json(pool, &error))
        }
        Refused::Version => (
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            format!("{} has streams in both directions, which need HTTP/2\n", method.full_name()),
        )
            .into_response(),
    }
}

fn json_response(code: StatusCode, json: &serde_json::Value) -> Response {
    let mut response = (code, json.to_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

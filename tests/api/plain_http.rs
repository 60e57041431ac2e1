//! Calls over plain HTTP: the Connect protocol, and JSON as curl sends it.

mod calls;
mod description;
mod limits;
mod messages;
mod security;
mod streams;

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use tara_export_client::proto::StartExportRequest;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::harness::within;

pub(crate) const SERVICE: &str = "/tara.export.v1.ExportService";
const JSON: &str = "application/json";
const PROTO: &str = "application/proto";
const CONNECT_JSON: &str = "application/connect+json";
const CONNECT_PROTO: &str = "application/connect+proto";

/// A complete response.
#[derive(Debug)]
struct Reply {
    code: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn content_type(&self) -> &str {
        self.headers["content-type"].to_str().unwrap()
    }

    /// The error of a call that failed with this HTTP status.
    fn error(&self, code: u16) -> Status {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.content_type(), JSON);
        status_of(&self.json())
    }

    /// The messages of lines, and the last one.
    fn lines(&self) -> (Vec<Value>, Value) {
        assert_eq!(self.content_type(), "application/x-ndjson", "{self:?}");
        assert!(self.body.ends_with(b"\n"), "{self:?}");
        let mut lines: Vec<Value> =
            self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let end = lines.pop().expect("a last line");
        (lines, end)
    }

    /// The messages of envelopes with their flags, and the end of the stream.
    fn envelopes(&self) -> (Vec<(u8, Bytes)>, Value) {
        let (mut rest, mut envelopes) = (self.body.clone(), Vec::new());
        while !rest.is_empty() {
            let header = rest.split_to(5);
            let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
            envelopes.push((header[0], rest.split_to(length)));
        }
        let (flag, end) = envelopes.pop().expect("an end");
        assert_eq!(flag, 2, "{self:?}");
        (envelopes, serde_json::from_slice(&end).unwrap())
    }
}

/// The status that an error of the Connect protocol means.
fn status_of(error: &Value) -> Status {
    let code = match error["code"].as_str().expect("a code") {
        "invalid_argument" => Code::InvalidArgument,
        "not_found" => Code::NotFound,
        "already_exists" => Code::AlreadyExists,
        "permission_denied" => Code::PermissionDenied,
        "resource_exhausted" => Code::ResourceExhausted,
        "failed_precondition" => Code::FailedPrecondition,
        "unimplemented" => Code::Unimplemented,
        "deadline_exceeded" => Code::DeadlineExceeded,
        "unavailable" => Code::Unavailable,
        "unauthenticated" => Code::Unauthenticated,
        other => panic!("unexpected code {other}: {error}"),
    };
    let message = error["message"].as_str().unwrap_or_default();
    let details = error["details"].as_array().into_iter().flatten().map(|detail| {
        let name = detail["type"].as_str().unwrap();
        let value = STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap();
        assert!(detail["debug"].is_object(), "{detail}");
        prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value }
    });
    let details = details.collect();
    let encoded = pb::Status { code: code as i32, message: message.to_owned(), details };
    Status::with_details(code, message, encoded.encode_to_vec().into())
}

/// A request with POST.
fn post(
    address: SocketAddr,
    path: &str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    Request::post(format!("http://{address}{path}"))
        .header("content-type", content_type)
        .body(Full::new(body.into()))
        .unwrap()
}

fn request_of(address: SocketAddr, method: Method, path: &str) -> Request<Full<Bytes>> {
    let uri = format!("http://{address}{path}");
    Request::builder().method(method).uri(uri).body(Full::default()).unwrap()
}

/// Sends a request over HTTP/1.1 and returns the response with its unread body.
async fn open(request: Request<Full<Bytes>>) -> http::Response<Incoming> {
    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    within("the response", client.request(request)).await.unwrap()
}

async fn complete(response: http::Response<Incoming>) -> Reply {
    let (head, body) = response.into_parts();
    let body = within("the body", body.collect()).await.unwrap();
    assert!(body.trailers().is_none(), "plain HTTP has no trailers");
    Reply { code: head.status, headers: head.headers, body: body.to_bytes() }
}

/// Sends a request over HTTP/1.1.
async fn send(request: Request<Full<Bytes>>) -> Reply {
    complete(open(request).await).await
}

/// Sends a request over HTTP/2.
async fn send_h2(request: Request<Full<Bytes>>) -> Reply {
    let client = HttpClient::builder(TokioExecutor::new()).http2_only(true).build_http();
    complete(within("the response", client.request(request)).await.unwrap()).await
}

/// Calls a method of the export service with JSON.
async fn call(address: SocketAddr, method: &str, json: impl ToString) -> Reply {
    send(post(address, &format!("{SERVICE}/{method}"), JSON, json.to_string())).await
}

/// The JSON of a request, as another implementation writes it.
fn json_of(request: &StartExportRequest) -> String {
    let pool = DescriptorPool::decode(tara_export::proto::FILE_DESCRIPTOR_SET).unwrap();
    let message_type = pool.get_message_by_name("tara.export.v1.StartExportRequest").unwrap();
    let message = DynamicMessage::decode(message_type, &*request.encode_to_vec()).unwrap();
    serde_json::to_string(&message).unwrap()
}

//! Calls with raw bytes, which no generated client sends, over gRPC and gRPC-Web.

use std::{io::Write as _, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tonic::{Code, Status, body::Body};
use tower::ServiceExt as _;

use super::{endpoint, within};

/// The protocol of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    GrpcWeb,
    /// With the body in base64.
    GrpcWebText,
}

pub(crate) const PROTOCOLS: [Protocol; 3] =
    [Protocol::Grpc, Protocol::GrpcWeb, Protocol::GrpcWebText];

pub(crate) const PREVIEW: &str = "tara.export.v1.ExportService/PreviewExport";
pub(crate) const START: &str = "tara.export.v1.ExportService/StartExport";
pub(crate) const GET: &str = "tara.export.v1.ExportService/GetExport";

/// A message with its gRPC frame header.
pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], length.as_slice(), message].concat()
}

pub(crate) fn compress(encoding: &str, message: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(message).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(message).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::stream::encode_all(message, 1).unwrap(),
        _ => message.to_vec(),
    }
}

/// Sends a call with this body. Returns its status and the response headers.
pub(crate) async fn call(
    address: SocketAddr,
    protocol: Protocol,
    method: &str,
    encoding: Option<&str>,
    body: impl Into<Bytes>,
) -> (Status, HeaderMap) {
    let content_type = match protocol {
        Protocol::Grpc => "application/grpc",
        Protocol::GrpcWeb => "application/grpc-web+proto",
        Protocol::GrpcWebText => "application/grpc-web-text+proto",
    };
    let mut request =
        Request::post(format!("http://{address}/{method}")).header(CONTENT_TYPE, content_type);
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let body: Bytes = body.into();
    if protocol == Protocol::Grpc {
        let channel = endpoint(address).connect().await.unwrap();
        let request = request.body(Body::new(Full::new(body))).unwrap();
        let response = within("a response", channel.oneshot(request)).await.unwrap();
        let (head, body) = response.into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return (status, head.headers);
        }
        let collected = within("the end of the response", body.collect()).await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let status = Status::from_header_map(&trailers);
        return (status.unwrap_or_else(|| Status::unknown("no status")), head.headers);
    }
    let body = match protocol {
        Protocol::GrpcWebText => {
            use base64::Engine as _;
            Bytes::from(base64::engine::general_purpose::STANDARD.encode(&body))
        }
        _ => body,
    };
    let browser = HttpClient::builder(TokioExecutor::new()).build_http();
    let request = request.body(Full::new(body)).unwrap();
    let response = within("a response", browser.request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return (status, head.headers);
    }
    let body = within("the end of the response", body.collect()).await.unwrap().to_bytes();
    if protocol == Protocol::GrpcWebText {
        // The trailers are in base64 too. It is enough to know whether there is a response.
        let code = if body.is_empty() { Code::Unknown } else { Code::Ok };
        return (Status::new(code, ""), head.headers);
    }
    (web_status(&body), head.headers)
}

/// The status in the trailers of a gRPC-Web response.
fn web_status(mut body: &[u8]) -> Status {
    while let [flag, a, b, c, d, rest @ ..] = body {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, rest) = rest.split_at(length);
        if flag & 0x80 != 0 {
            let lines = std::str::from_utf8(frame).unwrap().lines();
            let trailers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| {
                let name: http::HeaderName = name.trim().parse().unwrap();
                (name, value.trim().parse().unwrap())
            });
            let trailers: HeaderMap = trailers.collect();
            return Status::from_header_map(&trailers).expect("a status in the trailers");
        }
        body = rest;
    }
    Status::unknown("no trailers")
}

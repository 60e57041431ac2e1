//! Calls with raw bytes, which no generated client sends, over gRPC and gRPC-Web.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tonic::{Status, body::Body};
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
pub(crate) const BATCH: &str = "tara.export.v1.ExportService/BatchStartExports";
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

pub(crate) fn decompress(encoding: &str, compressed: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let read = match encoding {
        "gzip" => flate2::read::GzDecoder::new(compressed).read_to_end(&mut message),
        "deflate" => flate2::read::ZlibDecoder::new(compressed).read_to_end(&mut message),
        "zstd" => zstd::stream::read::Decoder::new(compressed)
            .and_then(|mut decoder| decoder.read_to_end(&mut message)),
        _ => panic!("unknown encoding {encoding}"),
    };
    read.unwrap();
    message
}

/// A response as it was sent.
pub(crate) struct RawResponse {
    pub(crate) headers: HeaderMap,
    /// The frames of its messages.
    pub(crate) body: Vec<u8>,
    /// After the messages; in gRPC-Web the last frame of the body.
    pub(crate) trailers: Option<HeaderMap>,
}

impl RawResponse {
    pub(crate) fn status(&self) -> Status {
        let status = Status::from_header_map(&self.headers)
            .or_else(|| Status::from_header_map(self.trailers.as_ref()?));
        status.unwrap_or_else(|| Status::unknown("no status"))
    }

    /// Each message's flag and bytes.
    pub(crate) fn messages(&self) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Frames(&self.body);
        let messages = frames.by_ref().map(|(flag, message)| (flag, message.to_vec())).collect();
        assert!(frames.0.is_empty(), "the body ends within a message");
        messages
    }
}

/// The frames at the start of these bytes.
struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [flag, a, b, c, d, rest @ ..] = self.0 else { return None };
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (message, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*flag, message))
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
    let headers = encoding.map(|encoding| ("grpc-encoding", encoding));
    let response = send(address, protocol, method, headers, body).await;
    (response.status(), response.headers)
}

/// Sends a call with these headers and this body.
pub(crate) async fn send<'a>(
    address: SocketAddr,
    protocol: Protocol,
    method: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: impl Into<Bytes>,
) -> RawResponse {
    let content_type = match protocol {
        Protocol::Grpc => "application/grpc",
        Protocol::GrpcWeb => "application/grpc-web+proto",
        Protocol::GrpcWebText => "application/grpc-web-text+proto",
    };
    let mut request = Request::post(format!("http://{address}/{method}"))
        .header(CONTENT_TYPE, content_type)
        .header(ACCEPT, content_type);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let body: Bytes = body.into();
    if protocol == Protocol::Grpc {
        let channel = endpoint(address).connect().await.unwrap();
        let request = request.body(Body::new(Full::new(body))).unwrap();
        let response = within("a response", channel.oneshot(request)).await.unwrap();
        let (head, body) = response.into_parts();
        let collected = within("the end of the response", body.collect()).await.unwrap();
        let trailers = collected.trailers().cloned();
        let body = collected.to_bytes().to_vec();
        return RawResponse { headers: head.headers, body, trailers };
    }
    let body = match protocol {
        Protocol::GrpcWebText => Bytes::from(STANDARD.encode(&body)),
        _ => body,
    };
    let browser = HttpClient::builder(TokioExecutor::new()).build_http();
    let request = request.body(Full::new(body)).unwrap();
    let response = within("a response", browser.request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let body = within("the end of the response", body.collect()).await.unwrap().to_bytes();
    let mut body = match protocol {
        // Each frame is encoded separately.
        Protocol::GrpcWebText => {
            body.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect()
        }
        _ => body.to_vec(),
    };
    let sizes = Frames(&body).take_while(|(flag, _)| flag & 0x80 == 0);
    let messages_bytes = sizes.map(|(_, message)| message.len() + 5).sum();
    let trailers = body.split_off(messages_bytes);
    let trailers = (!trailers.is_empty()).then(|| web_trailers(&trailers[5..]));
    RawResponse { headers: head.headers, body, trailers }
}

fn web_trailers(lines: &[u8]) -> HeaderMap {
    let lines = std::str::from_utf8(lines).unwrap().lines();
    let trailers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| {
        let name: http::HeaderName = name.trim().parse().unwrap();
        (name, value.trim().parse().unwrap())
    });
    trailers.collect()
}

//! Turns the response of gRPC into one of plain HTTP: the status, and the end of a stream. The messages are converted
//! already.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRAILER,
        VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use prost_reflect::DescriptorPool;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    Codec, Framing, PlainCall,
    errors::{code_of, end_json, error_json},
};
use crate::grpc::status::internal_error;

const CONNECT_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
const CONNECT_ACCEPT: HeaderName = HeaderName::from_static("connect-accept-encoding");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// The header of an envelope: flags and a length.
const HEADER_BYTES: usize = 5;
/// The flag of an envelope with the end of the stream.
const END_FLAG: u8 = 2;

/// The response to this call.
pub(super) async fn respond(
    pool: &DescriptorPool,
    call: &PlainCall,
    response: Response,
) -> Response {
    let (mut head, body) = response.into_parts();
    let status = Status::from_header_map(&head.headers);
    rename_encodings(&mut head.headers, call.framing);
    for name in [CONTENT_TYPE, CONTENT_LENGTH, TRAILER] {
        head.headers.remove(name);
    }
    let own = |name: &HeaderName| name.as_str().starts_with("grpc-");
    let names: Vec<HeaderName> = head.headers.keys().filter(|name| own(name)).cloned().collect();
    for name in names {
        head.headers.remove(name);
    }
    head.headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
        return failed(pool, call.framing, call.codec, head, &status);
    }
    let content_type = match (call.framing, call.codec) {
        (Framing::Unary, Codec::Json) => "application/json",
        (Framing::Unary, Codec::Proto) => "application/proto",
        (Framing::Lines, _) => "application/x-ndjson",
        (Framing::Envelopes, Codec::Json) => "application/connect+json",
        (Framing::Envelopes, Codec::Proto) => "application/connect+proto",
    };
    let set_type = |head: &mut http::response::Parts| {
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    };
    if call.framing != Framing::Unary {
        set_type(&mut head);
        let end = End::new(pool.clone(), call.framing);
        return Response::from_parts(head, Body::new(EndedBody { body, end }));
    }
    // The status is known when the message starts, or the response ends.
    let mut body = body;
    let first = match body.frame().await {
        Some(Ok(frame)) => frame,
        Some(Err(_)) | None => {
            return failed(pool, call.framing, call.codec, head, &internal_error());
        }
    };
    if let Some(trailers) = first.trailers_ref() {
        let status = Status::from_header_map(trailers).unwrap_or_else(internal_error);
        if status.code() != Code::Ok {
            return failed(pool, call.framing, call.codec, head, &status);
        }
        // An empty message.
        head.headers.remove(CONTENT_ENCODING);
        set_type(&mut head);
        return Response::from_parts(head, Body::empty());
    }
    set_type(&mut head);
    head.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    let rest = EndedBody { body, end: End::new(pool.clone(), Framing::Unary) };
    let frames =
        stream::once(async move { Ok(first) }).chain(http_body_util::BodyStream::new(rest));
    Response::from_parts(head, Body::new(StreamBody::new(frames)))
}

/// Names the encodings of messages as the Connect protocol does.
fn rename_encodings(headers: &mut HeaderMap, framing: Framing) {
    let (encoding, accept) = match framing {
        Framing::Envelopes => (CONNECT_ENCODING, CONNECT_ACCEPT),
        Framing::Unary | Framing::Lines => (CONTENT_ENCODING, ACCEPT_ENCODING),
    };
    if let Some(value) = headers.remove(GRPC_ENCODING) {
        headers.insert(encoding, value);
    }
    if let Some(value) = headers.remove(GRPC_ACCEPT) {
        headers.insert(accept, value);
    }
}

/// The response to a call that failed before its first message.
fn failed(
    pool: &DescriptorPool,
    framing: Framing,
    codec: Codec,
    mut head: http::response::Parts,
    status: &Status,
) -> Response {
    let error = error_json(pool, status);
    head.headers.remove(CONTENT_ENCODING);
    head.headers.remove(CONNECT_ENCODING);
    let (content_type, body) = match framing {
        Framing::Unary => ("application/json", error.to_string().into_bytes()),
        Framing::Lines => ("application/x-ndjson", format!("{}\n", json!({"error": error})).into()),
        Framing::Envelopes => {
            let content_type = match codec {
                Codec::Json => "application/connect+json",
                Codec::Proto => "application/connect+proto",
            };
            (content_type, envelope(&json!({"error": error})))
        }
    };
    // Streams with envelopes have the status in the last one.
    head.status =
        if framing == Framing::Envelopes { StatusCode::OK } else { code_of(status.code()).1 };
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if framing != Framing::Envelopes {
        add_http_headers(&mut head.headers, status);
    }
    (head, body).into_response()
}

/// Adds the headers that HTTP clients expect with an error.
pub(super) fn add_http_headers(headers: &mut HeaderMap, status: &Status) {
    if status.code() == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    if let Some(delay) = delay {
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
    }
}

/// The last envelope of a stream.
fn envelope(end: &serde_json::Value) -> Vec<u8> {
    let text = end.to_string();
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[END_FLAG], length.as_slice(), text.as_bytes()].concat()
}

/// How a response ends.
struct End {
    pool: DescriptorPool,
    framing: Framing,
    position: Position,
    has_ended: bool,
}

/// Where in a message the response is.
enum Position {
    /// Whether the last byte ended a line.
    Line { is_start: bool },
    /// In an envelope: the bytes of its header so far, and the bytes of its message that follow.
    Envelope { header: Vec<u8>, rest: usize },
}

/// The response ended within a message, or a message failed after it was started. The connection shows it, because
/// nothing else can.
#[derive(Debug, thiserror::Error)]
#[error("the response failed after its message had started")]
struct Broken;

impl End {
    fn new(pool: DescriptorPool, framing: Framing) -> Self {
        let position = match framing {
            Framing::Envelopes => Position::Envelope { header: Vec::new(), rest: 0 },
            Framing::Unary | Framing::Lines => Position::Line { is_start: true },
        };
        Self { pool, framing, position, has_ended: false }
    }

    fn passed(&mut self, mut bytes: &[u8]) {
        match &mut self.position {
            Position::Line { is_start } => {
                if let Some(last) = bytes.last() {
                    *is_start = *last == b'\n';
                }
            }
            Position::Envelope { header, rest } => {
                while !bytes.is_empty() {
                    if *rest > 0 {
                        let taken = bytes.len().min(*rest);
                        *rest -= taken;
                        bytes = &bytes[taken..];
                        continue;
                    }
                    let taken = bytes.len().min(HEADER_BYTES - header.len());
                    header.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    if let [_, length @ ..] = header.as_slice()
                        && let Ok(length) = <[u8; 4]>::try_from(length)
                    {
                        *rest = u32::from_be_bytes(length) as usize;
                        header.clear();
                    }
                }
            }
        }
    }

    /// The last bytes of the response.
    fn bytes(&self, trailers: &HeaderMap) -> Result<Bytes, Broken> {
        let end = || end_json(&self.pool, trailers);
        match (&self.position, self.framing) {
            (_, Framing::Unary) => {
                let code = Status::from_header_map(trailers).map(|status| status.code());
                if code == Some(Code::Ok) { Ok(Bytes::new()) } else { Err(Broken) }
            }
            (Position::Envelope { header, rest: 0 }, _) if header.is_empty() => {
                Ok(envelope(&end()).into())
            }
            (Position::Envelope { .. }, _) => Err(Broken),
            // The line of a message that was not sent completely ends here, so that the error has its own.
            (Position::Line { is_start }, _) => {
                let start = if *is_start { "" } else { "\n" };
                Ok(format!("{start}{}\n", end()).into())
            }
        }
    }
}

/// A body whose trailers become its last bytes.
struct EndedBody {
    body: Body,
    end: End,
}

impl HttpBody for EndedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.end.has_ended {
            return Poll::Ready(None);
        }
        let trailers = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    this.end.passed(&data);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(frame) => frame.into_trailers().unwrap_or_default(),
            },
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => HeaderMap::new(),
        };
        this.end.has_ended = true;
        Poll::Ready(match this.end.bytes(&trailers) {
            Ok(last) if last.is_empty() => None,
            Ok(last) => Some(Ok(Frame::data(last))),
            Err(broken) => Some(Err(axum::Error::new(broken))),
        })
    }
}

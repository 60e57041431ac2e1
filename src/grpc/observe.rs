//! Observes every call of the API from its headers to its end: spans, counts and calls in flight.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tara_export_telemetry::{
    names::{self, GaugeGuard},
    spans,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::{Instrument as _, Span};

use super::permissions::{ApiMethod, api_method};

/// A layer for [`axum::middleware::from_fn`], outside of all layers that can refuse a call, and inside of gRPC-Web.
/// Ignores health checks and reflection.
pub async fn observe(request: Request, next: Next) -> Response {
    let Some(ApiMethod { service, method }) = api_method(request.uri().path()) else {
        return next.run(request).await;
    };
    let mut call = Call {
        method,
        span: spans::call(service, method, request.headers()),
        code: Code::Cancelled,
        _in_flight: names::CALLS_IN_FLIGHT.enter([method]),
    };
    let response = next.run(request).instrument(call.span.clone()).await;
    match Status::from_header_map(response.headers()) {
        Some(status) => {
            call.code = status.code();
            if call.code != Code::Ok {
                let reason = status.get_details_error_info().map(|info| info.reason);
                let reason = reason.unwrap_or_else(|| code_name(call.code).to_owned());
                names::REJECTED.add(1, [method.to_owned(), reason]);
            }
            response
        }
        None => response.map(|body| Body::new(ObservedBody { body, call })),
    }
}

/// One call, until it is dropped.
struct Call {
    method: &'static str,
    span: Span,
    /// The code with which it ended. The initial value applies if the caller disconnects.
    code: Code,
    _in_flight: GaugeGuard,
}

impl Drop for Call {
    fn drop(&mut self) {
        spans::call_ended(&self.span, self.code as i32, is_server_error(self.code));
        names::CALLS.add(1, [self.method, code_name(self.code)]);
    }
}

struct ObservedBody {
    body: Body,
    call: Call,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        // Reads of a download belong to the span of its call.
        let polled = this.call.span.in_scope(|| Pin::new(&mut this.body).poll_frame(context));
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame.trailers_ref().and_then(code_of) {
                    this.call.code = code;
                }
            }
            Poll::Ready(Some(Err(_))) => this.call.code = Code::Unknown,
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn code_of(trailers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(trailers.get(Status::GRPC_STATUS)?.as_bytes()))
}

/// The code's name (gRPC, "Status codes and their use in gRPC").
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Whether servers mark the code as an error (OpenTelemetry, "Semantic conventions for gRPC").
fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

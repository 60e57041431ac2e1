//! The spans of a trace: a call, the export that it started, and each request to S3 below them.
//!
//! Rooms open them here, and know nothing of OpenTelemetry. Where nothing is traced and no log tells trace
//! ids, they cost a comparison.

use http::HeaderMap;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of spans that lines of the log belong to: calls and exports.
pub(super) const WORK: &str = "tara_export::span";
/// The target of spans that only traces have: requests to S3.
pub(super) const REQUEST: &str = "tara_export::span::request";

/// A call of the export service. Its trace is the caller's, where the headers have one (W3C Trace Context).
pub fn call(service: &'static str, method: &'static str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: WORK, "call", method, trace_id = Empty,
        otel.name = Empty, otel.kind = "server", otel.status_code = Empty,
        rpc.system = "grpc", rpc.service = service, rpc.method = method, rpc.grpc.status_code = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    span.record("otel.name", format!("{service}/{method}"));
    let caller = TraceContextPropagator::new().extract(&Headers(headers));
    let callers_id = caller.span().span_context().trace_id();
    if caller.span().span_context().is_valid() {
        // Refused where spans are not traced, which is no fault.
        let _ = span.set_parent(caller);
    }
    let own = span.context();
    let own = own.span().span_context().clone();
    let trace_id = if own.is_valid() { own.trace_id() } else { callers_id };
    if trace_id != opentelemetry::TraceId::INVALID {
        span.record("trace_id", trace_id.to_string());
    }
    span
}

/// The gRPC code with which a call ended.
pub fn call_ended(span: &Span, code: tonic::Code) {
    span.record("rpc.grpc.status_code", code as i32);
    if is_fault_of_server(code) {
        span.record("otel.status_code", "ERROR");
    }
}

/// What servers are to mark as errors (OpenTelemetry, "Semantic conventions for gRPC").
fn is_fault_of_server(code: tonic::Code) -> bool {
    use tonic::Code;
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

/// Work on an export: below the call that it was started by, or a trace of its own.
pub fn export(export_id: impl std::fmt::Display) -> Span {
    tracing::info_span!(target: WORK, "export", otel.kind = "internal", export_id = %export_id)
}

/// One request to S3, below what is worked on now. None where that is not traced.
pub fn s3_request(operation: &str) -> Span {
    let parent = Span::current();
    if parent.is_disabled() || !parent.context().span().span_context().is_sampled() {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: REQUEST, "s3", otel.name = Empty, otel.kind = "client", otel.status_code = Empty,
        rpc.system = "aws-api", rpc.service = "S3", rpc.method = operation,
        http.response.status_code = Empty, result = Empty,
    );
    span.record("otel.name", format!("S3.{operation}"));
    span
}

/// How a request to S3 ended.
pub fn s3_request_ended(span: &Span, result: &'static str, http_status: Option<u16>) {
    if span.is_disabled() {
        return;
    }
    span.record("result", result);
    if let Some(status) = http_status {
        span.record("http.response.status_code", status);
    }
    if !matches!(result, "ok" | "not_found" | "exists") {
        span.record("otel.status_code", "ERROR");
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

//! The spans of a trace: a call, the export that it started, and their requests to S3.
//!
//! Other modules create spans here and do not depend on OpenTelemetry. Without tracing, and without trace ids
//! in logs, a span costs one comparison.

use http::HeaderMap;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of spans that appear in logs: calls and exports.
pub const WORK: &str = "tara_export::span";
/// The target of spans that appear only in traces: requests to S3.
pub const REQUEST: &str = "tara_export::span::request";

/// The span of a call of the export service. Continues the caller's trace if the headers have one (W3C Trace Context).
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
    let caller_trace_id = caller.span().span_context().trace_id();
    if caller.span().span_context().is_valid() {
        // Fails if spans are not traced, which is not an error.
        let _ = span.set_parent(caller);
    }
    let own = span.context();
    let own = own.span().span_context().clone();
    let trace_id = if own.is_valid() { own.trace_id() } else { caller_trace_id };
    if trace_id != opentelemetry::TraceId::INVALID {
        span.record("trace_id", trace_id.to_string());
    }
    span
}

/// Records the gRPC code of a call, and whether it is an error of the server.
pub fn call_ended(span: &Span, code: i32, is_server_error: bool) {
    span.record("rpc.grpc.status_code", code);
    if is_server_error {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of the work on an export: a child of the call that started it, or the root of a new trace.
pub fn export(export_id: impl std::fmt::Display) -> Span {
    tracing::info_span!(target: WORK, "export", otel.kind = "internal", export_id = %export_id)
}

/// The span of a request to S3, a child of the current span. [`Span::none`] if that is not traced.
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

/// Records the result of a request to S3.
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

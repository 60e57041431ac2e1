//! CORS: which web pages may call the API, with which request headers.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// Request headers of clients of gRPC-Web and of the Connect protocol.
const CLIENT_HEADERS: [&str; 13] = [
    "authorization",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-encoding",
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "user-agent",
    "x-grpc-web",
    "x-user-agent",
];
/// Request headers that tracing libraries add to every request of a page.
const TRACING_HEADERS: [&str; 29] = [
    // W3C, OpenTelemetry.
    "baggage",
    "traceparent",
    "tracestate",
    // Sentry.
    "sentry-trace",
    // Zipkin.
    "b3",
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    // Jaeger, AWS X-Ray, Google Cloud, Elastic, New Relic, Dynatrace, SkyWalking.
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "elastic-apm-traceparent",
    "newrelic",
    "x-dtc",
    "x-dtpc",
    "x-dtreferer",
    "sw8",
    // Datadog.
    "x-datadog-origin",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-tags",
    "x-datadog-trace-id",
    // Application Insights.
    "request-context",
    "request-id",
    // No product.
    "x-correlation-id",
    "x-request-id",
    "x-trace-id",
];
/// gRPC-Web reads the status from these if a response has only headers, and both protocols the encoding of messages.
/// `retry-after` is for pages that use neither.
const EXPOSED_HEADERS: [&str; 9] = [
    "connect-accept-encoding",
    "connect-content-encoding",
    "content-encoding",
    "retry-after",
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "grpc-encoding",
    "grpc-accept-encoding",
];
/// How long a browser may remember the answer to a preflight request. Chromium's maximum is two hours.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Allows web pages of these origins (`*`: all) to call the API with the headers of gRPC-Web, of the Connect
/// protocol and of tracing libraries, and with these further ones (`*`: all).
pub(super) fn cors(origins: &[String], headers: &[String]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let headers = if headers.iter().any(|header| header == "*") {
        // A literal `*` would not include `authorization` (Fetch standard).
        AllowHeaders::mirror_request()
    } else {
        let known = CLIENT_HEADERS.into_iter().chain(TRACING_HEADERS);
        let named = headers.iter().map(String::as_str);
        AllowHeaders::list(known.chain(named).filter_map(|name| name.parse::<HeaderName>().ok()))
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(headers)
        .expose_headers(EXPOSED_HEADERS.map(HeaderName::from_static))
        .max_age(MAX_AGE)
}

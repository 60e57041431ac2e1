//! Response headers for proxies between server and caller.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue, header::CACHE_CONTROL};

/// nginx, and products that follow it, collect a response in a buffer of several kilobytes, unless it has this header.
/// Progress and heartbeats would wait there for the end of the export.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const NO_BUFFERING: HeaderValue = HeaderValue::from_static("no");
/// `no-transform` stops intermediaries that would compress the response, for which they collect it too.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-store, no-transform");

/// A layer for [`axum::middleware::from_fn`], around every response that is a stream or may be one: proxies pass on
/// each message when it arrives, and store none.
pub(super) async fn disable_buffering(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(BUFFERING, NO_BUFFERING);
    headers.insert(CACHE_CONTROL, NO_CACHE);
    response
}

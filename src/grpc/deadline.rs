//! The caller's deadline.

use std::time::Duration;

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use http::HeaderMap;
use tokio::time::timeout;
use tonic::Code;

use super::status::status;

/// A layer for [`axum::middleware::from_fn`]: cancels a call whose response does not start within `grpc-timeout`, which is
/// also the timeout of plain HTTP.
pub async fn enforce_deadline(request: Request, next: Next) -> Response {
    match grpc_timeout(request.headers()) {
        Some(limit) => timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
            let message = "the call did not start its response before the caller's deadline";
            let status = status(Code::DeadlineExceeded, "DEADLINE_PASSED", message);
            status.into_http::<tonic::body::Body>().map(Body::new)
        }),
        None => next.run(request).await,
    }
}

/// Parses `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP2, "Timeout"). `None` for other values.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn timeout_is_a_number_and_a_unit() {
        let timeout = |text: &'static str| {
            let name = http::HeaderName::from_static("grpc-timeout");
            grpc_timeout(&HeaderMap::from_iter([(name, HeaderValue::from_static(text))]))
        };
        for (text, millis) in [("2H", 7_200_000), ("3M", 180_000), ("4S", 4_000), ("5m", 5)] {
            assert_eq!(timeout(text), Some(Duration::from_millis(millis)));
        }
        assert_eq!(timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for text in ["", "S", "1", "+1S", "1s", "123456789S", "1.5S"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }
}

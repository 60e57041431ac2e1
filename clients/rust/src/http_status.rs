//! Responses without a gRPC status: those of proxies, and of programs that are not a tara-export server.

use std::collections::HashMap;

use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The reasons of these statuses (clients/README.md).
const REASON: &str = "HTTP_ERROR";
const INVALID: &str = "INVALID_RESPONSE";
const DOMAIN: &str = "tara-export-client";
/// In the metadata of the reason.
const HTTP_STATUS: &str = "http_status";
/// Where operators find the limits and timeouts of proxies.
const DOCUMENT: &str = "docs/deployment.md, section Behind a proxy";

/// Replaces a response that is not one of gRPC by a status that says what answered, and what to do.
pub(super) fn explained(response: Response<Body>) -> Response<Body> {
    let http_status = response.status();
    if response.headers().contains_key(Status::GRPC_STATUS) {
        return response;
    }
    if http_status == StatusCode::OK {
        let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        return match content_type {
            Some(content_type) if content_type.starts_with(b"application/grpc") => response,
            _ => invalid_response(),
        };
    }
    let metadata = [(HTTP_STATUS.to_owned(), http_status.as_str().to_owned())];
    let details = ErrorDetails::with_error_info(REASON, DOMAIN, metadata);
    let (code, message) = (code(http_status), message(http_status));
    Status::with_error_details(code, message, details).into_http()
}

/// A response of another program, such as a page to log in.
fn invalid_response() -> Response<Body> {
    let message = "the response is not one of gRPC: check the server's address, and that no other program is listening \
                   there";
    let details = ErrorDetails::with_error_info(INVALID, DOMAIN, HashMap::new());
    Status::with_error_details(Code::Internal, message, details).into_http()
}

/// The HTTP status of a response that [`explained`] replaced.
pub(super) fn http_status(details: &ErrorDetails) -> Option<StatusCode> {
    let info = details.error_info().filter(|info| info.reason == REASON)?;
    StatusCode::from_bytes(info.metadata.get(HTTP_STATUS)?.as_bytes()).ok()
}

/// Like gRPC's mapping ("HTTP to gRPC Status Code Mapping"). A request that is too large stays too large.
fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        413 | 431 => Code::ResourceExhausted,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

fn message(status: StatusCode) -> String {
    match status.as_u16() {
        400 => {
            "the server or a proxy answered with HTTP 400: check the server's address and protocol; if it requires \
             TLS, use https:// instead of http://"
                .to_owned()
        }
        401 | 403 | 407 => format!(
            "a proxy refuses the call (HTTP {}): give it the credentials that it needs",
            status.as_str()
        ),
        413 => format!(
            "a proxy refused the size of the request (HTTP 413): raise the proxy's limit (client_max_body_size in \
             nginx), or upload large documents before the request; see {DOCUMENT}"
        ),
        431 => "a proxy refused the size of the request's headers (HTTP 431): use a shorter token, or raise the \
                proxy's limit (large_client_header_buffers in nginx)"
            .to_owned(),
        429 => {
            "a proxy limits the rate of calls (HTTP 429): send fewer calls, or raise the proxy's limit".to_owned()
        }
        502 => format!(
            "a proxy cannot reach the server, or got an invalid response (HTTP 502): check that the server is running, \
             and the proxy's address and protocol for it (proxy_pass or grpc_pass in nginx); see {DOCUMENT}"
        ),
        503 => format!(
            "a proxy or load balancer has no available server (HTTP 503): check that the server is running; see {DOCUMENT}"
        ),
        504 => format!(
            "a proxy got no response from the server in time (HTTP 504): raise the proxy's timeout \
             (proxy_read_timeout or grpc_read_timeout in nginx) above the server's HEARTBEAT_INTERVAL, and check that \
             the server is running; see {DOCUMENT}"
        ),
        number => format!(
            "a proxy or another program answered with HTTP {number} instead of a gRPC response: check the server's \
             address, and the proxies on the way to it"
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Rejection;

    fn response(http_status: u16) -> Response<Body> {
        Response::builder().status(http_status).body(Body::empty()).unwrap()
    }

    fn rejection(http_status: u16) -> Rejection {
        let explained = explained(response(http_status));
        Rejection::from(Status::from_header_map(explained.headers()).unwrap())
    }

    #[test]
    fn responses_of_proxies_name_the_setting() {
        for (http_status, code, is_retried, part) in [
            (400, Code::Internal, false, "https://"),
            (401, Code::Unauthenticated, false, "HTTP 401"),
            (404, Code::Unimplemented, false, "server's address"),
            (413, Code::ResourceExhausted, false, "client_max_body_size"),
            (429, Code::Unavailable, true, "limits the rate"),
            (431, Code::ResourceExhausted, false, "shorter token"),
            (500, Code::Unknown, false, "HTTP 500"),
            (502, Code::Unavailable, true, "grpc_pass"),
            (503, Code::Unavailable, true, "no available server"),
            (504, Code::Unavailable, true, "grpc_read_timeout"),
        ] {
            let rejection = rejection(http_status);
            assert_eq!(rejection.code, code, "{http_status}");
            assert_eq!(rejection.is_unavailable(), is_retried, "{http_status}");
            assert_eq!(rejection.reason.as_deref(), Some("HTTP_ERROR"));
            assert!(rejection.message.contains(part), "{}", rejection.message);
            assert_eq!(rejection.is_too_large_for_proxy(), http_status == 413);
        }
    }

    #[test]
    fn response_of_another_program_is_invalid() {
        for content_type in [None, Some("text/html"), Some("application/json")] {
            let mut page = response(200);
            if let Some(content_type) = content_type {
                page.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
            }
            let status = Status::from_header_map(explained(page).headers()).unwrap();
            let rejection = Rejection::from(status);
            assert_eq!(rejection.reason.as_deref(), Some("INVALID_RESPONSE"));
            assert!(!rejection.is_unavailable() && rejection.message.contains("server's address"));
        }
    }

    #[test]
    fn responses_of_the_server_are_unchanged() {
        let mut grpc = response(200);
        grpc.headers_mut().insert(CONTENT_TYPE, "application/grpc-web+proto".parse().unwrap());
        assert!(!explained(grpc).headers().contains_key(Status::GRPC_STATUS));
        let mut of_server = response(503);
        of_server.headers_mut().insert(Status::GRPC_STATUS, "5".parse().unwrap());
        let status = Status::from_header_map(explained(of_server).headers()).unwrap();
        assert_eq!(status.code(), Code::NotFound);
    }
}

//! Responses without a gRPC status: those of proxies, and of programs that are not a tara-export server.

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::advice::{TLS_FAILED, TLS_REQUIRED};

/// The reason of these statuses (clients/README.md).
const REASON: &str = "HTTP_ERROR";
/// The reason of a response with HTTP status 200 that is not one of gRPC.
pub(super) const INVALID_RESPONSE: &str = "INVALID_RESPONSE";
/// The longest text of a response that is read.
const MAX_TEXT_BYTES: usize = 4 * 1024;
const DOMAIN: &str = "tara-export-client";
/// In the metadata of the reason.
const HTTP_STATUS: &str = "http_status";
/// Where operators find the limits and timeouts of proxies.
const DOCUMENT: &str = "docs/deployment.md, section Behind a proxy";

/// Replaces a response that is not one of gRPC by a status that says what answered, and what to do.
pub(super) async fn explained(response: Response<Body>) -> Response<Body> {
    let http_status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_grpc =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if response.headers().contains_key(Status::GRPC_STATUS) || (http_status.is_success() && is_grpc)
    {
        return response;
    }
    if http_status.is_success() {
        let message = "the response has another content type than gRPC: check the server's address, and the proxy in \
                       front of it";
        let details = ErrorDetails::with_error_info(INVALID_RESPONSE, DOMAIN, []);
        return Status::with_error_details(Code::Unknown, message, details).into_http();
    }
    if http_status == StatusCode::BAD_REQUEST && requires_tls(response.into_body()).await {
        let message = "the server requires TLS: use https:// instead of http://";
        let details = ErrorDetails::with_error_info(TLS_FAILED, DOMAIN, []);
        return Status::with_error_details(Code::FailedPrecondition, message, details).into_http();
    }
    let metadata = [(HTTP_STATUS.to_owned(), http_status.as_str().to_owned())];
    let details = ErrorDetails::with_error_info(REASON, DOMAIN, metadata);
    let (code, message) = (code(http_status), message(http_status));
    Status::with_error_details(code, message, details).into_http()
}

/// Whether this is the response of a tara-export server to HTTP/1.1 on its port with TLS.
async fn requires_tls(body: Body) -> bool {
    let body = Limited::new(body, MAX_TEXT_BYTES).collect().await;
    body.is_ok_and(|body| String::from_utf8_lossy(&body.to_bytes()).contains(TLS_REQUIRED))
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
            "the server or a proxy answered with HTTP 400: check the server's address; if it requires TLS, use https:// \
             instead of http://"
                .to_owned()
        }
        401 | 403 | 407 => format!(
            "a proxy refuses the call (HTTP {}): give it the credentials that it needs, and check the server's address",
            status.as_u16()
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
            "a proxy cannot reach the server, or got an invalid response (HTTP 502): check that the server is running, and \
             the proxy's address and protocol for it (proxy_pass or grpc_pass in nginx); see {DOCUMENT}"
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

    fn response(http_status: u16, content_type: Option<&str>) -> Response<Body> {
        let mut response = Response::builder().status(http_status).body(Body::empty()).unwrap();
        if let Some(content_type) = content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        response
    }

    async fn rejection(response: Response<Body>) -> Rejection {
        Status::from_header_map(explained(response).await.headers()).unwrap().into()
    }

    #[tokio::test]
    async fn responses_of_proxies_name_the_setting() {
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
            let rejection = rejection(response(http_status, Some("text/html"))).await;
            assert_eq!(rejection.code, code, "{http_status}");
            assert_eq!(rejection.is_unavailable(), is_retried, "{http_status}");
            assert_eq!(rejection.reason.as_deref(), Some("HTTP_ERROR"));
            assert!(rejection.message.contains(part), "{}", rejection.message);
            assert_eq!(rejection.is_too_large_for_proxy(), http_status == 413);
        }
    }

    #[tokio::test]
    async fn response_of_another_program_is_invalid() {
        for content_type in [None, Some("text/html"), Some("application/json")] {
            let rejection = rejection(response(200, content_type)).await;
            assert_eq!(rejection.reason.as_deref(), Some("INVALID_RESPONSE"));
            assert!(!rejection.is_unavailable() && rejection.message.contains("server's address"));
        }
    }

    #[tokio::test]
    async fn responses_of_the_server_are_unchanged() {
        let grpc = explained(response(200, Some("application/grpc-web+proto"))).await;
        assert!(!grpc.headers().contains_key(Status::GRPC_STATUS));
        let mut of_server = response(503, None);
        of_server.headers_mut().insert(Status::GRPC_STATUS, "5".parse().unwrap());
        assert_eq!(rejection(of_server).await.code, Code::NotFound);
    }
}

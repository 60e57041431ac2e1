//! Responses without a gRPC status: those of proxies, and of programs that are not a tara-export server.

use http::{Response, StatusCode};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The reason of these statuses (clients/README.md).
const REASON: &str = "HTTP_ERROR";
const DOMAIN: &str = "tara-export-client";
/// In the metadata of the reason.
const HTTP_STATUS: &str = "http_status";
/// Where operators find the limits and timeouts of proxies.
const DOCUMENT: &str = "docs/deployment.md, section Behind a proxy";

/// Replaces a response that is not one of gRPC by a status that says what answered, and what to do.
pub(super) fn explained(response: Response<Body>) -> Response<Body> {
    let http_status = response.status();
    if http_status == StatusCode::OK || response.headers().contains_key(Status::GRPC_STATUS) {
        return response;
    }
    let metadata = [(HTTP_STATUS.to_owned(), http_status.as_str().to_owned())];
    let details = ErrorDetails::with_error_info(REASON, DOMAIN, metadata);
    let (code, message) = (code(http_status), message(http_status));
    Status::with_error_details(code, message, details).into_http()
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
            "the server or a proxy answered with HTTP 400: if it requires TLS, use https:// instead of http://"
                .to_owned()
        }
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
            "a proxy cannot reach the server, or got an invalid response (HTTP 502): check that the server runs, and \
             the proxy's address and protocol for it (proxy_pass or grpc_pass in nginx); see {DOCUMENT}"
        ),
        503 => format!(
            "a proxy or load balancer has no available server (HTTP 503): check that the server runs; see {DOCUMENT}"
        ),
        504 => format!(
            "a proxy got no response from the server in time (HTTP 504): raise the proxy's timeout \
             (proxy_read_timeout or grpc_read_timeout in nginx) above the server's HEARTBEAT_INTERVAL, and check that \
             the server runs; see {DOCUMENT}"
        ),
        number => format!(
            "a proxy or another program answered with HTTP {number} instead of a gRPC response: check the server's \
             address, and the proxies on the way to it"
        ),
    }
}

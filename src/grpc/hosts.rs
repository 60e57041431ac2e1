//! Refuses requests to hosts that this server does not serve. Web pages send such requests in DNS rebinding attacks
//! (docs/security.md).
//!
//! The page has the same origin as its requests, so neither CORS nor the peer's address reveals it. Only the host name
//! in the request does.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    Method, StatusCode, Version,
    header::{CONTENT_TYPE, HOST},
};
use tonic::Status;

use super::{
    caller::ClientAddress, permissions::is_health_check, plain_http::is_plain_call,
    status::host_not_allowed,
};
use crate::host::{Host, HostPattern};

/// How many characters of a path and a host are logged.
const LOGGED_CHARS: usize = 100;

/// The hosts that requests may name: loopback names, the bind address and `ALLOWED_HOSTS`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    bind_address: IpAddr,
    patterns: Arc<[HostPattern]>,
}

impl AllowedHosts {
    /// The allowed hosts of a server with this `BIND_ADDRESS` and these patterns of `ALLOWED_HOSTS`.
    pub fn new(bind_address: IpAddr, patterns: Vec<HostPattern>) -> Self {
        Self { bind_address: bind_address.to_canonical(), patterns: patterns.into() }
    }

    fn allow(&self, host: &Host) -> bool {
        // An unspecified address means every address of this machine, and its container may have other addresses
        // outside. DNS can rebind only names, not addresses.
        let is_bound = host.address().is_some_and(|address| {
            self.bind_address.is_unspecified() || address == self.bind_address
        });
        host.is_loopback() || is_bound || self.patterns.iter().any(|pattern| pattern.matches(host))
    }

    fn check<B>(&self, request: &http::Request<B>) -> Result<(), HostError> {
        let host = requested_host(request)?;
        if self.allow(&host) { Ok(()) } else { Err(HostError::NotAllowed(host)) }
    }
}

/// A request's host is missing, invalid or not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum HostError {
    #[error("the request names no host")]
    NoHost,
    #[error("the request names several hosts")]
    SeveralHosts,
    #[error("the request names an invalid host")]
    InvalidHost,
    #[error("the request names the host {0}, which this server does not serve")]
    NotAllowed(Host),
}

impl HostError {
    fn message(&self) -> String {
        match self {
            Self::NotAllowed(_) => {
                format!("{self}: add it to ALLOWED_HOSTS if callers use this name")
            }
            _ => format!("{self}: send one host that this server serves (ALLOWED_HOSTS)"),
        }
    }
}

/// The host of a request: from `:authority` or the request line's target, from `Host`, or from both if they are equal
/// (RFC 9112, section 3.2; RFC 9113, section 8.3.1). Headers of proxies (`Forwarded`, `X-Forwarded-Host`) are ignored,
/// because a page can send them too.
fn requested_host<B>(request: &http::Request<B>) -> Result<Host, HostError> {
    let mut lines = request.headers().get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(HostError::SeveralHosts);
    }
    let line = line.map(|line| line.to_str().map_err(|_| HostError::InvalidHost)).transpose()?;
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let parse = |text: &str| text.parse::<Host>().map_err(|_| HostError::InvalidHost);
    match (authority.map(parse).transpose()?, line.map(parse).transpose()?) {
        (Some(authority), Some(host)) if authority != host => Err(HostError::SeveralHosts),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(HostError::NoHost),
    }
}

/// A layer for [`axum::middleware::from_fn_with_state`], outside of CORS, so that preflight requests are checked too.
/// A plain request to another host gets 403; a call gets its status from [`refuse_host`]. Health checks pass, because
/// load balancers send arbitrary hosts and health checks reveal nothing.
pub async fn check_host(
    State(hosts): State<AllowedHosts>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if is_health_check(path) {
        return next.run(request).await;
    }
    let Err(error) = hosts.check(&request) else { return next.run(request).await };
    let peer = ClientAddress::for_log(request.extensions());
    let method: String = path.chars().take(LOGGED_CHARS).collect();
    let why: String = error.to_string().chars().take(LOGGED_CHARS).collect();
    tracing::warn!(method, peer, reason = "HOST_NOT_ALLOWED", why, "refused");
    if is_call(&request) {
        request.extensions_mut().insert(error);
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, format!("{}\n", error.message())).into_response()
    }
}

/// Whether the request reaches [`refuse_host`].
fn is_call(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
    let is_type = |prefix: &[u8]| content_type.is_some_and(|value| value.starts_with(prefix));
    let is_grpc = request.method() == Method::POST
        && (is_type(b"application/grpc-web")
            || (request.version() == Version::HTTP_2 && is_type(b"application/grpc")));
    is_grpc || is_plain_call(request)
}

/// A layer for [`axum::middleware::from_fn`], inside of gRPC-Web: ends the calls that [`check_host`] refused, before
/// any part of their bodies is read.
pub async fn refuse_host(request: Request, next: Next) -> Response {
    match request.extensions().get::<HostError>() {
        Some(error) => {
            let status: Status = host_not_allowed(error.message());
            status.into_http::<tonic::body::Body>().map(Body::new)
        }
        None => next.run(request).await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(
        bind_address: &str,
        allowed: &[&str],
        uri: &str,
        lines: &[&[u8]],
    ) -> Result<(), HostError> {
        let patterns = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let mut request = http::Request::get(uri).body(()).unwrap();
        for line in lines {
            request.headers_mut().append(HOST, http::HeaderValue::from_bytes(line).unwrap());
        }
        AllowedHosts::new(bind_address.parse().unwrap(), patterns).check(&request)
    }

    fn not_allowed(host: &str) -> Result<(), HostError> {
        Err(HostError::NotAllowed(host.parse().unwrap()))
    }

    #[test]
    fn loopback_names_and_the_bind_address_are_allowed() {
        for host in
            ["localhost", "Localhost.:8080", "a.localhost:1", "127.0.0.1:8080", "[::1]:8080"]
        {
            for bind_address in ["127.0.0.1", "::1", "10.0.0.7", "0.0.0.0", "::"] {
                assert_eq!(check(bind_address, &[], "/", &[host.as_bytes()]), Ok(()), "{host}");
            }
        }
        assert_eq!(check("10.0.0.7", &[], "/", &[b"10.0.0.7:8080"]), Ok(()));
        assert_eq!(check("::ffff:10.0.0.7", &[], "/", &[b"10.0.0.7"]), Ok(()));
        assert_eq!(check("10.0.0.7", &[], "/", &[b"10.0.0.8"]), not_allowed("10.0.0.8"));
        assert_eq!(check("127.0.0.1", &[], "/", &[b"10.0.0.8"]), not_allowed("10.0.0.8"));
        for name in
            ["evil.example:8080", "tara-export", "localhost.evil.example", "10.0.0.7.evil.example"]
        {
            for bind_address in ["127.0.0.1", "10.0.0.7", "0.0.0.0"] {
                assert_eq!(check(bind_address, &[], "/", &[name.as_bytes()]), not_allowed(name));
            }
        }
    }

    #[test]
    fn every_address_is_allowed_if_bound_to_all_addresses() {
        for bind_address in ["0.0.0.0", "::"] {
            for host in ["10.0.0.7:8080", "0.0.0.0", "[2001:db8::7]"] {
                assert_eq!(check(bind_address, &[], "/", &[host.as_bytes()]), Ok(()), "{host}");
            }
        }
    }

    #[test]
    fn allowed_hosts_are_additional() {
        let allowed = [".example.com", "10.0.0.8"];
        for host in ["export.example.com", "10.0.0.8:1", "localhost"] {
            assert_eq!(check("127.0.0.1", &allowed, "/", &[host.as_bytes()]), Ok(()), "{host}");
        }
        assert_eq!(check("127.0.0.1", &["*"], "/", &[b"evil.example"]), Ok(()));
        assert_eq!(check("127.0.0.1", &["*"], "/", &[]), Err(HostError::NoHost));
    }

    #[test]
    fn request_must_name_exactly_one_host() {
        let check = |uri, lines: &[&[u8]]| check("127.0.0.1", &[], uri, lines);
        assert_eq!(check("http://localhost:1/x", &[]), Ok(()));
        assert_eq!(check("http://localhost:1/x", &[b"LOCALHOST:1"]), Ok(()));
        assert_eq!(check("http://evil.example/x", &[]), not_allowed("evil.example"));
        assert_eq!(check("http://evil.example/x", &[b"localhost"]), Err(HostError::SeveralHosts));
        assert_eq!(check("http://localhost/x", &[b"evil.example"]), Err(HostError::SeveralHosts));
        assert_eq!(check("/", &[b"localhost", b"localhost"]), Err(HostError::SeveralHosts));
        assert_eq!(check("/", &[b"localhost, evil.example"]), Err(HostError::InvalidHost));
        assert_eq!(check("/", &[]), Err(HostError::NoHost));
        for line in [&b""[..], b"user@localhost", b"local\xffhost", b"localhost:x"] {
            assert_eq!(check("/", &[line]), Err(HostError::InvalidHost), "{line:?}");
        }
        assert_eq!(check("http://user@localhost/x", &[]), Err(HostError::InvalidHost));
    }
}

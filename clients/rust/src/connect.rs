//! Connections: URL, TLS, and the token of each call.

use std::{fmt, time::Duration};

use http::Uri;
use tonic::{
    Request, Status,
    body::Body,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tower::{BoxError, ServiceExt as _, util::BoxCloneSyncService};

use super::{ClientError, http_status::explained};
use crate::proto::export_service_client::ExportServiceClient;

const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

// A silently lost connection is detected after the sum of these.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The generated client, with an interceptor that adds the token.
pub(super) type ApiClient = ExportServiceClient<InterceptedService<Transport, Authorization>>;

/// Sends the calls, over gRPC or gRPC-Web.
pub(super) type Transport =
    BoxCloneSyncService<http::Request<Body>, http::Response<Body>, TransportError>;

/// A call without a response. tonic derives the status from the source.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct TransportError(#[source] BoxError);

impl TransportError {
    pub(super) fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

/// Wraps a channel as a transport.
pub(super) fn grpc_transport(channel: Channel) -> Transport {
    BoxCloneSyncService::new(channel.map_err(TransportError::new).map_response(explained))
}

/// The protocol of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    #[default]
    Grpc,
    /// gRPC-Web over HTTP/1.1, for networks without HTTP/2. Large documents are uploaded in chunks.
    GrpcWeb,
}

/// Options of a connection.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Certificates of the trusted certificate authorities, PEM. Default: the system's.
    pub authorities_pem: Option<Vec<u8>>,
    /// The client certificate, for servers that require one.
    pub identity: Option<ClientIdentity>,
    /// The bearer token, for servers that require one.
    pub token: Option<Token>,
    /// The protocol of the calls.
    pub protocol: Protocol,
}

/// A client certificate and its key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate followed by the intermediate certificates, PEM.
    pub certificates_pem: Vec<u8>,
    /// The private key, PEM.
    pub key_pem: Vec<u8>,
}

impl fmt::Debug for ClientIdentity {
    // Keeps the key out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientIdentity(…)")
    }
}

/// A bearer token. Its `Debug` output does not contain the token.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

impl Token {
    /// Creates a token from a text, without leading and trailing whitespace. `None` if the text is empty or not
    /// valid in a header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut header: MetadataValue<Ascii> = format!("Bearer {text}").parse().ok()?;
        header.set_sensitive(true);
        (!text.is_empty()).then_some(Self(header))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// Adds the token to each call.
#[derive(Debug, Clone)]
pub(super) struct Authorization(pub(super) Option<Token>);

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(Token(header)) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// The host of calls over a Unix socket, which have none.
pub(super) const UNIX_ORIGIN: &str = "http://localhost";

/// The path of a Unix socket: `unix:PATH`, relative or absolute, or `unix://PATH`. `None` for other URLs.
pub(super) fn socket_path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("unix:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

/// Completes the URL: the default scheme is `http://`.
pub(super) fn full_url(url: &str, options: &ConnectOptions) -> Result<String, ClientError> {
    let invalid = |message: &str| ClientError::Url { url: url.to_owned(), message: message.into() };
    let is_unix = socket_path(url).is_some();
    let has_scheme = is_unix || url.contains("://");
    let full = if has_scheme { url.to_owned() } else { format!("http://{url}") };
    let is_tls = full.starts_with("https://");
    if !is_tls && !is_unix && !full.starts_with("http://") {
        return Err(invalid("the scheme must be http://, https:// or unix:"));
    }
    if socket_path(url).is_some_and(str::is_empty) {
        return Err(invalid("not the path of a Unix socket such as unix:/run/tara-export.sock"));
    }
    if !is_tls && (options.authorities_pem.is_some() || options.identity.is_some()) {
        return Err(invalid("certificates require an https:// URL"));
    }
    Ok(full)
}

/// The endpoint of this URL, not connected yet.
pub(super) fn endpoint(url: &str, options: &ConnectOptions) -> Result<Endpoint, ClientError> {
    let invalid = |message: &str| ClientError::Url { url: url.to_owned(), message: message.into() };
    let full = full_url(url, options)?;
    let is_tls = full.starts_with("https://");
    let mut endpoint = Endpoint::from_shared(full).map_err(|_| {
        invalid("not a URL such as https://export.example.com or http://127.0.0.1:8080")
    })?;
    if socket_path(url).is_some() {
        endpoint = endpoint.origin(Uri::from_static(UNIX_ORIGIN));
    }
    if is_tls {
        let mut tls = match &options.authorities_pem {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some(ClientIdentity { certificates_pem, key_pem }) = &options.identity {
            tls = tls.identity(Identity::from_pem(certificates_pem, key_pem));
        }
        endpoint = endpoint.tls_config(tls).map_err(|error| {
            invalid(&format!("cannot use the certificates: {}", super::error::root_cause(&error)))
        })?;
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        // With HTTP/2's default of 64 KiB, a download would wait for a round trip per window.
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES * 2)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_secrets() {
        let options = ConnectOptions {
            authorities_pem: None,
            identity: Some(ClientIdentity {
                certificates_pem: b"hunter2".to_vec(),
                key_pem: b"hunter2".to_vec(),
            }),
            token: Token::new(" hunter2\n"),
            protocol: Protocol::default(),
        };
        let debug_output = format!("{options:?} {:?}", Authorization(options.token.clone()));
        assert!(
            !debug_output.contains("hunter2") && !debug_output.contains("104, 117"),
            "{debug_output}"
        );
        assert!(Token::new("a\u{7}b").is_none() && Token::new(" ").is_none());
    }

    #[test]
    fn certificates_without_https_are_rejected() {
        let options =
            ConnectOptions { authorities_pem: Some(Vec::new()), ..ConnectOptions::default() };
        let message = endpoint("http://127.0.0.1:1", &options).unwrap_err().to_string();
        assert!(message.contains("https://"), "{message}");
        assert!(endpoint("unix:/run/a.sock", &options).is_err());
        assert!(endpoint("ftp://x", &ConnectOptions::default()).is_err());
    }

    #[test]
    fn unix_sockets_have_a_path() {
        for (url, path) in [
            ("unix:/run/a.sock", Some("/run/a.sock")),
            ("unix:///run/a.sock", Some("/run/a.sock")),
            ("unix:a.sock", Some("a.sock")),
            ("unix.example.com:80", None),
            ("http://unix:80", None),
        ] {
            assert_eq!(socket_path(url), path, "{url}");
            assert!(endpoint(url, &ConnectOptions::default()).is_ok(), "{url}");
        }
        for url in ["unix:", "unix://"] {
            let message = endpoint(url, &ConnectOptions::default()).unwrap_err().to_string();
            assert!(message.contains("unix:/run"), "{message}");
        }
    }
}

//! Connections: URL, TLS, and the token of each call.

use std::{fmt, time::Duration};

use http::Uri;
use tonic::{
    Request, Status,
    body::Body,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tower::{BoxError, ServiceExt as _, util::BoxCloneSyncService};

use super::{
    ClientError, MAX_MESSAGE_BYTES, MAX_RESPONSE_BYTES,
    address::{Address, is_loopback},
    http_status::explained,
    token::{Header, Token},
};
use crate::proto::{
    automation_service_client::AutomationServiceClient, export_service_client::ExportServiceClient,
};

/// The largest headers or trailers of a response. Servers send at most 8 KiB.
const MAX_HEADER_BYTES: u32 = 64 * 1024;

const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// The largest frame of a response. HTTP/2's default of 16 KiB costs a system call for each 16 KiB of a download.
const FRAME_BYTES: u32 = 256 * 1024;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

// A silently lost connection is detected after the sum of these.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends the calls with their token.
pub(super) type AuthorizedTransport = InterceptedService<Transport, Authorization>;

/// The generated client of exports.
pub(super) type ApiClient = ExportServiceClient<AuthorizedTransport>;

/// The generated client of notifications.
pub(super) type AutomationClient = AutomationServiceClient<AuthorizedTransport>;

/// A generated client.
pub(super) trait GeneratedClient {
    /// Creates a client for one call.
    fn new(transport: AuthorizedTransport, origin: Uri) -> Self;
}

impl GeneratedClient for ApiClient {
    fn new(transport: AuthorizedTransport, origin: Uri) -> Self {
        Self::with_origin(transport, origin)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_RESPONSE_BYTES)
    }
}

impl GeneratedClient for AutomationClient {
    fn new(transport: AuthorizedTransport, origin: Uri) -> Self {
        Self::with_origin(transport, origin)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_RESPONSE_BYTES)
    }
}

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
    BoxCloneSyncService::new(
        channel
            .map_err(TransportError::new)
            .and_then(|response| async { Ok(explained(response).await) }),
    )
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
    /// Sends the token without TLS to other machines, where another layer encrypts, such as the sidecar of a
    /// service mesh. Without one, everyone on the network can read the token.
    pub allow_insecure_token: bool,
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

/// Adds the token's header to a call.
#[derive(Clone)]
pub(super) struct Authorization(pub(super) Option<Header>);

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
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

/// Completes the URL: the default scheme is `http://`, and `dns:///` is `https://` if certificates are set.
pub(super) fn full_url(url: &str, options: &ConnectOptions) -> Result<String, ClientError> {
    let has_certificates = options.authorities_pem.is_some() || options.identity.is_some();
    let address = Address::parse(url, has_certificates)
        .map_err(|message| ClientError::Url { url: without_password(url), message })?;
    let invalid = |message: &str| ClientError::Url { url: url.to_owned(), message: message.into() };
    if !address.is_tls() && has_certificates {
        return Err(invalid("certificates require an https:// URL"));
    }
    if address.has_path() && options.protocol == Protocol::Grpc {
        return Err(invalid("gRPC has no path: use gRPC-Web"));
    }
    let is_readable = options.token.is_some() && !address.is_tls() && !options.allow_insecure_token;
    if is_readable && address.host().is_some_and(|host| !is_loopback(host)) {
        return Err(invalid(
            "a token requires TLS, because everyone on the network could read it: use https://, or allow it with \
             TARA_EXPORT_ALLOW_INSECURE_TOKEN=true (in programs: `allow_insecure_token`)",
        ));
    }
    Ok(address.into_url())
}

/// The part before an @ can be a password.
fn without_password(url: &str) -> String {
    url.rfind('@').map_or_else(|| url.to_owned(), |at| format!("…{}", &url[at..]))
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
        .max_frame_size(FRAME_BYTES)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
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
            ..ConnectOptions::default()
        };
        let debug_output = format!("{options:?}");
        assert!(
            !debug_output.contains("hunter2") && !debug_output.contains("104, 117"),
            "{debug_output}"
        );
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

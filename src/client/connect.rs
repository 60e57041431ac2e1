//! Connections: URL, TLS, and the token that goes with each call.

use std::{fmt, time::Duration};

use tonic::{
    Request, Status,
    body::Body,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tower::{BoxError, ServiceExt as _, util::BoxCloneSyncService};

use super::ClientError;
use crate::proto::export_service_client::ExportServiceClient;

const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

// A connection that is dead without a sign is noticed after these two.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The generated client, with the token on each call.
pub(super) type ApiClient = ExportServiceClient<InterceptedService<Transport, Authorization>>;

/// What carries the calls, whichever protocol it speaks.
pub(super) type Transport =
    BoxCloneSyncService<http::Request<Body>, http::Response<Body>, TransportError>;

/// Why a call had no answer. Its source tells tonic which status that is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct TransportError(#[source] BoxError);

impl TransportError {
    pub(super) fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

/// A channel as a transport.
pub(super) fn native(channel: Channel) -> Transport {
    BoxCloneSyncService::new(channel.map_err(TransportError::new))
}

/// How calls travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    #[default]
    Grpc,
    /// gRPC-Web over HTTP/1.1, for where nothing else passes. Large documents go in chunks.
    GrpcWeb,
}

/// How to reach a server beyond its URL.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Certificates of the authorities that the server's must be from, PEM; none: the system's.
    pub authorities_pem: Option<Vec<u8>>,
    /// This client's certificate, for servers that want one.
    pub identity: Option<ClientIdentity>,
    /// The bearer token, for servers that want one.
    pub token: Option<Token>,
    /// How calls travel.
    pub protocol: Protocol,
}

/// A client's certificate and key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate and those between it and its authority, PEM.
    pub certificates_pem: Vec<u8>,
    /// Its private key, PEM.
    pub key_pem: Vec<u8>,
}

impl fmt::Debug for ClientIdentity {
    // The key has no place in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientIdentity(…)")
    }
}

/// A bearer token. Shows nothing of itself.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

impl Token {
    /// The token of this text; white space around it is not part of it. None for what no header can carry.
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

/// Puts the token on each call.
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

/// The URL in full: without a scheme, `http://` is meant.
pub(super) fn full_url(url: &str, options: &ConnectOptions) -> Result<String, ClientError> {
    let wrong = |message: &str| ClientError::Url { url: url.to_owned(), message: message.into() };
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let is_tls = full.starts_with("https://");
    if !is_tls && !full.starts_with("http://") {
        return Err(wrong("only http:// and https:// are spoken here"));
    }
    if !is_tls && (options.authorities_pem.is_some() || options.identity.is_some()) {
        return Err(wrong("there are certificates to use, but only https:// URLs use them"));
    }
    Ok(full)
}

/// The server at this URL, not connected yet.
pub(super) fn endpoint(url: &str, options: &ConnectOptions) -> Result<Endpoint, ClientError> {
    let wrong = |message: &str| ClientError::Url { url: url.to_owned(), message: message.into() };
    let full = full_url(url, options)?;
    let is_tls = full.starts_with("https://");
    let mut endpoint = Endpoint::from_shared(full).map_err(|_| {
        wrong("not a URL such as https://export.example.com or http://127.0.0.1:8080")
    })?;
    if is_tls {
        let mut tls = match &options.authorities_pem {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some(ClientIdentity { certificates_pem, key_pem }) = &options.identity {
            tls = tls.identity(Identity::from_pem(certificates_pem, key_pem));
        }
        endpoint = endpoint.tls_config(tls).map_err(|error| {
            wrong(&format!("the certificates can't be used: {}", super::error::root_cause(&error)))
        })?;
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        // With HTTP/2's own 64 KiB a download would wait for each round trip.
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
    fn secrets_show_nothing_of_themselves() {
        let options = ConnectOptions {
            authorities_pem: None,
            identity: Some(ClientIdentity {
                certificates_pem: b"hunter2".to_vec(),
                key_pem: b"hunter2".to_vec(),
            }),
            token: Token::new(" hunter2\n"),
            protocol: Protocol::default(),
        };
        let shown = format!("{options:?} {:?}", Authorization(options.token.clone()));
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
        assert!(Token::new("a\u{7}b").is_none() && Token::new(" ").is_none());
    }

    #[test]
    fn certificates_that_would_not_be_used_are_an_error() {
        let options =
            ConnectOptions { authorities_pem: Some(Vec::new()), ..ConnectOptions::default() };
        let message = endpoint("http://127.0.0.1:1", &options).unwrap_err().to_string();
        assert!(message.contains("https://"), "{message}");
        assert!(endpoint("ftp://x", &ConnectOptions::default()).is_err());
    }
}

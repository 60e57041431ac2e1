//! Finds out why a server with TLS ends connections.

use std::{io, sync::Arc};

use http::Uri;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{ClientError, advice::advice, connect::CONNECT_TIMEOUT};

/// The client's part of the start of an HTTP/2 connection: the preface and empty SETTINGS (RFC 9113, section 3.4).
const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A server with TLS. With TLS 1.3 a server refuses a client's certificate after the client has completed the
/// handshake, and tonic reports only that the connection was closed.
#[derive(Clone)]
pub(super) struct TlsProbe {
    url: String,
    host: String,
    port: u16,
    config: Arc<ClientConfig>,
}

impl TlsProbe {
    /// `None` without TLS.
    pub(super) fn new(url: &str, full: &Uri, mut config: ClientConfig) -> Option<Self> {
        if full.scheme_str() != Some("https") {
            return None;
        }
        config.alpn_protocols = vec![b"h2".to_vec()];
        let host = full.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = full.port_u16().unwrap_or(443);
        Some(Self { url: url.to_owned(), host, port, config: Arc::new(config) })
    }

    /// Opens another connection and waits for its first byte. Returns the failure if it has a cause that a retry cannot
    /// fix.
    pub(super) async fn failure(&self) -> Option<ClientError> {
        let source = timeout(CONNECT_TIMEOUT, self.exchange()).await.ok()?.err()?;
        advice(&source).filter(|known| !known.is_transient)?;
        Some(ClientError::Connect { url: self.url.clone(), source: source.into() })
    }

    async fn exchange(&self) -> io::Result<()> {
        let connection = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let mut connection =
            TlsConnector::from(self.config.clone()).connect(name, connection).await?;
        // The server may have ended the connection: reading returns its reason.
        let _ = connection.write_all(START).await;
        let _ = connection.flush().await;
        connection.read_u8().await.map(drop)
    }
}

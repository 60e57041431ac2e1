//! Connections through a proxy's tunnel, or direct ones.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Uri, uri::Scheme};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;
use tower::Service;

use super::{Authorities, Proxies};

/// A connector for hyper and tonic: a tunnel (CONNECT) through the proxy of the destination, or a direct connection.
/// TLS with the destination is added on top of it.
#[derive(Clone)]
pub struct ProxyConnector {
    matcher: Arc<Matcher>,
    /// TLS with a proxy that has an `https://` URL.
    inner: HttpsConnector<HttpConnector>,
}

impl fmt::Debug for ProxyConnector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProxyConnector").finish_non_exhaustive()
    }
}

/// A connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The destination cannot be reached directly.
    #[error(transparent)]
    Direct(Box<dyn std::error::Error + Send + Sync>),
    /// The proxy cannot be reached, or refuses the destination.
    #[error("cannot connect through the proxy {proxy} (HTTP_PROXY, HTTPS_PROXY): {source}")]
    Proxy {
        /// The proxy's URL, without credentials.
        proxy: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ProxyConnector {
    /// A connector with these proxies. The authorities verify proxies that use TLS.
    ///
    /// # Errors
    /// A human-readable message if TLS cannot be configured.
    pub fn new(proxies: &Proxies, authorities: &Authorities) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls: ClientConfig = authorities.client_config()?;
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { matcher: Arc::new(proxies.matcher()), inner })
    }

    /// Whether connections to this destination use a proxy.
    pub fn has_proxy_for(&self, destination: &Uri) -> bool {
        self.matcher.intercept(destination).is_some()
    }
}

impl Service<Uri> for ProxyConnector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(ConnectError::Direct)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        match self.matcher.intercept(&destination) {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.inner.clone());
                if let Some(authorization) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                let url = proxy.uri().to_string();
                let connecting = tunnel.call(with_port(destination));
                Box::pin(async move {
                    connecting
                        .await
                        .map_err(|error| ConnectError::Proxy { proxy: url, source: error.into() })
                })
            }
            None => {
                let connecting = self.inner.call(plain(destination));
                Box::pin(async move { connecting.await.map_err(ConnectError::Direct) })
            }
        }
    }
}

/// The destination with its port. The tunnel's default is that of HTTPS, also for `http://`.
fn with_port(destination: Uri) -> Uri {
    if destination.port().is_some() || destination.scheme() != Some(&Scheme::HTTP) {
        return destination;
    }
    let with_port = |mut parts: http::uri::Parts| {
        let authority = format!("{}:80", parts.authority.as_ref()?.host());
        parts.authority = Some(authority.parse().ok()?);
        Uri::from_parts(parts).ok()
    };
    with_port(destination.clone().into_parts()).unwrap_or(destination)
}

/// The destination as `http://` with its port, so that the inner connector adds no TLS.
fn plain(destination: Uri) -> Uri {
    if destination.scheme() != Some(&Scheme::HTTPS) {
        return destination;
    }
    let plain = |mut parts: http::uri::Parts| {
        let authority = parts.authority.as_ref()?;
        let port = authority.port_u16().unwrap_or(443);
        parts.authority = Some(format!("{}:{port}", authority.host()).parse().ok()?);
        parts.scheme = Some(Scheme::HTTP);
        Uri::from_parts(parts).ok()
    };
    plain(destination.clone().into_parts()).unwrap_or(destination)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn destination_gets_its_port() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert_eq!(with_port(uri("http://a/b")), uri("http://a:80/b"));
        assert_eq!(with_port(uri("http://a:1/b")), uri("http://a:1/b"));
        assert_eq!(with_port(uri("https://a/b")), uri("https://a/b"));
        assert_eq!(plain(uri("https://a/b")), uri("http://a:443/b"));
        assert_eq!(plain(uri("https://[::1]:8443/b")), uri("http://[::1]:8443/b"));
        assert_eq!(plain(uri("http://a/b")), uri("http://a/b"));
    }
}

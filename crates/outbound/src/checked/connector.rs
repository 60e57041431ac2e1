//! Connections, only to addresses that were checked.
//!
//! Every connection resolves the host once, checks every address, and connects to one of those. The address of the
//! connected socket is checked again, so that no way around the resolver, such as a host that is an address, is open.
//! If the environment has a proxy for the URL, the proxy resolves the host: only hosts that are addresses are checked,
//! when the URL is parsed.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use async_trait::async_trait;
use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::Service;

use super::address::{Class, Reach};
use crate::{Authorities, Proxies, ProxyConnector};

/// Resolves names of hosts.
#[async_trait]
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of a host. Callers limit the time.
    ///
    /// # Errors
    /// If the host does not exist, or the resolver does not answer.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of this machine: `getaddrinfo`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// An address that a target may not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) address: IpAddr,
    pub(super) class: Class,
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {}", self.address, self.class)
    }
}

impl Error for Denied {}

/// The host has no address.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve the host: {0}")]
pub(super) struct Unresolved(io::Error);

fn check(reach: Reach, address: IpAddr) -> Result<(), Denied> {
    reach.allows(address).map_err(|class| Denied { address, class })
}

/// Resolves hosts, and fails unless every address is allowed.
#[derive(Debug, Clone)]
pub(super) struct CheckedResolver {
    resolver: Arc<dyn Resolve>,
    reach: Reach,
}

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl Service<Name> for CheckedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolver, reach) = (Arc::clone(&self.resolver), self.reach);
        Box::pin(async move {
            let addresses = resolver.resolve(name.as_str()).await.map_err(Unresolved)?;
            if addresses.is_empty() {
                return Err(Unresolved(io::Error::other("it has no address")).into());
            }
            addresses.iter().try_for_each(|address| check(reach, *address))?;
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}

/// Connects to checked addresses. TLS is added on top of it.
#[derive(Clone)]
pub(super) struct CheckedConnector {
    reach: Reach,
    direct: HttpConnector<CheckedResolver>,
    proxied: ProxyConnector,
}

impl CheckedConnector {
    /// A connector to these addresses.
    ///
    /// # Errors
    /// A human-readable message if TLS with a proxy cannot be configured.
    pub(super) fn new(
        reach: Reach,
        resolver: Arc<dyn Resolve>,
        proxies: &Proxies,
        authorities: &Authorities,
    ) -> Result<Self, String> {
        let mut direct = HttpConnector::new_with_resolver(CheckedResolver { resolver, reach });
        direct.enforce_http(false);
        direct.set_nodelay(true);
        // A proxy cannot connect to this machine's loopback addresses.
        let proxies = proxies.clone().except_loopback();
        Ok(Self { reach, direct, proxied: ProxyConnector::new(&proxies, authorities)? })
    }
}

impl Service<Uri> for CheckedConnector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Both connectors are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        if self.proxied.has_proxy_for(&destination) {
            let connecting = self.proxied.call(destination);
            return Box::pin(async move { connecting.await.map_err(BoxError::from) });
        }
        let reach = self.reach;
        let connecting = self.direct.call(destination);
        Box::pin(async move {
            let stream = connecting.await?;
            check(reach, stream.inner().peer_addr()?.ip())?;
            Ok(MaybeHttpsStream::Http(stream))
        })
    }
}

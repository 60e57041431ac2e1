//! `/metrics` for Prometheus, on an address of its own: the API's callers have no business there, and
//! Prometheus has none with the API.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get, serve::Listener};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use super::TelemetryError;

/// The text format that Prometheus reads (Prometheus documentation, "Exposition formats").
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Connections at once. More wait until others end.
const CONNECTIONS: usize = 8;
/// How long a connection may be open. Prometheus opens another for its next scrape.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// A listener that shows the metrics.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
}

impl Endpoint {
    pub(super) async fn start(
        address: SocketAddr,
        metrics: PrometheusHandle,
        stopping: CancellationToken,
    ) -> Result<Self, TelemetryError> {
        let failed = |source| TelemetryError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let show = move || {
            let metrics = metrics.clone();
            async move { ([(CONTENT_TYPE, TEXT_FORMAT)], metrics.render()) }
        };
        let router = Router::new().route("/metrics", get(show));
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let serving = axum::serve(BoundedListener { listener, places }, router);
        tokio::spawn(async move {
            let stopped = stopping.cancelled_owned();
            if let Err(error) = serving.with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the metrics are not served any more");
            }
        });
        Ok(Self { address: bound })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A listener whose connections are few, and end: they must not use up the process's open files.
struct BoundedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for BoundedListener {
    type Io = BoundedConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedConnection, SocketAddr) {
        // The semaphore is never closed.
        let place = self.places.clone().acquire_owned().await.ok();
        // Pauses after a failure.
        let (inner, peer) = Listener::accept(&mut self.listener).await;
        let end = Box::pin(sleep(CONNECTION_TIME));
        (BoundedConnection { inner, end, _place: place }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends after its time.
struct BoundedConnection {
    inner: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for BoundedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if polled.is_pending() {
            ready!(self.end.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for BoundedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, buffer);
        if polled.is_pending() {
            ready!(self.end.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

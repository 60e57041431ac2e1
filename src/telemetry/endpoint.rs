//! `/metrics` for Prometheus on a separate address, so that callers of the API cannot read metrics and Prometheus
//! cannot call the API.

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

/// Concurrent connections. Others wait until one ends.
const CONNECTION_LIMIT: usize = 8;
/// How long a connection may be open. Prometheus opens another for its next scrape.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// The server of `/metrics`.
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
        let permits = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        let serving = axum::serve(BoundedListener { listener, permits }, router);
        tokio::spawn(async move {
            let stopped = stopping.cancelled_owned();
            if let Err(error) = serving.with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the metrics endpoint failed: metrics are no longer served");
            }
        });
        Ok(Self { address: bound })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A listener that limits the number and the time of connections, so that they do not use up the process's open
/// files.
struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Listener for BoundedListener {
    type Io = BoundedConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedConnection, SocketAddr) {
        // The semaphore is never closed.
        let permit = self.permits.clone().acquire_owned().await.ok();
        // axum's listener pauses after a failure.
        let (inner, peer) = Listener::accept(&mut self.listener).await;
        let end = Box::pin(sleep(CONNECTION_TIME));
        (BoundedConnection { inner, end, _permit: permit }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with a time limit.
struct BoundedConnection {
    inner: TcpStream,
    end: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
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

//! HTTP/1.1 and HTTP/2 over accepted connections.
//!
//! Like tonic's server, with three differences that bound the memory of unread responses: each HTTP/2 stream can be
//! reset separately, a stream buffers little, and a connection ends if its peer stops reading.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes, transport::server::Connected};
use tower::ServiceExt as _;

use super::unread::WriteTimeout;
use crate::grpc::{Unsent, resettable};

/// The largest size of all request headers, announced to HTTP/2 peers.
const HEADER_LIST_LIMIT_BYTES: u32 = 64 * 1024;
/// Bytes that a peer may send before the server reads them. With HTTP/2's default of 64 KiB, an upload would wait
/// for each round trip. Bounds the memory of unread request streams and connections.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// The largest frame of a request. With HTTP/2's default of 16 KiB, an upload of 1 GiB would be read in 65,536 pieces.
const FRAME_BYTES: u32 = 256 * 1024;
/// Bytes of the response that an HTTP/2 stream or an HTTP/1.1 connection buffers.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How long a peer may take to respond to a keepalive.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Limits on one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct HttpLimits {
    /// Concurrent calls over HTTP/2 (`MAX_CONCURRENT_STREAMS`).
    pub concurrent_streams: u32,
    /// Interval of pings over HTTP/2 (`KEEPALIVE_INTERVAL`).
    pub keepalive_interval: Duration,
    /// How long a peer may read nothing (`READ_IDLE_TIMEOUT`).
    pub idle_timeout: Duration,
}

/// Serves calls on these connections. When the token is cancelled, accepts no more connections and waits until all
/// of them end. Dropping the future closes all connections.
pub(super) async fn serve<C>(
    incoming: impl Stream<Item = io::Result<C>>,
    routes: Routes,
    limits: HttpLimits,
    stopping: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let routes = routes.prepare();
    let mut connections = JoinSet::new();
    {
        let mut incoming = pin!(incoming);
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(_) = connections.join_next() => {}
                connected = incoming.next() => match connected {
                    Some(Ok(connection)) => {
                        let serving = serve_connection(connection, routes.clone(), limits, stopping.clone());
                        connections.spawn(serving);
                    }
                    Some(Err(error)) => tracing::debug!(%error, "a connection cannot be accepted"),
                    None => break,
                },
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve_connection<C>(
    connection: C,
    routes: Routes,
    limits: HttpLimits,
    stopping: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (info, unsent) = (connection.connect_info(), Arc::new(Unsent::default()));
    // Twice the timeout: a peer that resumes reading meanwhile gets a status.
    let io = WriteTimeout::new(connection, unsent.clone(), limits.idle_timeout * 2);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(info.clone());
        request.extensions_mut().insert(unsent.clone());
        routes.clone().oneshot(request)
    });
    let builder = builder(limits);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection failed");
    }
}

fn builder(limits: HttpLimits) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(limits.concurrent_streams)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_header_list_size(HEADER_LIST_LIMIT_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES);
    // hyper limits the time for HTTP/1.1 headers (30 s) only if it has a timer.
    builder.http1().timer(TokioTimer::new()).max_buf_size(SEND_BUFFER_BYTES);
    builder
}

/// Runs each HTTP/2 stream as a task that can be reset.
#[derive(Debug, Clone, Copy)]
struct Streams;

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(resettable(stream));
    }
}

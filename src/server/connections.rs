//! Connections: limits their number, shares it fairly between addresses, and closes connections that send nothing.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use futures::{Stream, StreamExt as _, stream};
use http_body::Body as HttpBody;
use tara_export_limits::{
    CallInProgress, CallerKey, ConnectionActivity, ConnectionPermit, Connections,
};
use tara_export_telemetry::names;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};

use crate::tls::CloseSignal;

/// How long a client may take to send its first bytes.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// The length of HTTP/2's preface, which identifies the protocol. hyper waits for it without a time limit, and has
/// time limits for everything after it.
const PREFACE_BYTES: usize = 24;
/// The start of a TLS handshake: a record of type 22, version 3.x.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 3];
/// The setting and the label of its metrics.
const SETTING: &str = "MAX_CONNECTIONS";
/// The minimum time between two checks while all permits are in use.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// How often waiting connections are compared with idle ones.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Reaching the limit is logged at most once in this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Returns the same connections, each with a permit. Without a permit a connection waits: either accepted, so that
/// its address is known, or in the system's queue. Among accepted connections, the one whose address has the fewest
/// connections is next. If `waiting_limit` wait and another arrives, the last of the address with the most
/// connections is closed.
pub(super) fn limited<C: Send + 'static>(
    incoming: impl Stream<Item = (C, CallerKey)> + Send + 'static,
    connections: Connections,
    waiting_limit: usize,
) -> impl Stream<Item = (C, ConnectionPermit)> + Send + 'static {
    let queue = Queue {
        connections,
        waiting: Vec::new(),
        waiting_limit,
        last_warning: None,
        last_check: None,
    };
    stream::unfold((Box::pin(incoming), queue), |(mut incoming, mut queue)| async move {
        loop {
            if let Some(next) = queue.next() {
                return Some((next, (incoming, queue)));
            }
            tokio::select! {
                () = queue.connections.changed() => {}
                () = sleep(CHECK_INTERVAL), if !queue.waiting.is_empty() => {}
                arrived = incoming.next() => {
                    let (connection, peer) = arrived?;
                    queue.push(connection, peer);
                }
            }
        }
    })
}

/// Connections that wait for a permit.
struct Queue<C> {
    connections: Connections,
    /// In the order of their arrival.
    waiting: Vec<Waiting<C>>,
    waiting_limit: usize,
    last_warning: Option<Instant>,
    last_check: Option<Instant>,
}

struct Waiting<C> {
    connection: C,
    address: CallerKey,
    since: Instant,
}

impl<C> Queue<C> {
    /// Returns the next connection that gets a permit. If there is no permit, closes idle connections.
    fn next(&mut self) -> Option<(C, ConnectionPermit)> {
        if self.waiting.is_empty() {
            return None;
        }
        // A check compares all connections and is slow, and calls end frequently.
        let is_full = self.connections.open() >= self.connections.limit();
        if is_full
            && self.last_check.is_some_and(|last_check| last_check.elapsed() < MIN_CHECK_INTERVAL)
        {
            return None;
        }
        self.last_check = Some(Instant::now());
        let open = self.connections.open_by_address();
        let count = |address| open.get(address).copied().unwrap_or(0);
        let waiting = self.waiting.iter().enumerate();
        let (fewest, _) =
            waiting.min_by_key(|(position, waiting)| (count(&waiting.address), *position))?;
        if let Some(permit) = self.connections.try_take(&self.waiting[fewest].address) {
            return Some((self.waiting.remove(fewest).connection, permit));
        }
        self.warn();
        let waiting = self.waiting.iter().map(|waiting| (&waiting.address, waiting.since));
        self.connections.make_room(waiting);
        None
    }

    fn push(&mut self, connection: C, address: CallerKey) {
        if self.connections.open() >= self.connections.limit() {
            names::SHARES_WAITED.add(1, [SETTING]);
        }
        self.waiting.push(Waiting { connection, address, since: Instant::now() });
        if self.waiting.len() <= self.waiting_limit {
            return;
        }
        let mut counts = self.connections.open_by_address();
        for waiting in &self.waiting {
            *counts.entry(waiting.address.clone()).or_default() += 1;
        }
        let count = |waiting: &Waiting<C>| counts.get(&waiting.address).copied().unwrap_or(0);
        let most = self.waiting.iter().map(count).max().unwrap_or(0);
        if let Some(last) = self.waiting.iter().rposition(|waiting| count(waiting) == most) {
            names::SHARES_REFUSED.add(1, [SETTING]);
            self.waiting.remove(last);
        }
    }

    fn warn(&mut self) {
        if self.last_warning.is_none_or(|last_warning| last_warning.elapsed() >= WARNING_INTERVAL) {
            let limit = self.connections.limit();
            tracing::warn!(limit, "new connections wait until others end (MAX_CONNECTIONS)");
            self.last_warning = Some(Instant::now());
        }
    }
}

/// A connection that ends if its first bytes do not arrive in time, or if another connection needs its permit.
pub(super) struct Connection<C> {
    inner: C,
    first_bytes: Option<FirstBytes>,
    permit: ConnectionPermit,
    /// The peer of a connection without TLS, until its first bytes arrive.
    plain_peer: Option<SocketAddr>,
}

/// The wait for the first bytes.
struct FirstBytes {
    received: usize,
    timeout: Pin<Box<Sleep>>,
}

impl<C> Connection<C> {
    pub(super) fn new(inner: C, permit: ConnectionPermit) -> Self {
        let first_bytes = FirstBytes { received: 0, timeout: Box::pin(sleep(FIRST_BYTES_TIMEOUT)) };
        Self { inner, first_bytes: Some(first_bytes), permit, plain_peer: None }
    }

    /// Logs a TLS handshake that this peer starts, although the connection has no TLS.
    pub(super) fn with_plain_peer(self, peer: Option<SocketAddr>) -> Self {
        Self { plain_peer: peer, ..self }
    }

    /// Fails once the connection must close.
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        if self.permit.poll_is_closing(context) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "closed for another connection (MAX_CONNECTIONS)",
            ));
        }
        Ok(())
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Connection<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check(context)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(context, buffer);
        let Some(first_bytes) = &mut this.first_bytes else { return polled };
        if polled.is_ready() {
            first_bytes.received += buffer.filled().len() - before;
            let is_handshake =
                buffer.filled().get(before..).is_some_and(|new| new.starts_with(&TLS_HANDSHAKE));
            if let Some(peer) = this.plain_peer.take()
                && is_handshake
            {
                tracing::warn!(
                    %peer,
                    "a client started TLS on the port without TLS: it must use http://, or set TLS_CERT_FILE"
                );
            }
            if first_bytes.received >= PREFACE_BYTES {
                this.first_bytes = None;
            }
            return polled;
        }
        ready!(first_bytes.timeout.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request from the client")))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Connection<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        // The server responds, so it knows the protocol.
        self.first_bytes = None;
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        self.first_bytes = None;
        Pin::new(&mut self.inner).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl CloseSignal for ConnectionPermit {
    async fn closing(&self) {
        Self::closing(self).await;
    }
}

/// The request's connection, in its extensions. [`track_call`] splits it.
#[derive(Debug, Clone)]
pub(super) struct ConnectionInfo<I> {
    inner: I,
    activity: ConnectionActivity,
}

impl<C: Connected> Connected for Connection<C> {
    type ConnectInfo = ConnectionInfo<C::ConnectInfo>;

    fn connect_info(&self) -> Self::ConnectInfo {
        ConnectionInfo { inner: self.inner.connect_info(), activity: self.permit.activity() }
    }
}

/// A layer for [`axum::middleware::from_fn`]: counts the call for its connection until its response is sent, and
/// puts the connection's own information into the request's extensions.
pub(super) async fn track_call(mut request: Request, next: Next) -> Response {
    let extensions = request.extensions_mut();
    let activity = if let Some(info) = extensions.remove::<ConnectionInfo<TcpConnectInfo>>() {
        extensions.insert(info.inner);
        Some(info.activity)
    } else if let Some(info) = extensions.remove::<ConnectionInfo<TlsConnectInfo<TcpConnectInfo>>>()
    {
        extensions.insert(info.inner);
        Some(info.activity)
    } else if let Some(info) = extensions.remove::<ConnectionInfo<UdsConnectInfo>>() {
        extensions.insert(info.inner);
        Some(info.activity)
    } else {
        None
    };
    let Some(activity) = activity else { return next.run(request).await };
    let call = activity.enter();
    let response = next.run(request).await;
    response.map(|body| Body::new(TrackedBody { body, _call: call }))
}

struct TrackedBody {
    body: Body,
    _call: CallInProgress,
}

impl HttpBody for TrackedBody {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn connection() -> (Connection<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        let permit = Connections::new(1).try_take(&CallerKey::server()).unwrap();
        (Connection::new(ours, permit), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn slow_first_bytes_close_the_connection() {
        let (mut ours, mut theirs) = connection();
        let started = Instant::now();
        let mut received = 0;
        let error = loop {
            // A byte a second.
            let byte = tokio::time::timeout(Duration::from_secs(1), ours.read_u8()).await;
            match byte {
                Ok(Ok(_)) => received += 1,
                Ok(Err(error)) => break error,
                Err(_) => theirs.write_u8(b'P').await.unwrap(),
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), FIRST_BYTES_TIMEOUT);
        assert!(received > 5, "{received}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_stays_open_after_preface_or_response() {
        for response in [&b""[..], b"HTTP/1.1 200 OK\r\n\r\n"] {
            let (mut ours, mut theirs) = connection();
            let request: &[u8] = if response.is_empty() {
                &[b'x'; PREFACE_BYTES]
            } else {
                b"GET / HTTP/1.1\r\n\r\n"
            };
            theirs.write_all(request).await.unwrap();
            let mut received = vec![0; request.len()];
            ours.read_exact(&mut received).await.unwrap();
            ours.write_all(response).await.unwrap();
            let read = tokio::time::timeout(FIRST_BYTES_TIMEOUT * 10, ours.read_u8()).await;
            assert!(read.is_err(), "{read:?}");
        }
    }

    /// Connections from these addresses that arrive at once at a server with `limit` permits.
    fn arriving(
        addresses: &[u8],
        limit: usize,
        waiting_limit: usize,
    ) -> (Connections, Pin<Box<impl Stream<Item = (usize, ConnectionPermit)>>>) {
        let connections = Connections::new(limit);
        let arriving: Vec<_> = addresses
            .iter()
            .enumerate()
            .map(|(number, last)| (number, CallerKey::address([127, 0, 0, *last].into())))
            .collect();
        // The listener stays open.
        let arriving = stream::iter(arriving).chain(stream::pending());
        (connections.clone(), Box::pin(limited(arriving, connections, waiting_limit)))
    }

    #[tokio::test]
    async fn dropped_connection_returns_its_permit() {
        let (_, mut connections) = arriving(&[1, 1, 1], 2, 8);
        let first = connections.next().await.unwrap();
        let _second = connections.next().await.unwrap();
        let third = connections.next();
        tokio::pin!(third);
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        assert_eq!(third.await.unwrap().0, 2);
    }

    #[tokio::test]
    async fn connection_of_another_address_is_served_before_greedy_one() {
        let (_, mut connections) = arriving(&[1, 1, 1, 1, 1, 2], 2, 8);
        let _first = connections.next().await.unwrap();
        let second = connections.next().await.unwrap();
        let calls = [_first.1.activity().enter(), second.1.activity().enter()];
        let next = connections.next();
        tokio::pin!(next);
        assert!(futures::poll!(&mut next).is_pending());
        drop(second);
        assert_eq!(next.await.unwrap().0, 5);
        drop(calls);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_of_greedy_address_closes_for_another() {
        let (all, mut connections) = arriving(&[1, 1, 2], 2, 8);
        let first = connections.next().await.unwrap();
        let _second = connections.next().await.unwrap();
        let (ours, _theirs) = duplex(8);
        let mut first = Connection::new(ours, first.1);
        let closed = async move {
            let error = first.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            let error = first.write_u8(1).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        };
        let (third, ()) = tokio::join!(connections.next(), closed);
        assert_eq!(third.unwrap().0, 2);
        assert_eq!(all.open(), 1, "the third is dropped already");
    }

    #[tokio::test]
    async fn full_queue_closes_last_connection_of_greediest_address() {
        let (_, mut connections) = arriving(&[1, 1, 1, 2, 1, 1, 1], 1, 2);
        let mut served = Vec::new();
        let first = connections.next().await.unwrap();
        let _call = first.1.activity().enter();
        let next = connections.next();
        tokio::pin!(next);
        assert!(futures::poll!(&mut next).is_pending());
        drop(first);
        served.push(next.await.unwrap().0);
        served.push(connections.next().await.unwrap().0);
        // The first waiting connection of address 1 is kept.
        assert_eq!(served, [1, 3]);
    }
}

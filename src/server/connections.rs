//! Connections: a bounded number, shared fairly between addresses, and none that sends nothing.

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
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

use crate::{
    limits::{CallInProgress, CallerKey, ConnectionActivity, ConnectionPlace, Connections},
    telemetry::names,
    tls::Place,
};

/// How long a client may take to tell what it speaks.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// The length of HTTP/2's preface: with so many bytes, or fewer, it is known. hyper waits for them, however
/// long; for everything that follows it has times of its own.
const FIRST_BYTES: usize = 24;
/// The setting, and the label of its metrics.
const SETTING: &str = "MAX_CONNECTIONS";
/// The least time between two comparisons while there is no place.
const CHECK_PAUSE: Duration = Duration::from_millis(50);
/// How often connections that wait are compared with those that are idle.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// A server that is full says so, but not for each connection that waits.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The same connections with a place each. Others wait: accepted, so that their addresses are known, or in the
/// system's queue. Of those that are accepted, the one whose address has fewest connections is next. If
/// `waiting_limit` wait, and another arrives, the last of the address with most connections is closed.
pub(super) fn bounded<C: Send + 'static>(
    incoming: impl Stream<Item = (C, SocketAddr)> + Send + 'static,
    connections: Connections,
    waiting_limit: usize,
) -> impl Stream<Item = (C, ConnectionPlace)> + Send + 'static {
    let queue =
        Queue { connections, waiting: Vec::new(), waiting_limit, warned: None, checked: None };
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
                    queue.push(connection, CallerKey::address(peer.ip()));
                }
            }
        }
    })
}

/// Connections that wait for a place.
struct Queue<C> {
    connections: Connections,
    /// In the order of their arrival.
    waiting: Vec<Waiting<C>>,
    waiting_limit: usize,
    warned: Option<Instant>,
    checked: Option<Instant>,
}

struct Waiting<C> {
    connection: C,
    address: CallerKey,
    since: Instant,
}

impl<C> Queue<C> {
    /// The next connection that has a place. Without one, those that may are made to close.
    fn next(&mut self) -> Option<(C, ConnectionPlace)> {
        if self.waiting.is_empty() {
            return None;
        }
        // Comparing all of them takes a while, and calls end all the time.
        let is_full = self.connections.open() >= self.connections.limit();
        if is_full && self.checked.is_some_and(|checked| checked.elapsed() < CHECK_PAUSE) {
            return None;
        }
        self.checked = Some(Instant::now());
        let open = self.connections.open_by_address();
        let count = |address| open.get(address).copied().unwrap_or(0);
        let waiting = self.waiting.iter().enumerate();
        let (fewest, _) =
            waiting.min_by_key(|(position, waiting)| (count(&waiting.address), *position))?;
        if let Some(place) = self.connections.try_take(&self.waiting[fewest].address) {
            return Some((self.waiting.remove(fewest).connection, place));
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
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
            let limit = self.connections.limit();
            tracing::warn!(
                limit,
                "more connections have to wait until others end (MAX_CONNECTIONS)"
            );
            self.warned = Some(Instant::now());
        }
    }
}

/// A connection that ends when its first bytes do not arrive in time, or when it must close for others.
pub(super) struct Connection<C> {
    inner: C,
    silence: Option<Silence>,
    place: ConnectionPlace,
}

/// A connection that has not said enough yet.
struct Silence {
    received: usize,
    end: Pin<Box<Sleep>>,
}

impl<C> Connection<C> {
    pub(super) fn new(inner: C, place: ConnectionPlace) -> Self {
        let silence = Silence { received: 0, end: Box::pin(sleep(FIRST_BYTES_TIMEOUT)) };
        Self { inner, silence: Some(silence), place }
    }

    /// An error once the connection must close.
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        if self.place.poll_is_closing(context) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed for others"));
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
        let Some(silence) = &mut this.silence else { return polled };
        if polled.is_ready() {
            silence.received += buffer.filled().len() - before;
            if silence.received >= FIRST_BYTES {
                this.silence = None;
            }
            return polled;
        }
        ready!(silence.end.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a client that says nothing")))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Connection<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        // What is answered was understood.
        self.silence = None;
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        self.silence = None;
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

impl Place for ConnectionPlace {
    async fn closing(&self) {
        Self::closing(self).await;
    }
}

/// In the extensions of each request: the connection it came over. [`track_call`] takes it apart.
#[derive(Debug, Clone)]
pub(super) struct ConnectionInfo<I> {
    inner: I,
    activity: ConnectionActivity,
}

impl<C: Connected> Connected for Connection<C> {
    type ConnectInfo = ConnectionInfo<C::ConnectInfo>;

    fn connect_info(&self) -> Self::ConnectInfo {
        ConnectionInfo { inner: self.inner.connect_info(), activity: self.place.activity() }
    }
}

/// A layer for [`axum::middleware::from_fn`]: counts the call as one of its connection until its response is sent,
/// and leaves the connection's own information in the request's extensions.
pub(super) async fn track_call(mut request: Request, next: Next) -> Response {
    let extensions = request.extensions_mut();
    let activity = if let Some(info) = extensions.remove::<ConnectionInfo<TcpConnectInfo>>() {
        extensions.insert(info.inner);
        Some(info.activity)
    } else if let Some(info) = extensions.remove::<ConnectionInfo<TlsConnectInfo<TcpConnectInfo>>>()
    {
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
        let place = Connections::new(1).try_take(&CallerKey::server()).unwrap();
        (Connection::new(ours, place), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_too_little_is_cut_off_however_often() {
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
    async fn who_has_spoken_or_was_answered_may_be_silent() {
        for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n\r\n"] {
            let (mut ours, mut theirs) = connection();
            let question: &[u8] =
                if answer.is_empty() { &[b'x'; FIRST_BYTES] } else { b"GET / HTTP/1.1\r\n\r\n" };
            theirs.write_all(question).await.unwrap();
            let mut read = vec![0; question.len()];
            ours.read_exact(&mut read).await.unwrap();
            ours.write_all(answer).await.unwrap();
            let silence = tokio::time::timeout(FIRST_BYTES_TIMEOUT * 10, ours.read_u8()).await;
            assert!(silence.is_err(), "{silence:?}");
        }
    }

    /// Connections of these addresses, all of which arrive at once, at a server with this many places.
    fn arriving(
        addresses: &[u8],
        limit: usize,
        waiting_limit: usize,
    ) -> (Connections, Pin<Box<impl Stream<Item = (usize, ConnectionPlace)>>>) {
        let connections = Connections::new(limit);
        let arriving: Vec<_> = addresses
            .iter()
            .enumerate()
            .map(|(number, last)| (number, SocketAddr::from(([127, 0, 0, *last], 1))))
            .collect();
        // The listener goes on.
        let arriving = stream::iter(arriving).chain(stream::pending());
        (connections.clone(), Box::pin(bounded(arriving, connections, waiting_limit)))
    }

    #[tokio::test]
    async fn places_are_given_back() {
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
    async fn connection_of_another_address_does_not_wait_behind_those_of_a_greedy_one() {
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
    async fn idle_connection_of_a_greedy_address_closes_for_another() {
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
    async fn queue_that_is_full_closes_what_waits_of_the_greediest() {
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
        // Of address 1, the first that waited is still there.
        assert_eq!(served, [1, 3]);
    }
}

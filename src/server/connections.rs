//! Connections: so many of them, and none that says nothing.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tonic::transport::server::Connected;

/// How long a client may take to tell what it speaks.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// The length of HTTP/2's preface: with so many bytes, or fewer, it is known. hyper waits for them, however
/// long; for everything that follows it has times of its own.
const FIRST_BYTES: usize = 24;
/// A server that is full says so, but not for each connection that waits.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The same connections, so many of them at once; more wait in the system's queue until others end.
pub(super) fn bounded<C>(
    incoming: impl Stream<Item = io::Result<C>> + Send + 'static,
    limit: u32,
) -> impl Stream<Item = io::Result<Connection<C>>> + Send + 'static
where
    C: Send + 'static,
{
    let state = (Box::pin(incoming), Room::new(limit));
    stream::unfold(state, |(mut incoming, mut room)| async move {
        let place = room.take().await?;
        let connection = incoming.next().await?;
        Some((connection.map(|inner| Connection::new(inner, place)), (incoming, room)))
    })
}

/// Places for connections.
struct Room {
    places: Arc<Semaphore>,
    limit: u32,
    warned: Option<Instant>,
}

impl Room {
    fn new(limit: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(limit as usize)), limit, warned: None }
    }

    /// Waits for a place. None once there can be none, which is never: nobody closes the semaphore.
    async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
            let limit = self.limit;
            tracing::warn!(
                limit,
                "more connections have to wait until others end (MAX_CONNECTIONS)"
            );
            self.warned = Some(Instant::now());
        }
        self.places.clone().acquire_owned().await.ok()
    }
}

/// A connection that ends where its first bytes don't come in time.
pub(super) struct Connection<C> {
    inner: C,
    silence: Option<Silence>,
    _place: OwnedSemaphorePermit,
}

/// A connection that has not said enough yet.
struct Silence {
    received: usize,
    end: Pin<Box<Sleep>>,
}

impl<C> Connection<C> {
    fn new(inner: C, place: OwnedSemaphorePermit) -> Self {
        let silence = Silence { received: 0, end: Box::pin(sleep(FIRST_BYTES_TIMEOUT)) };
        Self { inner, silence: Some(silence), _place: place }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Connection<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
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
        // What is answered was understood.
        self.silence = None;
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.silence = None;
        Pin::new(&mut self.inner).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<C: Connected> Connected for Connection<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn connection() -> (Connection<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
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

    #[tokio::test]
    async fn places_are_given_back() {
        let made = stream::iter([1, 2, 3].map(|_| Ok(duplex(8).0)));
        let mut connections = Box::pin(bounded(made, 2));
        let first = connections.next().await.unwrap().unwrap();
        let _second = connections.next().await.unwrap().unwrap();
        let third = connections.next();
        tokio::pin!(third);
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        assert!(third.await.unwrap().is_ok());
    }
}

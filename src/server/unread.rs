//! Closes connections whose peers stop reading.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::grpc::Unsent;

/// A connection that ends if its peer reads nothing for too long.
pub(super) struct WriteTimeout<C> {
    inner: C,
    unsent: Arc<Unsent>,
    /// How long the peer may read nothing.
    timeout: Duration,
    /// Runs while the server has data to send and the peer does not read.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<C> WriteTimeout<C> {
    pub(super) fn new(inner: C, unsent: Arc<Unsent>, timeout: Duration) -> Self {
        Self { inner, unsent, timeout, blocked: None }
    }

    fn track_write<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.unsent.written(written.is_pending());
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let timeout = self.timeout;
        let end = self.blocked.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(end.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for WriteTimeout<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, buffer);
        self.track_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, buffers);
        self.track_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// TLS writes to its socket here too.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.track_write(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.track_write(context, shut)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::{Instant, timeout},
    };

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn connection_ends_when_peer_stops_reading() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = WriteTimeout::new(ours, Arc::default(), TIMEOUT);
        let started = Instant::now();
        // The peer reads a byte now and then, before the timeout.
        let (written, _) = tokio::join!(ours.write_all(&[7; 16]), async {
            for _ in 0..8 {
                tokio::time::sleep(TIMEOUT / 2).await;
                theirs.read_u8().await.unwrap();
            }
        });
        written.unwrap();
        assert!(started.elapsed() > TIMEOUT * 3);
        let full = Instant::now();
        let error = ours.write_all(&[7]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(full.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_with_nothing_to_send_stays_open() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = WriteTimeout::new(ours, Arc::default(), TIMEOUT);
        ours.write_all(&[7; 8]).await.unwrap();
        assert!(timeout(TIMEOUT * 10, ours.read_u8()).await.is_err());
        theirs.read_exact(&mut [0; 8]).await.unwrap();
        ours.write_all(&[7; 8]).await.unwrap();
    }
}

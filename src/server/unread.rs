//! Connections whose peers do not read what is sent to them.

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

/// A connection that ends when its peer takes nothing for too long.
pub(super) struct Watched<C> {
    inner: C,
    unsent: Arc<Unsent>,
    /// How long the peer may take nothing.
    patience: Duration,
    /// Runs while there is something to send that the peer does not take.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<C> Watched<C> {
    pub(super) fn new(inner: C, unsent: Arc<Unsent>, patience: Duration) -> Self {
        Self { inner, unsent, patience, blocked: None }
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.unsent.written(written.is_pending());
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let patience = self.patience;
        let end = self.blocked.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(end.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing")))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, buffer);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, buffers);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// TLS writes to its socket here too.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.written(context, shut)
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

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn connection_ends_when_its_peer_takes_nothing() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Watched::new(ours, Arc::default(), PATIENCE);
        let started = Instant::now();
        // It takes a byte now and then, in less time than it has.
        let (written, _) = tokio::join!(ours.write_all(&[7; 16]), async {
            for _ in 0..8 {
                tokio::time::sleep(PATIENCE / 2).await;
                theirs.read_u8().await.unwrap();
            }
        });
        written.unwrap();
        assert!(started.elapsed() > PATIENCE * 3);
        let full = Instant::now();
        let error = ours.write_all(&[7]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(full.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_anything_to_send_stays_open() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Watched::new(ours, Arc::default(), PATIENCE);
        ours.write_all(&[7; 8]).await.unwrap();
        assert!(timeout(PATIENCE * 10, ours.read_u8()).await.is_err());
        theirs.read_exact(&mut [0; 8]).await.unwrap();
        ours.write_all(&[7; 8]).await.unwrap();
    }
}

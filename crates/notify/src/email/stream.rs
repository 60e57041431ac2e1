//! A connection to a mail server, with limits on what is read from it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Maximum number of bytes that are read in one conversation, TLS included. Responses have some dozen bytes each.
const READ_LIMIT_BYTES: usize = 1024 * 1024;
/// Maximum number of bytes that are read before STARTTLS: a greeting and the answers to two commands.
const READ_LIMIT_BEFORE_TLS_BYTES: usize = 16 * 1024;
/// Maximum number of bytes of one read.
const CHUNK_BYTES: usize = 4 * 1024;
/// The first byte of a TLS handshake. No SMTP command starts with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that ends after [`READ_LIMIT_BYTES`]: lettre reads a line into memory before it checks its length.
///
/// Before STARTTLS, it is read byte by byte. lettre keeps what it has buffered when it starts TLS, so that without this
/// an attacker on the network could add responses to the response to STARTTLS, which would be taken for encrypted
/// ones. Bytes that are not read before TLS starts make its handshake fail.
#[derive(Debug)]
pub(crate) struct LimitedStream<S> {
    stream: S,
    peer: SocketAddr,
    unread_bytes: usize,
    is_bytewise: bool,
}

impl LimitedStream<TcpStream> {
    /// A connection without TLS.
    pub(crate) fn plain(stream: TcpStream, peer: SocketAddr) -> Self {
        Self { stream, peer, unread_bytes: READ_LIMIT_BYTES, is_bytewise: false }
    }

    /// A connection on which STARTTLS follows.
    pub(crate) fn before_tls(stream: TcpStream, peer: SocketAddr) -> Self {
        Self { stream, peer, unread_bytes: READ_LIMIT_BEFORE_TLS_BYTES, is_bytewise: true }
    }
}

impl LimitedStream<TlsStream<TcpStream>> {
    /// A connection with TLS.
    pub(crate) fn tls(stream: TlsStream<TcpStream>, peer: SocketAddr) -> Self {
        Self { stream, peer, unread_bytes: READ_LIMIT_BYTES, is_bytewise: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream
    for LimitedStream<S>
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        output: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread_bytes == 0 {
            let message = "the mail server sends more than a conversation needs";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        }
        let mut chunk = [0; CHUNK_BYTES];
        let limit_bytes = if this.is_bytewise { 1 } else { CHUNK_BYTES };
        let limit_bytes = limit_bytes.min(output.remaining()).min(this.unread_bytes);
        let mut read = ReadBuf::new(&mut chunk[..limit_bytes]);
        let result = Pin::new(&mut this.stream).poll_read(context, &mut read);
        if matches!(result, Poll::Ready(Ok(()))) {
            this.unread_bytes -= read.filled().len();
            output.put_slice(read.filled());
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_bytewise && bytes.first() == Some(&TLS_HANDSHAKE) {
            this.is_bytewise = false;
            this.unread_bytes = READ_LIMIT_BYTES;
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

//! A network in front of the server, which can be cut.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// The start of an HTTP/2 connection (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";
const PIECE_BYTES: usize = 16 * 1024;

/// The protocols that a network forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Any,
    /// Like platforms without HTTP/2: such a connection is closed.
    Http1,
}

/// A port that forwards to the server.
#[derive(Debug)]
pub(crate) struct Network {
    address: SocketAddr,
    link: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    protocol: Protocol,
    server_port: u16,
    /// Changes when all connections must be cut.
    cuts: watch::Sender<u64>,
    /// Bytes of requests until the next cut; negative if no cut is scheduled.
    requests_left: AtomicI64,
}

impl Network {
    pub(crate) async fn start(protocol: Protocol, server_port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (cuts, requests_left) = (watch::Sender::new(0), AtomicI64::new(-1));
        let link = Arc::new(Link { protocol, server_port, cuts, requests_left });
        let accepting = link.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (link, mut cuts) = (accepting.clone(), accepting.cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        // A cut looks like any other end of the connection.
                        _ = link.forward(client) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Ok(Self { address, link })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all open connections.
    pub(crate) fn cut(&self) {
        self.link.cuts.send_modify(|number| *number += 1);
    }

    /// Cuts all connections once, after this many more bytes of requests.
    pub(crate) fn cut_requests_after(&self, count: u32) {
        self.link.requests_left.store(count.into(), Ordering::Relaxed);
    }
}

impl Link {
    async fn forward(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let (requests, responses) = client.into_split();
        let server = TcpStream::connect(("127.0.0.1", self.server_port)).await?;
        server.set_nodelay(true)?;
        let (from_server, to_server) = server.into_split();
        let sending = self.forward_requests(requests, to_server);
        let responding = forward_responses(from_server, responses);
        tokio::try_join!(sending, responding).map(|_| ())
    }

    async fn forward_requests(
        &self,
        mut requests: OwnedReadHalf,
        mut to_server: OwnedWriteHalf,
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut begin = Vec::new();
        loop {
            let count = requests.read(&mut piece).await?;
            if count == 0 {
                return to_server.shutdown().await;
            }
            if begin.len() < HTTP2_PREFACE.len() {
                begin.extend_from_slice(&piece[..count]);
                if self.protocol == Protocol::Http1 && begin.starts_with(HTTP2_PREFACE) {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
            }
            to_server.write_all(&piece[..count]).await?;
            let count = count as i64;
            let left = self.requests_left.fetch_sub(count, Ordering::Relaxed);
            if (0..count).contains(&left) {
                self.cuts.send_modify(|number| *number += 1);
            }
        }
    }
}

async fn forward_responses(
    mut from_server: OwnedReadHalf,
    mut responses: OwnedWriteHalf,
) -> io::Result<()> {
    tokio::io::copy(&mut from_server, &mut responses).await?;
    responses.shutdown().await
}

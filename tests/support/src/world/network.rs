//! The way to the server, which can be cut.

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

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";
const PIECE_BYTES: usize = 16 * 1024;

/// What the way lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Any,
    /// As platforms that know no HTTP/2: a connection that begins with it is closed.
    Http1,
}

/// A port that leads to the server.
#[derive(Debug)]
pub(crate) struct Network {
    address: SocketAddr,
    way: Arc<Way>,
}

#[derive(Debug)]
struct Way {
    protocol: Protocol,
    server_port: u16,
    /// Changes when all connections are to be cut.
    cuts: watch::Sender<u64>,
    /// Bytes of requests until the next cut; none where it is negative.
    requests_left: AtomicI64,
}

impl Network {
    pub(crate) async fn start(protocol: Protocol, server_port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (cuts, requests_left) = (watch::Sender::new(0), AtomicI64::new(-1));
        let way = Arc::new(Way { protocol, server_port, cuts, requests_left });
        let accepting = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (way, mut cuts) = (accepting.clone(), accepting.cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        // Whoever is cut sees the connection end, as with any other end of it.
                        _ = way.carry(client) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Ok(Self { address, way })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all connections there are.
    pub(crate) fn cut(&self) {
        self.way.cuts.send_modify(|number| *number += 1);
    }

    /// Cuts all connections once so many bytes more of requests came through, once.
    pub(crate) fn cut_requests_after(&self, count: u32) {
        self.way.requests_left.store(count.into(), Ordering::Relaxed);
    }
}

impl Way {
    async fn carry(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let (requests, answers) = client.into_split();
        let server = TcpStream::connect(("127.0.0.1", self.server_port)).await?;
        server.set_nodelay(true)?;
        let (from_server, to_server) = server.into_split();
        let sending = self.carry_requests(requests, to_server);
        let answering = carry_answers(from_server, answers);
        tokio::try_join!(sending, answering).map(|_| ())
    }

    async fn carry_requests(
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

async fn carry_answers(
    mut from_server: OwnedReadHalf,
    mut answers: OwnedWriteHalf,
) -> io::Result<()> {
    tokio::io::copy(&mut from_server, &mut answers).await?;
    answers.shutdown().await
}

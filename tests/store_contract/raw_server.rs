//! Servers that misbehave: plain TCP, so that a test decides over every byte of an answer.

use std::future::Future;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A server on a port of its own that gives each connection to the handler.
pub(crate) async fn serve<H, F>(handler: H) -> String
where
    H: Fn(Connection) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handler(Connection { stream, buffer: Vec::new() }));
        }
    });
    format!("http://{address}")
}

/// A connection of HTTP/1.1.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The head of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestHead {
    text: String,
}

impl RequestHead {
    pub(crate) fn method(&self) -> &str {
        self.text.split(' ').next().unwrap()
    }

    /// The path and query as they were sent.
    pub(crate) fn target(&self) -> &str {
        self.text.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn content_length(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().unwrap())
    }
}

impl Connection {
    /// The next request's head, or none when the client has hung up.
    pub(crate) async fn head(&mut self) -> Option<RequestHead> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Some(RequestHead { text: String::from_utf8(head).unwrap() });
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next bytes of a body.
    pub(crate) async fn body(&mut self, size_bytes: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < size_bytes {
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
        Some(self.buffer.drain(..size_bytes).collect())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A client that has hung up is the test's to notice.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends unless the client has hung up; whether it was sent.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits until the client hangs up.
    pub(crate) async fn hold(&mut self) {
        while self.stream.read_buf(&mut self.buffer).await.is_ok_and(|read_bytes| read_bytes > 0) {}
    }
}

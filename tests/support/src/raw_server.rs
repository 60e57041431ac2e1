//! Misbehaving servers over plain TCP: the test controls every byte of a response.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::future::Future;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Starts a server on a free port that passes each connection to the handler; returns its URL.
pub async fn serve<H, F>(handler: H) -> String
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

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct RequestHead {
    text: String,
}

impl RequestHead {
    /// `GET`, `PUT` and so on.
    pub fn method(&self) -> &str {
        self.text.split(' ').next().unwrap()
    }

    /// The path and query as they were sent.
    pub fn target(&self) -> &str {
        self.text.split(' ').nth(1).unwrap()
    }

    /// A header's value; names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The value of Content-Length; 0 without it.
    pub fn content_length(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().unwrap())
    }
}

impl Connection {
    /// The next request's head; `None` if the client has disconnected.
    pub async fn head(&mut self) -> Option<RequestHead> {
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

    /// The next bytes of a body; `None` if the client has disconnected.
    pub async fn body(&mut self, size_bytes: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < size_bytes {
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
        Some(self.buffer.drain(..size_bytes).collect())
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The test itself notices a disconnected client.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends bytes; returns `false` if the client has disconnected.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits until the client disconnects.
    pub async fn hold(&mut self) {
        while self.stream.read_buf(&mut self.buffer).await.is_ok_and(|read_bytes| read_bytes > 0) {}
    }
}

//! A raw HTTP/2 peer (RFC 9113) that sends frames no client library sends, and does not respond to the
//! server's frames.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes.
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// The connection preface.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The frame size that every HTTP/2 peer accepts.
pub(crate) const FRAME_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY or RST_STREAM.
    pub(crate) fn error(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap()))
    }
}

/// The sending half of a connection.
pub(crate) struct Sender(OwnedWriteHalf);

/// The receiving half. It does not respond to frames.
pub(crate) struct Receiver(OwnedReadHalf);

/// Opens a connection and sends the preface and SETTINGS.
pub(crate) async fn connect(address: SocketAddr) -> (Sender, Receiver) {
    let (receiver, sender) = TcpStream::connect(address).await.unwrap().into_split();
    let mut sender = Sender(sender);
    sender.0.write_all(PREFACE).await.unwrap();
    sender.send(SETTINGS, 0, 0, &[]).await.unwrap();
    (sender, Receiver(receiver))
}

/// Opens a connection with this window for each stream, and for the connection if the window is large.
pub(crate) async fn connect_with_window(address: SocketAddr, bytes: u32) -> (Sender, Receiver) {
    let (mut sender, receiver) = connect(address).await;
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let mut setting = vec![0, 4];
    setting.extend(bytes.to_be_bytes());
    sender.send(SETTINGS, 0, 0, &setting).await.unwrap();
    if bytes > u32::from(u16::MAX) {
        let more = bytes - u32::from(u16::MAX);
        sender.send(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()).await.unwrap();
    }
    (sender, receiver)
}

/// A message with its gRPC frame header.
pub(crate) fn framed(message: &impl prost::Message) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    message.encode(&mut bytes).unwrap();
    bytes
}

impl Sender {
    pub(crate) async fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap();
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await
    }
}

impl Sender {
    /// Sends a complete call.
    pub(crate) async fn call(&mut self, stream: u32, method: &str, message: &[u8]) {
        self.send(HEADERS, END_HEADERS, stream, &call_headers(method)).await.unwrap();
        self.send(DATA, END_STREAM, stream, message).await.unwrap();
    }
}

impl Receiver {
    /// The next frame, or `None` if the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], stream, payload })
    }

    /// All frames until the connection is closed.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

/// The headers of a call, uncompressed (RFC 7541, section 6.2.2).
pub(crate) fn call_headers(method: &str) -> Vec<u8> {
    let path = format!("/tara.export.v1.ExportService/{method}");
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.extend(header(name, value.as_bytes()));
    }
    block
}

pub(crate) fn header(name: &str, value: &[u8]) -> Vec<u8> {
    let mut line = vec![0];
    for text in [name.as_bytes(), value] {
        line.extend(integer(text.len()));
        line.extend(text);
    }
    line
}

/// An integer with a 7-bit prefix (RFC 7541, section 5.1).
fn integer(mut value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![value as u8];
    }
    let mut bytes = vec![127];
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

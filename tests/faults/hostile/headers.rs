//! Oversized and endless headers.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::peer::{
    CONTINUATION, END_HEADERS, END_STREAM, FRAME_BYTES, GOAWAY, HEADERS, Receiver, SETTINGS,
    call_headers, connect, header,
};
use crate::{
    following::committed,
    harness::{Host, within},
    requests::request,
};

/// More than the server accepts. The test ends long before.
const ENDLESS: usize = 64 * 1024 * 1024;

/// The kind of the first frame of a stream, or GOAWAY.
async fn first_frame(receiver: &mut Receiver, stream: u32) -> Option<u8> {
    while let Some(frame) = receiver.next().await {
        if frame.stream == stream || frame.kind == GOAWAY {
            return Some(frame.kind);
        }
    }
    None
}

#[tokio::test]
async fn oversized_header_is_refused_and_the_connection_stays() {
    let host = Host::new();
    let server = host.start().await;
    let (mut sender, mut receiver) = connect(server.address).await;
    let mut block = call_headers("ListExports");
    block.extend(header("x-large", &[b'a'; 100 * 1024]));
    let (first, rest) = block.split_at(FRAME_BYTES);
    sender.send(HEADERS, END_STREAM, 1, first).await.unwrap();
    let pieces: Vec<&[u8]> = rest.chunks(FRAME_BYTES).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let flags = if index + 1 == pieces.len() { END_HEADERS } else { 0 };
        sender.send(CONTINUATION, flags, 1, piece).await.unwrap();
    }
    let refused = within("a response", first_frame(&mut receiver, 1)).await;
    assert_ne!(refused, Some(GOAWAY), "the connection stays open");
    let flags = END_HEADERS | END_STREAM;
    sender.send(HEADERS, flags, 3, &call_headers("ListExports")).await.unwrap();
    assert_eq!(within("a response", first_frame(&mut receiver, 3)).await, Some(HEADERS));
}

#[tokio::test]
async fn endless_headers_end_the_connection() {
    let host = Host::new();
    let mut server = host.start().await;
    let (mut sender, mut receiver) = connect(server.address).await;
    sender.send(HEADERS, END_STREAM, 1, &call_headers("ListExports")).await.unwrap();
    let piece = vec![b'a'; FRAME_BYTES - 1024];
    let block = header("x-large", &piece);
    let sending = async {
        let mut sent = 0;
        while sent < ENDLESS && sender.send(CONTINUATION, 0, 1, &block).await.is_ok() {
            sent += block.len();
        }
        sent
    };
    // The server no longer reads what the client sends.
    let (sent, frames) = within("the end", async { tokio::join!(sending, receiver.rest()) }).await;
    assert!(sent < ENDLESS, "{sent} bytes of headers were accepted");
    assert!(
        frames
            .iter()
            .all(|frame| frame.kind == GOAWAY || frame.kind == SETTINGS || frame.stream <= 1)
    );
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

async fn send_endless_http_1_headers(address: SocketAddr) -> (usize, String) {
    let (mut receiver, mut sender) = TcpStream::connect(address).await.unwrap().into_split();
    let line = format!("x-large: {}\r\n", "a".repeat(8 * 1024));
    let sending = async {
        let mut sent = 0;
        let mut part = "GET /healthz HTTP/1.1\r\nhost: x\r\n".to_owned();
        while sent < ENDLESS && sender.write_all(part.as_bytes()).await.is_ok() {
            sent += part.len();
            part.clone_from(&line);
        }
        sent
    };
    let mut response = Vec::new();
    let (sent, _) = tokio::join!(sending, receiver.read_to_end(&mut response));
    (sent, String::from_utf8_lossy(&response).into_owned())
}

#[tokio::test]
async fn endless_http_1_headers_end_the_connection() {
    let host = Host::new();
    let mut server = host.start().await;
    let (sent, response) = within("the end", send_endless_http_1_headers(server.address)).await;
    assert!(sent < ENDLESS, "{sent} bytes of headers were accepted");
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431"), "{response}");
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

//! Headers without an end.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    following::committed,
    harness::{Host, within},
    peer::{
        CONTINUATION, END_HEADERS, END_STREAM, FRAME_BYTES, GOAWAY, HEADERS, Receiver, SETTINGS,
        call_headers, connect, header,
    },
    requests::request,
};

/// More than any server would take; the test ends long before.
const ENDLESS: usize = 64 * 1024 * 1024;

/// The first frame of a stream that is an answer or a refusal.
async fn answer(receiver: &mut Receiver, stream: u32) -> Option<u8> {
    while let Some(frame) = receiver.next().await {
        if frame.stream == stream || frame.kind == GOAWAY {
            return Some(frame.kind);
        }
    }
    None
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused_and_the_connection_goes_on() {
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
    let refused = within("an answer", answer(&mut receiver, 1)).await;
    assert_ne!(refused, Some(GOAWAY), "the connection is as good as before");
    let flags = END_HEADERS | END_STREAM;
    sender.send(HEADERS, flags, 3, &call_headers("ListExports")).await.unwrap();
    assert_eq!(within("an answer", answer(&mut receiver, 3)).await, Some(HEADERS));
}

#[tokio::test]
async fn headers_without_an_end_are_cut_off() {
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
    // Whatever it still sends, nobody reads.
    let (sent, frames) = within("the end", async { tokio::join!(sending, receiver.rest()) }).await;
    assert!(sent < ENDLESS, "{sent} bytes of headers were taken");
    assert!(
        frames
            .iter()
            .all(|frame| frame.kind == GOAWAY || frame.kind == SETTINGS || frame.stream <= 1)
    );
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

async fn http_1(address: SocketAddr) -> (usize, String) {
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
    let mut answer = Vec::new();
    let (sent, _) = tokio::join!(sending, receiver.read_to_end(&mut answer));
    (sent, String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn headers_of_http_1_have_an_end_too() {
    let host = Host::new();
    let mut server = host.start().await;
    let (sent, answer) = within("the end", http_1(server.address)).await;
    assert!(sent < ENDLESS, "{sent} bytes of headers were taken");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

//! Plain HTTP on a port with TLS: the client gets an answer that it can show, instead of a TLS alert.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// The start of HTTP/2's preface (RFC 9113, section 3.4). No method of HTTP/1.1 begins with it.
const HTTP_2: &[u8] = b"PRI";
/// What the client should do, in the response.
const ADVICE: &str = "this port requires TLS: use https:// instead of http://";
/// The most bytes of the request that are read and dropped. With unread bytes, the system would reset the connection,
/// and the client could lose the response.
const DRAINED_BYTES: u64 = 1024 * 1024;

/// Answers a client that sends plain HTTP, and returns the protocol's name. Returns `None`, and reads nothing, if the
/// client starts a handshake or closes the connection.
pub(super) async fn answer(connection: &mut TcpStream) -> io::Result<Option<&'static str>> {
    let mut first = [0];
    let length = connection.peek(&mut first).await?;
    // Requests start with the name of a method, and the preface with a capital letter too.
    if length == 0 || first[0] == TLS_HANDSHAKE || !first[0].is_ascii_uppercase() {
        return Ok(None);
    }
    let mut start = [0; HTTP_2.len()];
    connection.read_exact(&mut start).await?;
    let (protocol, response) = match start == HTTP_2 {
        true => ("HTTP/2", http_2_response()),
        false => ("HTTP/1.1", http_1_response()),
    };
    connection.write_all(&response).await?;
    connection.shutdown().await?;
    let rest = connection.take(DRAINED_BYTES);
    tokio::io::copy(&mut { rest }, &mut tokio::io::sink()).await?;
    Ok(Some(protocol))
}

fn http_1_response() -> Vec<u8> {
    let length = ADVICE.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{ADVICE}\n"
    )
    .into_bytes()
}

/// GOAWAY (RFC 9113, section 6.8) with INADEQUATE_SECURITY. Several gRPC clients show its debug data.
///
/// Without SETTINGS, which a server sends first: after them, gRPC core takes the connection as established, and opens
/// another one at once, hundreds in a second until the call's deadline.
fn http_2_response() -> Vec<u8> {
    const INADEQUATE_SECURITY: u8 = 0xc;
    let length = u8::try_from(8 + ADVICE.len()).unwrap_or(u8::MAX);
    let go_away = [0, 0, length, 7, 0, 0, 0, 0, 0];
    let fields = [0, 0, 0, 0, 0, 0, 0, INADEQUATE_SECURITY];
    [&go_away[..], &fields, ADVICE.as_bytes()].concat()
}

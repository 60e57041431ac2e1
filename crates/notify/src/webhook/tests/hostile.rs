//! Receivers that hang, never end, or break the protocol.

use std::time::Instant;

use tara_export_events::testing::sample;
use tokio::io::AsyncWrite;

use super::*;
use crate::{SendError, SendErrorKind, Sender as _};

const TIMEOUT: Duration = Duration::from_millis(400);
/// What a receiver can write before the connection is closed: what is read, and what the system buffers.
const WRITTEN_LIMIT_BYTES: u64 = 32 * 1024 * 1024;

/// Sends one event to a receiver, which must end in time.
async fn send(url: &str) -> Result<(), SendError> {
    let start = Instant::now();
    let result = sender_with(url, TIMEOUT, &context()).send(&[sample(EventType::Synced, 1)]).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    result
}

async fn fails_with(url: &str, expected: &str) {
    let error = send(url).await.unwrap_err();
    assert_eq!(error.kind, SendErrorKind::Unavailable, "{error}");
    assert_eq!(error.message, format!("127.0.0.1: {expected}"));
}

/// Writes the bytes until the peer closes the connection; returns how many it wrote.
async fn write_without_end(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> u64 {
    let mut written_bytes = 0;
    while stream.write_all(bytes).await.is_ok() {
        written_bytes += bytes.len() as u64;
        assert!(written_bytes < WRITTEN_LIMIT_BYTES, "{written_bytes} bytes were read");
    }
    written_bytes
}

/// A receiver that writes these bytes after the request, and repeats the others without end. Its channel gets the
/// number of bytes.
async fn endless(
    start: &'static str,
    repeated: &'static str,
) -> (String, mpsc::UnboundedReceiver<u64>) {
    let (counts, written) = mpsc::unbounded_channel();
    let url = receiver(move |mut stream| {
        let counts = counts.clone();
        async move {
            receive(&mut stream).await;
            stream.write_all(start.as_bytes()).await.unwrap();
            let repeated = repeated.repeat(64 * 1024 / repeated.len());
            counts.send(write_without_end(&mut stream, repeated.as_bytes()).await).unwrap();
        }
    })
    .await;
    (url, written)
}

#[tokio::test]
async fn receiver_that_never_answers_is_a_timeout() {
    let url = receiver(|mut stream| async move {
        receive(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    fails_with(&url, "no response within 0.4 s").await;
}

#[tokio::test]
async fn receiver_that_accepts_and_never_reads_is_a_timeout() {
    let url = receiver(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    fails_with(&url, "no response within 0.4 s").await;
}

#[tokio::test]
async fn tls_handshake_that_hangs_is_a_timeout() {
    let url = receiver(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    fails_with(&url.replace("http://", "https://"), "no response within 0.4 s").await;
}

/// Never answers.
#[derive(Debug)]
struct HangingResolver;

#[async_trait::async_trait]
impl Resolve for HangingResolver {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn resolver_that_hangs_is_a_timeout() {
    let context = TargetContext { resolver: Arc::new(HangingResolver), ..context() };
    let sender = sender_with("https://hook.test/", TIMEOUT, &context);
    for result in [sender.send(&[sample(EventType::Synced, 1)]).await, sender.check().await] {
        assert_eq!(result.unwrap_err().message, "hook.test: no response within 0.4 s");
    }
}

#[tokio::test]
async fn success_after_the_timeout_is_a_failure() {
    let (closed, mut was_closed) = mpsc::unbounded_channel();
    let url = receiver(move |mut stream| {
        let closed = closed.clone();
        async move {
            receive(&mut stream).await;
            // Until the sender has closed the connection.
            let read = stream.read(&mut [0]).await;
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
            closed.send(read.is_err() || read.is_ok_and(|read_bytes| read_bytes == 0)).unwrap();
        }
    })
    .await;
    fails_with(&url, "no response within 0.4 s").await;
    assert!(was_closed.recv().await.unwrap());
}

#[tokio::test]
async fn headers_that_drip_are_a_timeout() {
    let url = receiver(|mut stream| async move {
        receive(&mut stream).await;
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" {
            interval.tick().await;
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    })
    .await;
    fails_with(&url, "no response within 0.4 s").await;
}

#[tokio::test]
async fn body_that_hangs_or_drips_does_not_change_the_answer() {
    for (status, expected) in [("200 OK", None), ("404 Not Found", Some(SendErrorKind::Refused))] {
        let url = receiver(move |mut stream| async move {
            receive(&mut stream).await;
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 100\r\n\r\nx");
            stream.write_all(head.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        // Also if the time ends while the body is read.
        assert_eq!(send(&url).await.err().map(|error| error.kind), expected);
    }
}

#[tokio::test]
async fn large_and_endless_bodies_are_not_read() {
    for start in
        ["HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"]
    {
        let (url, mut written) = endless(start, "x").await;
        sender(&url).send(&[sample(EventType::Synced, 1)]).await.unwrap();
        assert!(written.recv().await.unwrap() < WRITTEN_LIMIT_BYTES);
    }
}

#[tokio::test]
async fn endless_headers_are_a_failure() {
    for (start, repeated, expected) in [
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n", "the response's headers are too large"),
        ("HTTP/1.1 200 OK\r\na: ", "x", "the response's headers are too large"),
        ("", "x", "the response is not HTTP"),
    ] {
        let (url, mut written) = endless(start, repeated).await;
        fails_with(&url, expected).await;
        assert!(written.recv().await.unwrap() < WRITTEN_LIMIT_BYTES);
    }
}

#[tokio::test]
async fn endless_interim_responses_are_a_timeout() {
    let url = receiver(|mut stream| async move {
        receive(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {}
    })
    .await;
    fails_with(&url, "no response within 0.4 s").await;
}

#[tokio::test]
async fn lost_connections_are_failures() {
    let reset = receiver(|mut stream| async move {
        receive(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    fails_with(&reset, "the connection was lost: connection reset").await;
    let closed = receiver(|mut stream| async move { drop(receive(&mut stream).await) }).await;
    fails_with(&closed, "the connection was lost").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    fails_with(&url, "cannot connect: connection refused").await;
}

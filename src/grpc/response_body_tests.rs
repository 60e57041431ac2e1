#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use tara_export_limits::CallerKey;
use tokio::time::advance;
use tonic::Code;

use super::*;
use crate::grpc::readers::{ReadLimits, Readers};

const IDLE: Duration = Duration::from_secs(30);
const MIB: usize = 1024 * 1024;

fn limits() -> ResponseLimits {
    ResponseLimits { idle_timeout: IDLE, deadline: None, unsent: None }
}

/// A body of these frames that never ends, and whether it was dropped.
fn endless(frames: Vec<Bytes>) -> (Body, Arc<AtomicBool>) {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Dropped(dropped.clone());
    let frames = stream::iter(frames).chain(stream::pending()).map(move |data| {
        let _ = &guard;
        Ok::<_, Status>(Frame::data(data))
    });
    (Body::new(StreamBody::new(frames)), dropped)
}

/// A guarded response of two mebibytes that does not end.
fn guarded(permit: Option<ReadPermit>) -> (Body, Arc<AtomicBool>) {
    let (body, dropped) = endless(vec![Bytes::from(vec![7; MIB]), Bytes::from(vec![8; MIB])]);
    let mut response = http::Response::new(body);
    if let Some(permit) = permit {
        response.extensions_mut().insert(Admitted::new(permit));
    }
    (guard(response, limits()).into_body(), dropped)
}

async fn data(body: &mut Body) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

/// Advances the time, and runs the timers that are due.
async fn advance_by(time: Duration) {
    for _ in 0..4 {
        advance(time / 4).await;
        tokio::task::yield_now().await;
    }
}

/// The status that ends a body, and the bytes before it.
async fn end(body: &mut Body) -> (Status, usize) {
    let mut size_bytes = 0;
    loop {
        match body.frame().await.unwrap().unwrap().into_data() {
            Ok(data) => size_bytes += data.len(),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap();
                return (Status::from_header_map(&trailers).unwrap(), size_bytes);
            }
        }
    }
}

#[tokio::test]
async fn response_arrives_complete_in_small_pieces() {
    let content: Vec<u8> = (0..100_000).map(|at| at as u8).collect();
    let frames = [Bytes::from(content.clone()), Bytes::from_static(b"end")];
    let frames = stream::iter(frames.map(|data| Ok::<_, Status>(Frame::data(data))));
    let response = http::Response::new(StreamBody::new(frames));
    let mut body = guard(response, limits()).into_body();
    let (mut received, mut pieces) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        pieces.push(data.len());
        received.extend_from_slice(&data);
    }
    // The end of each message is sent separately, after the rest of the message.
    let last = content.len() - LAST_PIECE_BYTES;
    let rest = last % PIECE_BYTES;
    let full_pieces = vec![PIECE_BYTES; last / PIECE_BYTES];
    assert_eq!(pieces, [&full_pieces[..], &[rest, LAST_PIECE_BYTES, 3]].concat());
    assert!(received == [&content[..], b"end"].concat());
}

#[tokio::test(start_paused = true)]
async fn idle_reader_drops_the_source() {
    let (mut body, dropped) = guarded(None);
    data(&mut body).await;
    advance_by(IDLE - Duration::from_secs(1)).await;
    data(&mut body).await;
    advance_by(IDLE - Duration::from_secs(1)).await;
    assert!(!dropped.load(Ordering::SeqCst));
    advance_by(Duration::from_secs(2)).await;
    assert!(dropped.load(Ordering::SeqCst));
    let (status, size_bytes) = end(&mut body).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("READ_IDLE_TIMEOUT"), "{status:?}");
    assert_eq!(size_bytes, 0, "the rest of a large message is not kept");
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn idle_reader_gets_rest_of_small_message() {
    let (body, _) =
        endless(vec![Bytes::from(vec![7; KEPT_LIMIT_BYTES]), Bytes::from(vec![8; MIB])]);
    let mut body = guard(http::Response::new(body), limits()).into_body();
    let first = data(&mut body).await.len();
    advance_by(IDLE * 2).await;
    let (status, size_bytes) = end(&mut body).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(first + size_bytes, KEPT_LIMIT_BYTES);
}

#[tokio::test(start_paused = true)]
async fn response_that_waits_for_the_server_is_not_idle() {
    let (body, dropped) = endless(vec![Bytes::from_static(b"event")]);
    let mut body = guard(http::Response::new(body), limits()).into_body();
    data(&mut body).await;
    assert!(futures::poll!(body.frame()).is_pending());
    advance_by(IDLE * 10).await;
    assert!(!dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn unread_stream_is_reset() {
    let started = Instant::now();
    let stream = async {
        let (mut body, _) = guarded(None);
        data(&mut body).await;
        pending::<()>().await;
    };
    stream_reset::resettable(stream).await;
    assert_eq!(started.elapsed(), IDLE * 2);
}

fn readers(downloads: u32, shutdown: &CancellationToken) -> Readers {
    let limits = ReadLimits {
        memory_bytes: 64 * MIB as u64,
        download_bytes: MIB as u64,
        downloads,
        admission_timeout: Duration::from_secs(2),
    };
    Readers::new(limits, shutdown.clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn idle_download_ends_for_caller_with_fewer() {
    let readers = readers(2, &CancellationToken::new());
    let (greedy, other) = (CallerKey::named("greedy"), CallerKey::named("other"));
    let (mut first, _) = guarded(Some(readers.reserve_download(&greedy).await.unwrap()));
    let (mut second, _) = guarded(Some(readers.reserve_download(&greedy).await.unwrap()));
    data(&mut first).await;
    advance_by(Duration::from_secs(2)).await;
    // The second download is read.
    data(&mut second).await;
    let permit = readers.reserve_download(&other).await.unwrap();
    let (status, _) = end(&mut first).await;
    assert!(status.message().contains("MAX_CONCURRENT_DOWNLOADS"), "{status:?}");
    data(&mut second).await;
    // Both callers have one download now: no other ends.
    advance_by(Duration::from_secs(2)).await;
    let overloaded = readers.reserve_download(&other).await.unwrap_err();
    assert_eq!(overloaded.setting, "MAX_CONCURRENT_DOWNLOADS");
    data(&mut second).await;
    drop((permit, second));
    readers.reserve_download(&other).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn active_download_ends_for_others_after_its_read_time() {
    let readers = readers(2, &CancellationToken::new());
    let (greedy, other) = (CallerKey::named("greedy"), CallerKey::named("other"));
    let (mut first, _) = guarded(Some(readers.reserve_download(&greedy).await.unwrap()));
    let (mut second, _) = guarded(Some(readers.reserve_download(&greedy).await.unwrap()));
    for refused in [true, false] {
        let reading = async {
            loop {
                for body in [&mut first, &mut second] {
                    data(body).await;
                }
                tokio::time::sleep(Duration::from_millis(900)).await;
            }
        };
        let permit = tokio::select! {
            permit = readers.reserve_download(&other) => permit,
            () = reading => unreachable!(),
        };
        assert_eq!(permit.is_err(), refused);
        advance(Duration::from_secs(29)).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn downloads_end_at_once_at_shutdown() {
    let shutdown = CancellationToken::new();
    let readers = readers(2, &shutdown);
    let caller = CallerKey::server();
    let (mut unread, dropped) = guarded(Some(readers.reserve_download(&caller).await.unwrap()));
    data(&mut unread).await;
    shutdown.cancel();
    while !dropped.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let (status, _) = end(&mut unread).await;
    assert!(status.message().contains("shutting down"), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn small_response_does_not_wait_for_large_ones() {
    let readers = readers(2, &CancellationToken::new());
    let caller = CallerKey::server();
    let all = readers.reserve_response(&caller, u64::MAX).await.unwrap();
    let overloaded = readers.reserve_response(&caller, 2 * MIB as u64).await.unwrap_err();
    assert_eq!(overloaded.setting, "MAX_READ_MEMORY");
    let mut small = readers.reserve_response(&caller, 1024).await.unwrap();
    // A response that turns out to be large waits, and keeps its reservation.
    assert!(small.grow_to(2 * MIB as u64).await.is_err());
    drop(all);
    small.grow_to(2 * MIB as u64).await.unwrap();
}

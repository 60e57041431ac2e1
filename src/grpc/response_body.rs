//! The body of every response: sent in small pieces, and ended if its reader does not read it.
//!
//! hyper polls a body, and polls it again when the reader's window and the socket have accepted the bytes. In between,
//! the body waits for the reader. A timer outside of the body measures this wait, because hyper does not poll the body
//! meanwhile. After `READ_IDLE_TIMEOUT` the timer drops the source (the file, the connection to S3, further messages)
//! and returns the reservation. A reader that resumes gets the rest of its message and UNAVAILABLE, STREAM_ENDED_EARLY.
//! If the reader does not resume, its stream is reset.
//!
//! The same happens at once when the server shuts down, at `MAX_STREAM_TIME`, and when other callers need the
//! reservation. App Runner and some proxies limit the time of a request: a caller cannot distinguish a connection that
//! they closed from a failure, but can resume a stream that ends with a status at once.

use std::{
    future::pending,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use tara_export_telemetry::names;
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{
    admitted::Admitted,
    readers::{EndPriority, EndReason, ReadPermit},
    status::stream_ended_early,
    stream_reset,
    unsent::{HandedOver, Unsent},
};

/// The largest piece: the size of HTTP/2's frames, and the bytes that a connection buffers of a stream whose window is
/// closed.
const PIECE_BYTES: usize = 16 * 1024;
/// The largest last piece of a frame. The connection accepts a complete piece if the reader's window has capacity for
/// one byte, and can therefore keep the last piece after the response has ended and returned its reservation.
const LAST_PIECE_BYTES: usize = 256;
/// The largest rest of a message that is kept for an idle reader, so that it gets complete messages.
const KEPT_LIMIT_BYTES: usize = 128 * 1024;
/// The minimum time that a stream that ended early may stay unread before it is reset. A longer idle timeout applies
/// here too.
const RESET_AFTER: Duration = Duration::from_secs(5);

/// Limits on one response.
#[derive(Debug, Clone)]
pub struct ResponseLimits {
    /// How long its reader may read nothing (`READ_IDLE_TIMEOUT`).
    pub idle_timeout: Duration,
    /// When it ends at the latest (`MAX_STREAM_TIME`).
    pub deadline: Option<Instant>,
    /// The unsent bytes of its connection.
    pub unsent: Option<Arc<Unsent>>,
}

/// Applies the limits to a response. Must be inside of gRPC-Web and outside of the API, whose reservation it keeps
/// until the body is dropped.
pub fn guard<B>(mut response: http::Response<B>, limits: ResponseLimits) -> http::Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let permit = response.extensions_mut().remove::<Admitted<ReadPermit>>();
    let permit = permit.and_then(|admitted| admitted.take());
    response.map(|body| {
        let body = Body::new(body);
        if body.is_end_stream() { body } else { Body::new(GuardedBody::new(body, limits, permit)) }
    })
}

struct GuardedBody {
    shared: Arc<SharedResponse>,
    limits: ResponseLimits,
    watching: AbortHandle,
}

/// A response, shared by its body, its timer and the limits on all readers.
pub(super) struct SharedResponse {
    state: Mutex<State>,
    ended: Notify,
    started: Instant,
    /// Resets its stream if it is cancelled.
    reset: Option<CancellationToken>,
}

struct State {
    /// `None` once the response has ended.
    source: Option<Body>,
    /// The unsent rest of the current frame.
    rest: Bytes,
    /// The last piece, until the connection has accepted it.
    handed_over: Option<HandedOver>,
    /// The status of an early end, until it is sent.
    early_end: Option<HeaderMap>,
    /// Since when it waits for the reader. `None` while it waits for the source.
    waiting_since: Option<Instant>,
    waker: Option<Waker>,
    permit: Option<ReadPermit>,
}

impl GuardedBody {
    fn new(body: Body, limits: ResponseLimits, permit: Option<ReadPermit>) -> Self {
        let shutdown = permit.as_ref().and_then(ReadPermit::shutdown_token);
        let state = State {
            source: Some(body),
            rest: Bytes::new(),
            handed_over: None,
            early_end: None,
            waiting_since: Some(Instant::now()),
            waker: None,
            permit,
        };
        let shared = Arc::new(SharedResponse {
            state: Mutex::new(state),
            ended: Notify::new(),
            started: Instant::now(),
            reset: stream_reset::current_reset_token(),
        });
        if let Some(permit) = &shared.lock().permit {
            permit.set_response(&shared);
        }
        let watching = tokio::spawn(watch(shared.clone(), limits.clone(), shutdown));
        Self { shared, limits, watching: watching.abort_handle() }
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut state = self.shared.lock();
        if let Some(unsent) = &self.limits.unsent {
            if let Some(handed_over) = state.handed_over.take() {
                unsent.accepted(handed_over);
            }
            // Still waits for the reader.
            if !unsent.has_capacity(context) {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        if self.limits.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            state.end(EndReason::StreamTime, self.limits.idle_timeout);
        }
        let polled = state.poll(context);
        match &polled {
            Poll::Ready(frame) => {
                state.waiting_since = Some(Instant::now());
                let size_bytes = frame
                    .as_ref()
                    .and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
                let unsent = self.limits.unsent.as_ref();
                state.handed_over =
                    unsent.zip(size_bytes).map(|(unsent, size)| unsent.hand_over(size));
            }
            Poll::Pending => {
                state.waiting_since = None;
                state.waker = Some(context.waker().clone());
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.lock();
        state.rest.is_empty()
            && state.early_end.is_none()
            && state.source.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

impl Drop for GuardedBody {
    fn drop(&mut self) {
        self.watching.abort();
        self.shared.clear();
    }
}

impl State {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.has_remaining() {
            return Poll::Ready(Some(Ok(self.next_piece())));
        }
        if let Some(trailers) = self.early_end.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let polled = Pin::new(source).poll_frame(context);
        match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.len() > LAST_PIECE_BYTES => {
                    self.rest = data;
                    Poll::Ready(Some(Ok(self.next_piece())))
                }
                Ok(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(frame) => {
                    self.source = None;
                    Poll::Ready(Some(Ok(frame)))
                }
            },
            Poll::Ready(end) => {
                self.source = None;
                Poll::Ready(end)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Copies the piece, because a slice would keep the complete frame in memory until the connection has sent it.
    fn next_piece(&mut self) -> Frame<Bytes> {
        let size_bytes = match self.rest.len().checked_sub(LAST_PIECE_BYTES) {
            Some(before_last @ 1..) => before_last.min(PIECE_BYTES),
            _ => self.rest.len(),
        };
        let piece = Bytes::copy_from_slice(&self.rest[..size_bytes]);
        self.rest.advance(size_bytes);
        if self.rest.is_empty() {
            self.rest = Bytes::new();
        }
        Frame::data(piece)
    }

    /// Ends the response early. Returns the source, which must be dropped without the lock.
    fn end(&mut self, reason: EndReason, idle_timeout: Duration) -> Option<Body> {
        let source = self.source.take()?;
        self.early_end = Some(early_end_trailers(reason, idle_timeout));
        if matches!(reason, EndReason::Idle | EndReason::Contended)
            && self.rest.len() > KEPT_LIMIT_BYTES
        {
            self.rest = Bytes::new();
        }
        if let Some(permit) = &mut self.permit {
            permit.release_early();
        }
        names::RESPONSES_ENDED_EARLY.add(1, [reason.as_str()]);
        Some(source)
    }
}

impl SharedResponse {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long its reader has read nothing.
    fn idle_for(&self) -> Duration {
        self.lock().waiting_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The priority of ending it for other callers. `None` if it must not be ended.
    pub(super) fn end_priority(&self) -> Option<EndPriority> {
        let ended = self.lock().source.is_none();
        EndPriority::of(self.started.elapsed(), self.idle_for(), ended)
    }

    /// Resets its stream without a status, if possible.
    pub(super) fn reset(&self) {
        if let Some(reset) = &self.reset {
            reset.cancel();
        }
    }

    /// Ends the response early.
    pub(super) fn end(&self, reason: EndReason, idle_timeout: Duration) {
        let (source, waker) = {
            let mut state = self.lock();
            (state.end(reason, idle_timeout), state.waker.take())
        };
        drop(source);
        self.ended.notify_one();
        waker.into_iter().for_each(Waker::wake);
    }

    fn clear(&self) {
        let (source, rest, permit) = {
            let mut state = self.lock();
            (state.source.take(), mem::take(&mut state.rest), state.permit.take())
        };
        drop((source, rest, permit));
    }
}

/// Ends a response that must end, and resets its stream if the reader does not read the status.
async fn watch(
    shared: Arc<SharedResponse>,
    limits: ResponseLimits,
    shutdown: Option<CancellationToken>,
) {
    let at_stream_time = async {
        match limits.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    let at_shutdown = async {
        match shutdown {
            Some(shutdown) => shutdown.cancelled_owned().await,
            None => pending().await,
        }
    };
    let when_idle = async {
        loop {
            let left = limits.idle_timeout.saturating_sub(shared.idle_for());
            if left.is_zero() {
                break;
            }
            sleep(left).await;
        }
    };
    let cause = tokio::select! {
        () = at_shutdown => Some(EndReason::Shutdown),
        () = at_stream_time => Some(EndReason::StreamTime),
        () = shared.ended.notified() => None,
        () = when_idle => Some(EndReason::Idle),
    };
    if let Some(cause) = cause {
        shared.end(cause, limits.idle_timeout);
    }
    sleep(RESET_AFTER.max(limits.idle_timeout)).await;
    shared.reset();
}

fn early_end_trailers(reason: EndReason, idle_timeout: Duration) -> HeaderMap {
    const RESUME: &str =
        "watch the export again, or continue the download at the offset after the last byte";
    let message = match reason {
        EndReason::StreamTime => {
            format!("the response reached the time limit (MAX_STREAM_TIME): {RESUME}")
        }
        EndReason::Idle => format!(
            "the response was not read for {} (READ_IDLE_TIMEOUT): {RESUME}",
            humantime::format_duration(idle_timeout)
        ),
        EndReason::Contended => format!(
            "the response was ended for another caller (MAX_CONCURRENT_DOWNLOADS, MAX_READ_MEMORY): {RESUME}"
        ),
        EndReason::Shutdown => format!("the server is shutting down: {RESUME}"),
    };
    let mut trailers = HeaderMap::new();
    // Fails only for texts that are not valid in headers, and these texts are constants.
    if stream_ended_early(&message).add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("14"));
    }
    trailers
}

#[cfg(test)]
#[path = "response_body_tests.rs"]
mod tests;

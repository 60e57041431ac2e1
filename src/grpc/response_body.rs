//! Every answer's body: handed over in small pieces, and ended when its reader does not read it.
//!
//! hyper asks a body for bytes, and asks again when the reader's window and the socket took them. In
//! between it is the reader's turn. A timer outside the body watches how long that lasts, because hyper
//! does not look at the body meanwhile. After `READ_IDLE_TIMEOUT` it drops the source (the file, the
//! connection to S3, messages ahead) and gives back what was reserved. A reader that comes back gets the
//! rest of its message and UNAVAILABLE, STREAM_ENDED_EARLY; the stream of one that does not is reset.
//!
//! The same happens at once when the server stops, at `MAX_STREAM_TIME`, and when other callers need the
//! room. App Runner and some proxies limit the time of a request: a caller that is cut off cannot
//! distinguish that from a failure, and one whose stream ends with a status resumes at once.

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
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{
    admitted::Admitted,
    readers::{Ending, ReadPermit, Standing},
    status::stream_ended_early,
    stream_reset,
    unsent::{Handed, Unsent},
};
use crate::telemetry::names;

/// The most that is handed over at once: the size of HTTP/2's frames, and what a connection holds of
/// a stream whose window is closed.
const PIECE_BYTES: usize = 16 * 1024;
/// The most of a frame that is handed over last. The connection accepts a piece whole when the reader's
/// window has room for one byte of it, and so can keep the last one for good, after the answer has ended
/// and its room was returned.
const LAST_PIECE_BYTES: usize = 256;
/// The most of a message that is kept for a reader that does not read, so that it gets whole messages.
const KEPT_BYTES: usize = 128 * 1024;
/// How long a stream that ended early may stay unread at least before it is reset; a longer idle timeout
/// counts for this too.
const RESET_AFTER: Duration = Duration::from_secs(5);

/// Limits on one answer.
#[derive(Debug, Clone)]
pub struct AnswerLimits {
    /// How long its reader may take nothing (`READ_IDLE_TIMEOUT`).
    pub idle_timeout: Duration,
    /// When it ends at the latest (`MAX_STREAM_TIME`).
    pub until: Option<Instant>,
    /// What its connection has not sent.
    pub unsent: Option<Arc<Unsent>>,
}

/// The same response within these limits. Belongs below what makes gRPC-Web of it, and above the API,
/// whose reservation it keeps until the body is dropped.
pub fn guard<B>(mut response: http::Response<B>, limits: AnswerLimits) -> http::Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let permit = response.extensions_mut().remove::<Admitted<ReadPermit>>();
    let permit = permit.and_then(|admitted| admitted.taken());
    response.map(|body| {
        let body = Body::new(body);
        if body.is_end_stream() { body } else { Body::new(GuardedBody::new(body, limits, permit)) }
    })
}

struct GuardedBody {
    answer: Arc<Answer>,
    limits: AnswerLimits,
    watching: AbortHandle,
}

/// What the body, its timer and the limits on all readers share.
pub(super) struct Answer {
    state: Mutex<State>,
    ended: Notify,
    started: Instant,
    /// Resets its stream.
    reset: Option<CancellationToken>,
}

struct State {
    /// `None` once it has ended.
    source: Option<Body>,
    /// What is left of the frame that is being handed over.
    rest: Bytes,
    /// The piece that was handed over last, until the connection has accepted it.
    handed: Option<Handed>,
    /// The status of an early end, until it is sent.
    early_end: Option<HeaderMap>,
    /// Since when it is the reader's turn; `None` while it is the source's.
    readers_turn: Option<Instant>,
    waker: Option<Waker>,
    permit: Option<ReadPermit>,
}

impl GuardedBody {
    fn new(body: Body, limits: AnswerLimits, permit: Option<ReadPermit>) -> Self {
        let ending = permit.as_ref().and_then(ReadPermit::ending);
        let state = State {
            source: Some(body),
            rest: Bytes::new(),
            handed: None,
            early_end: None,
            readers_turn: Some(Instant::now()),
            waker: None,
            permit,
        };
        let answer = Arc::new(Answer {
            state: Mutex::new(state),
            ended: Notify::new(),
            started: Instant::now(),
            reset: stream_reset::current(),
        });
        if let Some(permit) = &answer.lock().permit {
            permit.belongs_to(&answer);
        }
        let watching = tokio::spawn(watch(answer.clone(), limits.clone(), ending));
        Self { answer, limits, watching: watching.abort_handle() }
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut state = self.answer.lock();
        if let Some(unsent) = &self.limits.unsent {
            if let Some(handed) = state.handed.take() {
                unsent.accepted(handed);
            }
            // It is still the reader's turn.
            if !unsent.has_room(context) {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        if self.limits.until.is_some_and(|until| until <= Instant::now()) {
            state.end(Ending::StreamTime, self.limits.idle_timeout);
        }
        let polled = state.poll(context);
        match &polled {
            Poll::Ready(frame) => {
                state.readers_turn = Some(Instant::now());
                let size_bytes = frame
                    .as_ref()
                    .and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
                let unsent = self.limits.unsent.as_ref();
                state.handed = unsent.zip(size_bytes).map(|(unsent, size)| unsent.handing(size));
            }
            Poll::Pending => {
                state.readers_turn = None;
                state.waker = Some(context.waker().clone());
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let state = self.answer.lock();
        state.rest.is_empty()
            && state.early_end.is_none()
            && state.source.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

impl Drop for GuardedBody {
    fn drop(&mut self) {
        self.watching.abort();
        self.answer.clear();
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

    /// A copy, because a slice would keep the whole frame in memory for as long as the connection has
    /// it.
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

    /// Ends the answer early. Returns what is to be dropped without the lock.
    fn end(&mut self, ending: Ending, idle_timeout: Duration) -> Option<Body> {
        let source = self.source.take()?;
        self.early_end = Some(ended_early(ending, idle_timeout));
        if matches!(ending, Ending::Idle | Ending::Contended) && self.rest.len() > KEPT_BYTES {
            self.rest = Bytes::new();
        }
        if let Some(permit) = &mut self.permit {
            permit.ended_early();
        }
        names::ANSWERS_ENDED_EARLY.add(1, [ending.as_str()]);
        Some(source)
    }
}

impl Answer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long its reader has taken nothing.
    fn idle_for(&self) -> Duration {
        self.lock().readers_turn.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How ready it is to be ended for other callers; `None` if it must not be.
    pub(super) fn standing(&self) -> Option<Standing> {
        let ended = self.lock().source.is_none();
        Standing::of(self.started.elapsed(), self.idle_for(), ended)
    }

    /// Ends its stream without a status, if it can.
    pub(super) fn reset(&self) {
        if let Some(reset) = &self.reset {
            reset.cancel();
        }
    }

    /// Ends it early.
    pub(super) fn end(&self, ending: Ending, idle_timeout: Duration) {
        let (source, waker) = {
            let mut state = self.lock();
            (state.end(ending, idle_timeout), state.waker.take())
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

/// Ends an answer that must end, and resets its stream if that does not help.
async fn watch(answer: Arc<Answer>, limits: AnswerLimits, ending: Option<CancellationToken>) {
    let at_stream_time = async {
        match limits.until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    };
    let at_shutdown = async {
        match ending {
            Some(ending) => ending.cancelled_owned().await,
            None => pending().await,
        }
    };
    let when_idle = async {
        loop {
            let left = limits.idle_timeout.saturating_sub(answer.idle_for());
            if left.is_zero() {
                break;
            }
            sleep(left).await;
        }
    };
    let cause = tokio::select! {
        () = at_shutdown => Some(Ending::Shutdown),
        () = at_stream_time => Some(Ending::StreamTime),
        () = answer.ended.notified() => None,
        () = when_idle => Some(Ending::Idle),
    };
    if let Some(cause) = cause {
        answer.end(cause, limits.idle_timeout);
    }
    sleep(RESET_AFTER.max(limits.idle_timeout)).await;
    answer.reset();
}

fn ended_early(ending: Ending, idle_timeout: Duration) -> HeaderMap {
    const RESUME: &str =
        "watch the export again, or continue the download at the offset after the last byte";
    let message = match ending {
        Ending::StreamTime => {
            format!("the time limit of this server's answers is over (MAX_STREAM_TIME): {RESUME}")
        }
        Ending::Idle => format!(
            "the answer was not read for {} (READ_IDLE_TIMEOUT): {RESUME}",
            humantime::format_duration(idle_timeout)
        ),
        Ending::Contended => format!(
            "other callers wait for room to read (MAX_CONCURRENT_DOWNLOADS, MAX_READ_MEMORY): {RESUME}"
        ),
        Ending::Shutdown => format!("the server is shutting down: {RESUME}"),
    };
    let mut trailers = HeaderMap::new();
    // Fails only for texts that are not headers, and these are constants.
    if stream_ended_early(&message).add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("14"));
    }
    trailers
}

#[cfg(test)]
#[path = "response_body_tests.rs"]
mod tests;

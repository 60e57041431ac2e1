//! A limit on all calls at once, shared fairly between callers.
//!
//! A call has its place from its headers to the end of its response. A stream can last for as long as its caller
//! wants, so a place of a caller with more than its fair share can be revoked for another: the call ends early, with a
//! status after which its caller continues or tries again.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    caller::{self, ClientAddress},
    status::{overloaded, status, stream_ended_early},
};
use crate::{
    limits::{CallerKey, FairPermit, FairSemaphore, Revoke, Unavailable},
    telemetry::names,
};

/// Health checks at once. They have places of their own, so that probes do not wait for other calls.
const HEALTH_CALLS: u64 = 128;
/// How long a health check's request may take to arrive.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
const HEALTH_SERVICE: &str = "/grpc.health.v1.Health/";
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// How long a call waits for a place that becomes free by itself before another caller's is revoked.
const REVOKE_AFTER: Duration = Duration::from_millis(100);
/// The setting, and the label of its metric.
const SETTING: &str = "MAX_CONCURRENT_CALLS";

/// Places for calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallLimits {
    calls: FairSemaphore,
    health: FairSemaphore,
    patience: Duration,
}

impl CallLimits {
    /// At most `calls` at once (`MAX_CONCURRENT_CALLS`), health checks aside; others wait for `patience`
    /// (`ADMISSION_TIMEOUT`).
    pub fn new(calls: u32, patience: Duration) -> Self {
        // As many wait as have places, so that those that wait are bounded too.
        let queue_limit = calls as usize;
        Self {
            calls: FairSemaphore::revoking_after(u64::from(calls), queue_limit, REVOKE_AFTER),
            health: FairSemaphore::new(HEALTH_CALLS, 0),
            patience,
        }
    }

    async fn place(&self, caller: &CallerKey) -> Result<FairPermit, Unavailable> {
        if let Some(place) = self.calls.try_acquire(caller, 1) {
            return Ok(place);
        }
        names::SHARES_WAITED.add(1, [SETTING]);
        let place = self.calls.acquire_within(caller, 1, self.patience).await;
        if place.is_err() {
            names::SHARES_REFUSED.add(1, [SETTING]);
        }
        place
    }
}

/// A layer for [`axum::middleware::from_fn_with_state`], before anything of a request's body is read.
pub async fn limit_calls(
    State(limits): State<CallLimits>,
    request: Request,
    next: Next,
) -> Response {
    let key = caller::key(request.extensions());
    let path = request.uri().path();
    if path.starts_with(HEALTH_SERVICE) {
        // Never refused: at the limit, the oldest check of the caller with most makes room.
        let Some(place) = limits.health.displace(&key) else { return refuse(ended_early()) };
        let timeout = (path == HEALTH_CHECK).then_some(HEALTH_TIMEOUT);
        return run(request, next, place, timeout).await;
    }
    match limits.place(&key).await {
        Ok(place) => run(request, next, place, None).await,
        Err(error) => {
            let peer = ClientAddress::shown(request.extensions());
            tracing::debug!(peer, %error, "a call found no place");
            let capacity = limits.calls.capacity();
            refuse(overloaded(
                SETTING,
                format!(
                    "the server takes {capacity} calls at once ({SETTING}): try again in a moment"
                ),
            ))
        }
    }
}

/// Runs a call that has a place.
async fn run(
    request: Request,
    next: Next,
    place: FairPermit,
    timeout: Option<Duration>,
) -> Response {
    let call = Call::new(place);
    let running = async {
        match timeout {
            Some(timeout) => tokio::time::timeout(timeout, next.run(request)).await.ok(),
            None => Some(next.run(request).await),
        }
    };
    let response = tokio::select! {
        response = running => response,
        () = call.revoked.cancelled() => return refuse(ended_early()),
    };
    let Some(response) = response else {
        return refuse(status(
            Code::DeadlineExceeded,
            "REQUEST_TOO_SLOW",
            "the request did not arrive",
        ));
    };
    let (head, body) = response.into_parts();
    let mut state = call.lock();
    // Else it is revoked in this moment, and the body says so.
    if !state.is_revoked {
        state.body = Some(body);
    }
    drop(state);
    Response::from_parts(head, Body::new(CallBody { call }))
}

fn refuse(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(Body::new)
}

/// How a call ends whose place was revoked: its caller can continue at once, and then waits for its turn.
fn ended_early() -> Status {
    overloaded(
        SETTING,
        format!(
            "what this call holds was needed for another caller, since yours have more than their share \
             ({SETTING}): try again in a moment"
        ),
    )
}

/// A call with its place.
struct Call {
    state: Mutex<CallState>,
    revoked: CancellationToken,
}

#[derive(Default)]
struct CallState {
    place: Option<FairPermit>,
    /// Absent before the response begins, and after it ended.
    body: Option<Body>,
    is_revoked: bool,
    waker: Option<Waker>,
}

impl Call {
    fn new(mut place: FairPermit) -> Arc<Self> {
        let call = Arc::new(Self { state: Mutex::default(), revoked: CancellationToken::new() });
        let holder: Weak<Self> = Arc::downgrade(&call);
        place.make_revocable(holder);
        let mut state = call.lock();
        // Else it was revoked in between.
        if !state.is_revoked {
            state.place = Some(place);
        }
        drop(state);
        call
    }

    fn lock(&self) -> MutexGuard<'_, CallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Revoke for Call {
    /// Ends the call also if its caller reads nothing, so that its body is not polled.
    fn revoke(&self) {
        let mut state = self.lock();
        state.is_revoked = true;
        let (place, body, waker) = (state.place.take(), state.body.take(), state.waker.take());
        drop(state);
        drop((body, place));
        self.revoked.cancel();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The body of a call's response.
struct CallBody {
    call: Arc<Call>,
}

impl HttpBody for CallBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = self.call.lock();
        let Some(body) = &mut state.body else {
            let is_revoked = std::mem::take(&mut state.is_revoked);
            return Poll::Ready(is_revoked.then(|| Ok(Frame::trailers(ended_stream()))));
        };
        let polled = Pin::new(body).poll_frame(context);
        let has_ended = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if has_ended {
            (state.body, state.place) = (None, None);
        } else if polled.is_pending() {
            state.waker = Some(context.waker().clone());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let state = self.call.lock();
        match &state.body {
            Some(body) => body.is_end_stream(),
            None => !state.is_revoked,
        }
    }
}

/// How a stream ends whose place was revoked.
fn ended_stream() -> HeaderMap {
    let status = stream_ended_early(
        "this stream's place was needed for another caller (MAX_CONCURRENT_CALLS): watch the export again, or continue \
         the download at its offset",
    );
    let mut trailers = HeaderMap::new();
    // Fails on texts that are no headers only, and these are ours.
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("14"));
    }
    trailers
}

//! Limits concurrent calls, and shares the limit fairly between callers.
//!
//! A call holds a permit from its headers to the end of its response. A stream can last indefinitely, so a permit of
//! a caller with more than its fair share can be revoked for another caller: the call ends early with a status, and its
//! caller can continue or retry.

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
use tara_export_limits::{CallerKey, FairPermit, FairSemaphore, Revoke, Unavailable};
use tara_export_telemetry::names;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    caller::{self, ClientAddress},
    status::{overloaded, status, stream_ended_early},
};

/// Concurrent health checks. They have separate permits, so that probes do not wait for other calls.
const HEALTH_CALLS: u64 = 128;
/// How long a health check's request may take to arrive.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
const HEALTH_SERVICE: &str = "/grpc.health.v1.Health/";
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// How long a call waits for a free permit before a permit of another caller is revoked.
const REVOKE_AFTER: Duration = Duration::from_millis(100);
/// The setting and the label of its metrics.
const SETTING: &str = "MAX_CONCURRENT_CALLS";

/// Permits for calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallLimits {
    calls: FairSemaphore,
    health: FairSemaphore,
    admission_timeout: Duration,
}

impl CallLimits {
    /// Allows `calls` concurrent calls (`MAX_CONCURRENT_CALLS`) in addition to health checks. Others wait for up to
    /// `admission_timeout` (`ADMISSION_TIMEOUT`).
    pub fn new(calls: u32, admission_timeout: Duration) -> Self {
        // Bounds the waiting calls too.
        let queue_limit = calls as usize;
        Self {
            calls: FairSemaphore::revoking_after(u64::from(calls), queue_limit, REVOKE_AFTER),
            health: FairSemaphore::new(HEALTH_CALLS, 0),
            admission_timeout,
        }
    }

    async fn acquire(&self, caller: &CallerKey) -> Result<FairPermit, Unavailable> {
        if let Some(permit) = self.calls.try_acquire(caller, 1) {
            return Ok(permit);
        }
        names::SHARES_WAITED.add(1, [SETTING]);
        let permit = self.calls.acquire_within(caller, 1, self.admission_timeout).await;
        if permit.is_err() {
            names::SHARES_REFUSED.add(1, [SETTING]);
        }
        permit
    }
}

/// A layer for [`axum::middleware::from_fn_with_state`], applied before any part of a request's body is read.
pub async fn limit_calls(
    State(limits): State<CallLimits>,
    request: Request,
    next: Next,
) -> Response {
    let key = caller::key(request.extensions());
    let path = request.uri().path();
    if path.starts_with(HEALTH_SERVICE) {
        // Not refused at the limit: it ends the oldest check of the caller with the most checks.
        let Some(permit) = limits.health.displace(&key) else { return refuse(revoked_status()) };
        let timeout = (path == HEALTH_CHECK).then_some(HEALTH_TIMEOUT);
        return run(request, next, permit, timeout).await;
    }
    match limits.acquire(&key).await {
        Ok(permit) => run(request, next, permit, None).await,
        Err(error) => {
            let peer = ClientAddress::for_log(request.extensions());
            tracing::debug!(peer, %error, "call refused: no permit");
            let capacity = limits.calls.capacity();
            refuse(overloaded(
                SETTING,
                format!(
                    "the limit of {capacity} concurrent calls is reached ({SETTING}): try again in a moment"
                ),
            ))
        }
    }
}

/// Runs a call that has a permit.
async fn run(
    request: Request,
    next: Next,
    permit: FairPermit,
    timeout: Option<Duration>,
) -> Response {
    let call = Call::new(permit);
    let running = async {
        match timeout {
            Some(timeout) => tokio::time::timeout(timeout, next.run(request)).await.ok(),
            None => Some(next.run(request).await),
        }
    };
    let response = tokio::select! {
        response = running => response,
        () = call.revoked.cancelled() => return refuse(revoked_status()),
    };
    let Some(response) = response else {
        return refuse(status(
            Code::DeadlineExceeded,
            "REQUEST_TOO_SLOW",
            "the request of the health check did not arrive in time",
        ));
    };
    let (head, body) = response.into_parts();
    let mut state = call.lock();
    // If the permit was revoked meanwhile, the body ends with the status.
    if !state.is_revoked {
        state.body = Some(body);
    }
    drop(state);
    Response::from_parts(head, Body::new(CallBody { call }))
}

fn refuse(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(Body::new)
}

/// The status of a call whose permit was revoked. Its caller can retry at once, and then waits for a permit.
fn revoked_status() -> Status {
    overloaded(
        SETTING,
        format!(
            "the call was ended for another caller, because your calls exceed their fair share ({SETTING}): try again \
             in a moment"
        ),
    )
}

/// A call and its permit.
struct Call {
    state: Mutex<CallState>,
    revoked: CancellationToken,
}

#[derive(Default)]
struct CallState {
    permit: Option<FairPermit>,
    /// `None` before the response starts and after it ended.
    body: Option<Body>,
    is_revoked: bool,
    waker: Option<Waker>,
}

impl Call {
    fn new(mut permit: FairPermit) -> Arc<Self> {
        let call = Arc::new(Self { state: Mutex::default(), revoked: CancellationToken::new() });
        let holder: Weak<Self> = Arc::downgrade(&call);
        permit.make_revocable(holder);
        let mut state = call.lock();
        // If it was revoked in between, it is dropped.
        if !state.is_revoked {
            state.permit = Some(permit);
        }
        drop(state);
        call
    }

    fn lock(&self) -> MutexGuard<'_, CallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Revoke for Call {
    /// Ends the call even if its caller does not read, in which case the body is not polled.
    fn revoke(&self) {
        let mut state = self.lock();
        state.is_revoked = true;
        let (permit, body, waker) = (state.permit.take(), state.body.take(), state.waker.take());
        drop(state);
        drop((body, permit));
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
            return Poll::Ready(is_revoked.then(|| Ok(Frame::trailers(revoked_trailers()))));
        };
        let polled = Pin::new(body).poll_frame(context);
        let has_ended = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if has_ended {
            (state.body, state.permit) = (None, None);
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

/// The trailers of a stream whose permit was revoked.
fn revoked_trailers() -> HeaderMap {
    let status = stream_ended_early(
        "the stream was ended for another caller (MAX_CONCURRENT_CALLS): watch the export again, or continue the \
         download at its offset",
    );
    let mut trailers = HeaderMap::new();
    // Fails only for texts that are not valid in headers, and these texts are constants.
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("14"));
    }
    trailers
}

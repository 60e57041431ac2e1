//! Reports each request to S3 to an observer, from sending to response.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::{interceptors::dyn_dispatch_hint, orchestrator::Metadata};
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use tracing::Span;

use super::HedgeResult;

/// An observer of each request that is sent to S3. Called on the request path, so it must be fast.
pub trait RequestObserver: fmt::Debug + Send + Sync {
    /// Called before a request of an operation, such as `PutObject`, is sent. Returns the request's span.
    fn sent(&self, operation: &str) -> Span;

    /// Called exactly once for each sent request, when it has ended.
    fn ended(&self, request: &EndedRequest<'_>);

    /// Called when the response to a request took unusually long: it was sent twice, or not because of a limit.
    fn hedged(&self, operation: &'static str, result: HedgeResult);
}

/// A request that has ended.
#[derive(Debug)]
pub struct EndedRequest<'a> {
    /// The operation, such as `PutObject`.
    pub operation: &'a str,
    /// `ok`, or the kind of the failure, one of a fixed set of words.
    pub result: &'static str,
    /// The response's status; `None` without a response.
    pub http_status: Option<u16>,
    /// The time from sending the request until the response was read; for a download, until it began.
    pub duration: Duration,
    /// The span from [`RequestObserver::sent`].
    pub span: &'a Span,
}

/// An interceptor of the client, which applies to all operations.
#[derive(Debug)]
pub(super) struct ObserverInterceptor(pub Arc<dyn RequestObserver>);

#[dyn_dispatch_hint]
impl Intercept for ObserverInterceptor {
    fn name(&self) -> &'static str {
        "ObserverInterceptor"
    }

    /// Called after signing, before sending. Not called for links, which are only signed.
    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _runtime_components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("unknown", Metadata::name).to_owned();
        let sent = SentRequest {
            span: self.0.sent(&operation),
            operation,
            since: Instant::now(),
            observer: self.0.clone(),
            is_reported: AtomicBool::new(false),
        };
        config.interceptor_state().store_put(sent);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _runtime_components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(sent) = config.load::<SentRequest>() else { return Ok(()) };
        let status = context.response().map(|response| response.status().as_u16());
        let error = context.output_or_error().and_then(Result::err);
        let result = match (status, error) {
            (Some(status), Some(_)) => of_status(status),
            (_, None) => "ok",
            (None, Some(error)) if error.is_timeout_error() => "timeout",
            (None, Some(error)) => match error.as_connector_error() {
                Some(connector) if connector.is_timeout() => "timeout",
                _ => "connection",
            },
        };
        sent.report(result, status);
        Ok(())
    }
}

/// The result of an error response.
fn of_status(status: u16) -> &'static str {
    match status {
        // An error or a truncated response with a success status.
        ..300 => "invalid_response",
        // The object exists, as conditional puts detect.
        412 => "exists",
        404 => "not_found",
        401 | 403 => "denied",
        409 => "conflict",
        429 | 503 => "throttled",
        500.. => "server_error",
        _ => "refused",
    }
}

/// A request that was sent.
struct SentRequest {
    operation: String,
    since: Instant,
    span: Span,
    observer: Arc<dyn RequestObserver>,
    is_reported: AtomicBool,
}

impl SentRequest {
    fn report(&self, result: &'static str, status: Option<u16>) {
        if self.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        self.observer.ended(&EndedRequest {
            operation: &self.operation,
            result,
            http_status: status,
            duration: self.since.elapsed(),
            span: &self.span,
        });
    }
}

impl Drop for SentRequest {
    /// Reports a request whose caller no longer waits, because of a timeout or a cancellation.
    fn drop(&mut self) {
        self.report("abandoned", None);
    }
}

impl fmt::Debug for SentRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SentRequest")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

impl Storable for SentRequest {
    type Storer = StoreReplace<Self>;
}

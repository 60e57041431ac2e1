//! Sees each request to S3 from its sending to its answer: counts, latency, cost, and its span.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use tracing::Span;

use crate::telemetry::{names, prices::RequestPrices, spans};

/// An interceptor of the client: every operation passes it, also those that are added later.
#[derive(Debug)]
pub(super) struct RequestObserver {
    pub prices: RequestPrices,
}

impl Intercept for RequestObserver {
    fn name(&self) -> &'static str {
        "RequestObserver"
    }

    /// Signed, and about to be sent. What is only signed, for a link, does not come here.
    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _runtime_components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("unknown", Metadata::name).to_owned();
        let sent = Sent {
            span: spans::s3_request(&operation),
            operation,
            since: Instant::now(),
            prices: self.prices,
            is_told: AtomicBool::new(false),
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
        let Some(sent) = config.load::<Sent>() else { return Ok(()) };
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
        sent.tell(result, status);
        Ok(())
    }
}

/// What an answer that is an error means; the few words that `result` has.
fn of_status(status: u16) -> &'static str {
    match status {
        // An error, or half an answer, behind a good status.
        ..300 => "broken_answer",
        // Somebody put it before, which conditional puts are for.
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
struct Sent {
    operation: String,
    since: Instant,
    span: Span,
    prices: RequestPrices,
    is_told: AtomicBool,
}

impl Sent {
    fn tell(&self, result: &'static str, status: Option<u16>) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        let (operation, seconds) = (&self.operation, self.since.elapsed().as_secs_f64());
        names::S3_REQUESTS.add(1, [operation.clone(), result.to_owned()]);
        names::S3_DURATION.record(seconds, [operation.clone(), result.to_owned()]);
        // Nobody pays for requests that S3 did not answer, or answered with a fault of its own.
        if status.is_some_and(|status| status < 500) {
            names::S3_COST.add(self.prices.nanodollars(operation), [operation.clone()]);
        }
        spans::s3_request_ended(&self.span, result, status);
    }
}

impl Drop for Sent {
    /// Whoever waited for the answer has gone: a limit of time was reached, or the work was cancelled.
    fn drop(&mut self) {
        self.tell("abandoned", None);
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sent").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

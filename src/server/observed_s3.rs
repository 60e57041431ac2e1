//! Records requests to S3: counts, latency, estimated cost and spans.

use tara_export_store::s3::{EndedRequest, HedgeResult, RequestObserver, RequestPrices};
use tara_export_telemetry::{names, spans};
use tracing::Span;

/// The operations of exports and readers. Their costs exist from the start.
const OPERATIONS: [&str; 4] = ["PutObject", "GetObject", "HeadObject", "ListObjectsV2"];

/// Records each request.
#[derive(Debug)]
pub(super) struct ObservedS3 {
    prices: RequestPrices,
}

impl ObservedS3 {
    pub(super) fn new(prices: RequestPrices) -> Self {
        for operation in OPERATIONS {
            names::S3_COST.register([operation]);
            for result in HedgeResult::ALL {
                names::S3_HEDGES.register([operation, result.as_str()]);
            }
        }
        Self { prices }
    }
}

impl RequestObserver for ObservedS3 {
    fn sent(&self, operation: &str) -> Span {
        spans::s3_request(operation)
    }

    fn ended(&self, request: &EndedRequest<'_>) {
        let EndedRequest { operation, result, http_status, .. } = *request;
        names::S3_REQUESTS.add(1, [operation.to_owned(), result.to_owned()]);
        let seconds = request.duration.as_secs_f64();
        names::S3_DURATION.record(seconds, [operation.to_owned(), result.to_owned()]);
        // Requests without a response and requests with a server error (5xx) are not billed.
        if http_status.is_some_and(|status| status < 500) {
            names::S3_COST.add(self.prices.nanodollars(operation), [operation.to_owned()]);
        }
        spans::s3_request_ended(request.span, result, http_status);
    }

    fn hedged(&self, operation: &'static str, result: HedgeResult) {
        names::S3_HEDGES.add(1, [operation, result.as_str()]);
    }
}

//! Unary calls: their deadline and retries.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::{Client, ClientError, Rejection, connect::GeneratedClient};

/// The deadline of a call.
const DEADLINE: Duration = Duration::from_secs(60);

// Four attempts, as gRPC service configs recommend for calls that are safe to repeat.
const RETRIES: usize = 3;
const MIN_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(5);

impl Client {
    /// Makes a call that is safe to repeat, and retries it while the server is unavailable.
    pub(super) async fn call<S, Q, T, C, F>(&self, request: Q, call: C) -> Result<T, ClientError>
    where
        S: GeneratedClient,
        Q: Clone,
        C: Fn(S, Request<Q>) -> F,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let attempt = || async {
            let call = |service| {
                let mut request = Request::new(request.clone());
                request.set_timeout(DEADLINE);
                call(service, request)
            };
            // The server enforces the deadline too; this timeout covers a silently lost connection.
            match timeout(DEADLINE, self.service.call(call)).await {
                Ok(response) => Ok(response?.into_inner()),
                Err(_) => Err(ClientError::from(Rejection::deadline_exceeded(DEADLINE))),
            }
        };
        let delays = ExponentialBuilder::default()
            .with_min_delay(MIN_DELAY)
            .with_max_delay(MAX_DELAY)
            .with_max_times(RETRIES)
            .with_jitter();
        attempt.retry(delays).when(ClientError::is_unavailable).await
    }
}

//! Calls with one answer: their deadline, and when they are tried again.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::{Client, ClientError, Rejection, connect::ApiClient};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(60);

// What gRPC's service configs advise for calls that change nothing or have an id: four attempts.
const RETRIES: usize = 3;
const MIN_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(5);

impl Client {
    /// Makes a call that may be made twice, again while the server is away.
    pub(super) async fn call<Q, T, C, F>(&self, request: Q, call: C) -> Result<T, ClientError>
    where
        Q: Clone,
        C: Fn(ApiClient, Request<Q>) -> F,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let attempt = || async {
            let mut request = Request::new(request.clone());
            request.set_timeout(DEADLINE);
            // The server ends what takes too long, and this a connection that is dead without a sign.
            let answer = timeout(DEADLINE, call(self.service.clone(), request)).await;
            match answer {
                Ok(answer) => Ok(answer?.into_inner()),
                Err(_) => Err(Rejection::late(DEADLINE)),
            }
        };
        let delays = ExponentialBuilder::default()
            .with_min_delay(MIN_DELAY)
            .with_max_delay(MAX_DELAY)
            .with_max_times(RETRIES)
            .with_jitter();
        let answer = attempt.retry(delays).when(Rejection::is_unavailable).await;
        answer.map_err(|rejection| ClientError::Rejected(Box::new(rejection)))
    }
}

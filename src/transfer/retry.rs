//! Retries of store operations within one budget.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tara_export_store::{FailureCause, StoreError, StoreErrorKind};
use tokio::time::{self, Instant};

/// The time limit for retries of one piece of work on one store. It starts when the budget is created, and transferred
/// bytes of a large payload restart it, so that a slow link does not exhaust it.
#[derive(Debug)]
pub struct RetryBudget {
    length: Duration,
    ends_at: Mutex<Instant>,
}

impl RetryBudget {
    /// A budget that starts now.
    pub fn new(length: Duration) -> Self {
        Self { length, ends_at: Mutex::new(Instant::now() + length) }
    }

    /// Restarts the budget after bytes were transferred.
    pub fn renew(&self) {
        *self.ends_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.length;
    }

    fn ends_at(&self) -> Instant {
        *self.ends_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn expired(&self) {
        loop {
            let ends_at = self.ends_at();
            time::sleep_until(ends_at).await;
            if self.ends_at() <= Instant::now() {
                return;
            }
        }
    }

    /// Retries an idempotent operation with exponential backoff and jitter while its error is transient. Calls `failed`
    /// after each failed attempt that is retried.
    ///
    /// # Errors
    /// The last error, or [`StoreErrorKind::Unavailable`] if the first attempt hangs until the budget has expired.
    pub async fn run<T, F>(
        &self,
        mut operation: impl FnMut() -> F,
        mut failed: impl FnMut(u32, &StoreError),
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(3))
            .with_factor(2.0)
            .with_jitter()
            .without_max_times()
            .build();
        let mut last_failure = None;
        let mut attempt = 1;
        loop {
            let result = tokio::select! {
                result = operation() => result,
                () = self.expired() => Err(last_failure.take().unwrap_or_else(|| self.timed_out())),
            };
            let error = match result {
                Err(error) if error.is_transient() => error,
                other => return other,
            };
            let Some(pause) =
                pauses.next().filter(|pause| Instant::now() + *pause < self.ends_at())
            else {
                return Err(error);
            };
            failed(attempt, &error);
            last_failure = Some(error);
            attempt += 1;
            time::sleep(pause).await;
        }
    }

    fn timed_out(&self) -> StoreError {
        let seconds = self.length.as_secs_f64();
        StoreError::new(
            StoreErrorKind::Unavailable,
            format!("the store did not respond within {seconds} s"),
        )
        .with_cause(FailureCause::Timeout)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn unavailable() -> StoreError {
        StoreError::new(StoreErrorKind::Unavailable, "slow down")
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_are_retried_and_reported() {
        let budget = RetryBudget::new(Duration::from_secs(10));
        let mut calls = 0;
        let mut reported = Vec::new();
        let operation = || {
            calls += 1;
            std::future::ready(if calls < 3 { Err(unavailable()) } else { Ok(calls) })
        };
        let result = budget.run(operation, |attempt, _| reported.push(attempt)).await;
        assert_eq!(result.unwrap(), 3);
        assert_eq!(reported, [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn budget_bounds_failures_and_hanging_operations() {
        let start = Instant::now();
        let budget = RetryBudget::new(Duration::from_secs(10));
        let error = budget.run(async || Err::<(), _>(unavailable()), |_, _| {}).await.unwrap_err();
        assert_eq!(error.to_string(), "slow down");
        assert!(start.elapsed() <= Duration::from_secs(10));

        let start = Instant::now();
        let budget = RetryBudget::new(Duration::from_secs(10));
        let hang = async || std::future::pending::<Result<(), StoreError>>().await;
        assert!(budget.run(hang, |_, _| {}).await.unwrap_err().is_transient());
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn transferred_bytes_renew_the_budget() {
        let budget = RetryBudget::new(Duration::from_secs(10));
        let slow = async || {
            for _ in 0..10 {
                time::sleep(Duration::from_secs(8)).await;
                budget.renew();
            }
            Ok(())
        };
        assert!(budget.run(slow, |_, _| {}).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_failure_is_not_retried() {
        let budget = RetryBudget::new(Duration::from_secs(10));
        let denied = async || Err::<(), _>(StoreError::new(StoreErrorKind::Denied, "no"));
        let error = budget.run(denied, |_, _| unreachable!("no second attempt")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied);
    }
}

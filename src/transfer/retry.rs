//! Repeating store operations within one budget.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::{self, Instant};

use crate::store::{FailureCause, StoreError, StoreErrorKind};

/// The time one piece of work has for the failures of one store. It runs from the first operation; bytes
/// of a large payload that get through start it anew, so that a slow link is no failure.
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

    /// Bytes got through.
    pub fn renew(&self) {
        *self.ends_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.length;
    }

    fn ends_at(&self) -> Instant {
        *self.ends_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn used_up(&self) {
        loop {
            let ends_at = self.ends_at();
            time::sleep_until(ends_at).await;
            if self.ends_at() <= Instant::now() {
                return;
            }
        }
    }

    /// Repeats an operation that may be repeated, with growing pauses and jitter, while its failure
    /// may pass by itself. `failed` hears of each failed attempt that will be followed by another.
    ///
    /// # Errors
    /// The last failure, or [`StoreErrorKind::Unavailable`] where the first attempt hangs until the
    /// budget is used up.
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
                () = self.used_up() => Err(last_failure.take().unwrap_or_else(|| self.no_answer())),
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

    fn no_answer(&self) -> StoreError {
        let seconds = self.length.as_secs_f64();
        StoreError::new(
            StoreErrorKind::Unavailable,
            format!("the store did not answer within {seconds} s"),
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
    async fn a_passing_failure_is_waited_out_and_told() {
        let budget = RetryBudget::new(Duration::from_secs(10));
        let mut calls = 0;
        let mut told = Vec::new();
        let operation = || {
            calls += 1;
            std::future::ready(if calls < 3 { Err(unavailable()) } else { Ok(calls) })
        };
        let result = budget.run(operation, |attempt, _| told.push(attempt)).await;
        assert_eq!(result.unwrap(), 3);
        assert_eq!(told, [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_bounds_failures_and_hanging_alike() {
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
    async fn headway_renews_the_budget() {
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
    async fn a_lasting_failure_is_not_repeated() {
        let budget = RetryBudget::new(Duration::from_secs(10));
        let denied = async || Err::<(), _>(StoreError::new(StoreErrorKind::Denied, "no"));
        let error = budget.run(denied, |_, _| unreachable!("no second attempt")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied);
    }
}

//! Limits how often a repeated transfer can renew its retry budget.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tara_export_store::StoreError;

use super::RetryBudget;

/// Attempts of a file or part whose bytes renew the budget. On a link that is too slow, later attempts only repeat the
/// same bytes.
const ATTEMPTS: u32 = 3;

/// A retry budget that transferred bytes renew during the first attempts. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct BoundedBudget {
    budget: Arc<RetryBudget>,
    /// The current attempt of the file, and of this part if it is for one.
    attempts: Vec<Arc<AtomicU32>>,
}

impl BoundedBudget {
    pub(super) fn new(budget: Arc<RetryBudget>) -> Self {
        Self { budget, attempts: vec![Arc::new(AtomicU32::new(1))] }
    }

    /// The budget for a part, which is repeated by itself and with the file.
    pub(super) fn for_part(&self) -> Self {
        let mut attempts = self.attempts.clone();
        attempts.push(Arc::new(AtomicU32::new(1)));
        Self { budget: self.budget.clone(), attempts }
    }

    /// Renews the budget after bytes were transferred, unless there were too many attempts.
    pub(super) fn renew(&self) {
        if self.attempts.iter().all(|number| number.load(Ordering::Relaxed) <= ATTEMPTS) {
            self.budget.renew();
        }
    }

    /// Runs [`RetryBudget::run`] and counts the attempts.
    ///
    /// # Errors
    /// Those of [`RetryBudget::run`].
    pub(super) async fn run<T, F>(
        &self,
        operation: impl FnMut() -> F,
        failed: impl Fn(u32, &StoreError),
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let counted = |attempt: u32, error: &StoreError| {
            if let Some(number) = self.attempts.last() {
                number.store(attempt + 1, Ordering::Relaxed);
            }
            failed(attempt, error);
        };
        self.budget.run(operation, counted).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tara_export_store::StoreErrorKind;
    use tokio::time;

    use super::*;

    /// Transfers some bytes and fails.
    async fn broken_line(budget: &BoundedBudget) -> Result<(), StoreError> {
        time::sleep(Duration::from_secs(8)).await;
        budget.renew();
        Err(StoreError::new(StoreErrorKind::Unavailable, "reset"))
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_bytes_stop_renewing_the_budget() {
        let start = time::Instant::now();
        let budget = BoundedBudget::new(Arc::new(RetryBudget::new(Duration::from_secs(10))));
        budget.run(|| broken_line(&budget), |_, _| {}).await.unwrap_err();
        assert!((24..50).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn parts_of_a_repeated_file_stop_renewing_the_budget() {
        let start = time::Instant::now();
        let budget = BoundedBudget::new(Arc::new(RetryBudget::new(Duration::from_secs(10))));
        // Each part succeeds on its first attempt.
        let file = || async { broken_line(&budget.for_part()).await };
        budget.run(file, |_, _| {}).await.unwrap_err();
        assert!((24..50).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }
}

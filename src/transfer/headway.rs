//! What counts as headway of a file that is sent again and again.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::RetryBudget;
use crate::store::StoreError;

/// How often a file, or a part of one, may start again and have its bytes count. On a line that never
/// gets it through in time they are the same bytes each time.
const ATTEMPTS: u32 = 3;

/// Bytes that get through renew a budget, as long as they may be new ones. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Headway {
    budget: Arc<RetryBudget>,
    /// The attempts at the whole and at this part of it.
    attempts: Vec<Arc<AtomicU32>>,
}

impl Headway {
    pub(super) fn new(budget: Arc<RetryBudget>) -> Self {
        Self { budget, attempts: vec![Arc::new(AtomicU32::new(1))] }
    }

    /// Of a part, which is repeated by itself and with the whole.
    pub(super) fn of_part(&self) -> Self {
        let mut attempts = self.attempts.clone();
        attempts.push(Arc::new(AtomicU32::new(1)));
        Self { budget: self.budget.clone(), attempts }
    }

    /// Bytes got through.
    pub(super) fn renew(&self) {
        if self.attempts.iter().all(|number| number.load(Ordering::Relaxed) <= ATTEMPTS) {
            self.budget.renew();
        }
    }

    /// As [`RetryBudget::run`], counting the attempts.
    ///
    /// # Errors
    /// As there.
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

    use tokio::time;

    use super::*;
    use crate::store::StoreErrorKind;

    /// Fails after some bytes each time.
    async fn broken_line(headway: &Headway) -> Result<(), StoreError> {
        time::sleep(Duration::from_secs(8)).await;
        headway.renew();
        Err(StoreError::new(StoreErrorKind::Unavailable, "reset"))
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_come_again_and_again_are_no_headway() {
        let start = time::Instant::now();
        let headway = Headway::new(Arc::new(RetryBudget::new(Duration::from_secs(10))));
        headway.run(|| broken_line(&headway), |_, _| {}).await.unwrap_err();
        assert!((24..50).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_that_starts_again_and_again_has_no_parts_that_count() {
        let start = time::Instant::now();
        let headway = Headway::new(Arc::new(RetryBudget::new(Duration::from_secs(10))));
        // Each part gets through at its first attempt.
        let whole = || async { broken_line(&headway.of_part()).await };
        headway.run(whole, |_, _| {}).await.unwrap_err();
        assert!((24..50).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }
}

//! Repeating store operations: nobody waits for a folder, so it may take its time.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use crate::store::StoreError;

/// Repeats an operation some times, with growing pauses and jitter, while its failure may pass by itself.
///
/// # Errors
/// The last failure.
pub(super) async fn retrying<T, F>(operation: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(6)
        .with_jitter();
    operation.retry(pauses).when(StoreError::is_transient).await
}

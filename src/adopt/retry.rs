//! Retries of store operations. Adoption is not urgent, so they may take long.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tara_export_store::StoreError;

/// Retries an operation up to six times with exponential backoff and jitter while its error is transient.
///
/// # Errors
/// The last error.
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

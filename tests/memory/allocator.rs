//! Counts the bytes that this test binary has allocated, and their peak.
//!
//! The allocator counts requested bytes, not the resident memory of the process. A growing vector counts
//! with both its old and its new buffer, because `peak_alloc` copies where the system's `realloc` can
//! extend in place.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
};

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Held by the running test, because all tests of this binary share one allocator.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test while no other test of this binary runs. Each test is a plain `#[test]` whose body is
/// `alone(async { … })`; the runtime and all its tasks end before the next test starts.
pub(crate) fn alone<T>(test: impl Future<Output = T>) -> T {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test)
}

/// The result of the work, and the peak of allocated bytes above those at its start. Counts all threads.
/// Call it only within [`alone`].
pub(crate) async fn peak_during<T>(work: impl Future<Output = T>) -> (T, usize) {
    let start = start();
    let result = work.await;
    (result, ALLOCATOR.peak_usage().saturating_sub(start))
}

/// [`peak_during`] for synchronous work.
pub(crate) fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let start = start();
    let result = work();
    (result, ALLOCATOR.peak_usage().saturating_sub(start))
}

fn start() -> usize {
    ALLOCATOR.reset_peak_usage();
    ALLOCATOR.current_usage()
}

#[test]
fn peak_counts_what_is_freed_again() {
    const BYTES: usize = 10 << 20;
    /// Allocations of the runtime's threads.
    const OVERHEAD_BYTES: usize = 1 << 20;
    alone(async {
        let (_, peak) = peak_of(|| drop(std::hint::black_box(vec![1_u8; BYTES])));
        assert!(peak.abs_diff(BYTES) < OVERHEAD_BYTES, "{peak}");
        let other_task = async {
            let work = async { drop(std::hint::black_box(vec![1_u8; BYTES])) };
            tokio::spawn(work).await.expect("a task");
        };
        let ((), peak) = peak_during(other_task).await;
        assert!(peak.abs_diff(BYTES) < OVERHEAD_BYTES, "{peak}");
    });
}

//! Counts the bytes that this test binary has allocated, and how many they were at most.
//!
//! The allocator counts requested bytes, not what the process keeps of the system's memory. A vector
//! that grows counts with its old and its new buffer, because `peak_alloc` copies where the system's
//! `realloc` may extend.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
};

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Held by the test that runs: all tests of this binary share one allocator.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test while no other test of this binary runs. Each test is a plain `#[test]` whose body is
/// `alone(async { … })`; the runtime and all its tasks end before the next test starts.
pub(crate) fn alone<T>(test: impl Future<Output = T>) -> T {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test)
}

/// The result of the work, and how many bytes more than at its start were allocated at most while it
/// ran. Counts every thread. Only within [`alone`].
pub(crate) async fn peak_during<T>(work: impl Future<Output = T>) -> (T, usize) {
    let start = start();
    let result = work.await;
    (result, ALLOCATOR.peak_usage().saturating_sub(start))
}

/// The same of work that does not wait.
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
    /// What the runtime's threads allocate and free beside it.
    const BESIDE: usize = 1 << 20;
    alone(async {
        let (_, peak) = peak_of(|| drop(std::hint::black_box(vec![1_u8; BYTES])));
        assert!(peak.abs_diff(BYTES) < BESIDE, "{peak}");
        let elsewhere = async {
            let work = async { drop(std::hint::black_box(vec![1_u8; BYTES])) };
            tokio::spawn(work).await.expect("a task");
        };
        let ((), peak) = peak_during(elsewhere).await;
        assert!(peak.abs_diff(BYTES) < BESIDE, "{peak}");
    });
}

//! A dedicated thread pool for one kind of blocking work.
//!
//! Work of one kind never waits for a thread that another kind occupies: writes of the journal do not
//! wait for reads from a slow disk. Each pool reports whether it makes progress.

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};

/// Work that needs at most this much memory takes about a millisecond at most.
const SMALL_WORK_BYTES: u64 = 1024 * 1024;

/// Threads for blocking work. Cheap to clone; the threads end when the last clone is dropped and all work
/// is done.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

/// The pools of a server, or of one part of it.
#[derive(Debug, Clone, Default)]
pub struct Pools {
    /// Pools whose work changes the disk: a stopping server waits for it, so that it is complete when the
    /// next process starts.
    pub writing: Vec<Pool>,
    /// Pools whose work can be abandoned at any time.
    pub other: Vec<Pool>,
}

/// The work panicked, or the pool is shutting down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("work in the pool {pool} did not finish: {message}")]
pub struct WorkFailed {
    /// The pool's name.
    pub pool: &'static str,
    /// The cause.
    pub message: String,
}

/// The state of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Number of running tasks.
    pub running: u64,
    /// Number of queued tasks.
    pub queued: u64,
    /// How long the pool has had queued tasks without starting or finishing one. `None` if the queue is
    /// empty.
    pub stalled_for: Option<Duration>,
}

struct Inner {
    name: &'static str,
    threads: usize,
    /// `None` only while the pool is dropped.
    runtime: Option<Runtime>,
    progress: Arc<Progress>,
}

struct Progress {
    submitted: AtomicU64,
    started: AtomicU64,
    finished: AtomicU64,
    /// When the queue was last empty, or work was last started or finished.
    last: Mutex<Instant>,
    /// Notified when work finishes.
    finished_some: Notify,
}

impl Pools {
    /// All pools.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.writing.iter().chain(&self.other)
    }

    /// Adds the pools of another part.
    pub fn extend(&mut self, others: Self) {
        self.writing.extend(others.writing);
        self.other.extend(others.other);
    }
}

impl Pool {
    /// Creates a pool with at most this many threads. Threads start on demand and end after ten seconds
    /// without work.
    ///
    /// # Errors
    /// If the system has no resources for the pool.
    pub fn new(name: &'static str, threads: usize) -> std::io::Result<Self> {
        // The runtime provides the well-tested queue and threads of `spawn_blocking`; no async code runs
        // on it.
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(threads)
            .thread_name(name)
            .build()?;
        let progress = Progress {
            submitted: AtomicU64::new(0),
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
            finished_some: Notify::new(),
        };
        let inner = Inner { name, threads, runtime: Some(runtime), progress: Arc::new(progress) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The pool's name in logs, metrics and checks.
    pub fn name(&self) -> &'static str {
        self.inner.name
    }

    /// The maximum number of threads.
    pub fn threads(&self) -> usize {
        self.inner.threads
    }

    /// Runs blocking work to completion, even if the returned future is dropped.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, WorkFailed>> {
        let Inner { name, runtime, progress, .. } = &*self.inner;
        let name = *name;
        let progress = progress.clone();
        progress.submit();
        // A dropped pool discards queued work, so queued work keeps the pool alive.
        let pool = self.clone();
        let running = runtime.as_ref().map(|runtime| {
            runtime.spawn_blocking(move || {
                let _pool = pool;
                let _running = Running::start(progress);
                work()
            })
        });
        Box::pin(async move {
            let failed = |message: String| WorkFailed { pool: name, message };
            match running {
                Some(running) => running.await.map_err(|error| failed(error.to_string())),
                None => Err(failed("the pool is shutting down".to_owned())),
            }
        })
    }

    /// Runs CPU-bound work whose duration grows with the memory that its input and output need: on the thread of the
    /// caller if that is little, because another thread would take longer to wake up. Otherwise as [`Self::run`], but
    /// not before the future is polled.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_sized<T: Send + 'static>(
        &self,
        memory_bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkFailed> {
        if memory_bytes > SMALL_WORK_BYTES {
            return self.run(work).await;
        }
        panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
            let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            WorkFailed {
                pool: self.inner.name,
                message: text.unwrap_or_else(|| "it panicked".into()),
            }
        })
    }

    /// Waits until no work is running or queued.
    pub async fn idle(&self) {
        loop {
            let mut finished = pin!(self.inner.progress.finished_some.notified());
            // Before the check, so that work that finishes in between is noticed.
            finished.as_mut().enable();
            let state = self.state();
            if state.running == 0 && state.queued == 0 {
                return;
            }
            finished.await;
        }
    }

    /// The current state.
    pub fn state(&self) -> PoolState {
        let progress = &self.inner.progress;
        let last = progress.lock();
        let finished = progress.finished.load(Ordering::SeqCst);
        let started = progress.started.load(Ordering::SeqCst);
        let submitted = progress.submitted.load(Ordering::SeqCst);
        let queued = submitted.saturating_sub(started);
        PoolState {
            running: started.saturating_sub(finished),
            queued,
            stalled_for: (queued > 0).then(|| last.elapsed()),
        }
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self) {
        let mut last = self.lock();
        if self.submitted.load(Ordering::SeqCst) == self.started.load(Ordering::SeqCst) {
            *last = Instant::now();
        }
        self.submitted.fetch_add(1, Ordering::SeqCst);
    }

    fn advance(&self, counter: &AtomicU64) {
        let mut last = self.lock();
        counter.fetch_add(1, Ordering::SeqCst);
        *last = Instant::now();
    }
}

/// A running task.
struct Running(Arc<Progress>);

impl Running {
    fn start(progress: Arc<Progress>) -> Self {
        progress.advance(&progress.started);
        Self(progress)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.advance(&self.0.finished);
        self.0.finished_some.notify_waiters();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Async code must not wait for threads, and a thread may hang on a disk. Callers that need the
        // result await it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, threads, .. } = self;
        formatter.debug_struct("Pool").field("name", name).field("threads", threads).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn small_work_runs_on_the_thread_of_its_caller() {
        let pool = Pool::new("test", 1).unwrap();
        let here = || std::thread::current().id();
        assert_eq!(pool.run_sized(SMALL_WORK_BYTES, here).await, Ok(here()));
        assert_ne!(pool.run_sized(SMALL_WORK_BYTES + 1, here).await, Ok(here()));
    }

    #[tokio::test]
    async fn panic_of_work_of_any_size_is_an_error() {
        let pool = Pool::new("test", 1).unwrap();
        for memory_bytes in [0, u64::MAX] {
            let failed = pool.run_sized(memory_bytes, || assert_eq!(1, 2, "no")).await;
            assert!(failed.unwrap_err().message.contains("no"));
        }
    }

    #[tokio::test]
    async fn work_runs_after_its_future_is_dropped() {
        let pool = Pool::new("test", 1).unwrap();
        let (sender, receiver) = mpsc::channel();
        drop(pool.run(move || sender.send(7).unwrap()));
        assert_eq!(pool.run(move || receiver.recv().unwrap()).await, Ok(7));
    }

    #[tokio::test]
    async fn queued_work_of_a_dropped_pool_runs() {
        let pool = Pool::new("test", 1).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        drop(pool.run(move || released.recv()));
        drop(pool.run(move || done.send(()).unwrap()));
        drop(pool);
        release.send(()).unwrap();
        is_done.recv().unwrap();
    }

    #[tokio::test]
    async fn idle_waits_for_running_and_queued_work() {
        let pool = Pool::new("test", 1).unwrap();
        pool.idle().await;
        let (release, released) = mpsc::channel::<()>();
        drop(pool.run(move || released.recv()));
        drop(pool.run(|| ()));
        let mut idle = pin!(pool.idle());
        assert!(futures::poll!(&mut idle).is_pending());
        release.send(()).unwrap();
        idle.await;
        assert_eq!((pool.state().running, pool.state().queued), (0, 0));
    }

    #[tokio::test]
    async fn busy_pool_with_a_queue_is_stalled_until_it_progresses() {
        let pool = Pool::new("test", 1).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        let occupying = pool.run(move || {
            started.send(()).unwrap();
            released.recv().unwrap();
        });
        has_started.recv().unwrap();
        // Busy with an empty queue is not a stall.
        assert_eq!(pool.state(), PoolState { running: 1, queued: 0, stalled_for: None });
        let waiting = pool.run(|| ());
        let state = pool.state();
        assert_eq!((state.running, state.queued), (1, 1));
        assert!(state.stalled_for.is_some());
        release.send(()).unwrap();
        occupying.await.unwrap();
        waiting.await.unwrap();
        assert_eq!(pool.state().stalled_for, None);
    }

    #[tokio::test]
    async fn pool_reports_a_panic_and_continues() {
        let pool = Pool::new("test", 1).unwrap();
        let failed = pool.run(|| assert_eq!(1, 2)).await.unwrap_err();
        assert_eq!(failed.pool, "test");
        assert_eq!(pool.run(|| 1).await, Ok(1));
        assert_eq!(pool.state(), PoolState { running: 0, queued: 0, stalled_for: None });
    }
}

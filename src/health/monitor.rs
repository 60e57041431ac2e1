//! Monitors health on a separate thread, which works even if everything else is stuck.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tara_export_limits::{Pool, Pools};
use tara_export_telemetry::names::STALLED;
use tokio::runtime::Handle;

use super::{Acceptance, Health, RUNTIME, Refusal, RefusalReason, Stall};

/// How often the thread checks everything.
const TICK: Duration = Duration::from_millis(250);
/// The longest pause between two probes of a pool.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How often acceptance is checked. Each check writes a block to the disk and syncs it.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How often acceptance is checked while exports are refused, so that recovery is detected soon.
const REFUSING_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a check may take before the disk counts as hanging.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks whether exports are accepted.
type Check = Box<dyn Fn() -> BoxFuture<'static, Option<Refusal>> + Send>;

/// What a monitor checks.
pub struct MonitorSettings {
    /// How long a pool may make no progress.
    pub stall_threshold: Duration,
    /// The pools to probe, in addition to the async runtime.
    pub pools: Pools,
    /// Checks whether exports are accepted.
    pub check: Check,
}

/// The monitoring thread. Stops when this is dropped.
#[derive(Debug)]
pub struct Monitor {
    _stop: Sender<()>,
}

impl Monitor {
    /// Starts monitoring the current runtime and the pools.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(health: Health, settings: MonitorSettings) -> io::Result<Self> {
        let MonitorSettings { stall_threshold, pools, check } = settings;
        let runtime = Handle::current();
        let pause = MAX_PAUSE.min(stall_threshold / 4);
        let mut probes: Vec<Probe> =
            pools.iter().cloned().map(|pool| Probe::new(Some(pool), pause)).collect();
        probes.push(Probe::new(None, pause));
        let mut checks = Checks::new(health.acceptance.clone(), check);
        let (stop, stopped) = mpsc::channel::<()>();
        thread::Builder::new().name("monitor".to_owned()).spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                probes.iter_mut().for_each(|probe| probe.post(&runtime));
                let stalls = probes.iter().filter_map(|probe| probe.stall(stall_threshold));
                health.stalls.set(stalls.collect());
                checks.tick(&runtime);
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// Runs trivial work on one pool or the runtime, one piece at a time, because one piece is enough to detect a stall.
struct Probe {
    /// `None` for the runtime.
    pool: Option<Pool>,
    pause: Duration,
    posted: Option<Instant>,
    is_done: Arc<AtomicBool>,
}

impl Probe {
    fn new(pool: Option<Pool>, pause: Duration) -> Self {
        STALLED.set(0.0, [pool.as_ref().map_or(RUNTIME, Pool::name)]);
        Self { pool, pause, posted: None, is_done: Arc::default() }
    }

    fn post(&mut self, runtime: &Handle) {
        let is_due = match self.posted {
            Some(posted) => self.is_done.load(Ordering::SeqCst) && posted.elapsed() >= self.pause,
            None => true,
        };
        if !is_due {
            return;
        }
        self.posted = Some(Instant::now());
        self.is_done = Arc::default();
        let is_done = self.is_done.clone();
        match &self.pool {
            Some(pool) => drop(pool.run(move || is_done.store(true, Ordering::SeqCst))),
            None => drop(runtime.spawn(async move { is_done.store(true, Ordering::SeqCst) })),
        }
    }

    fn stall(&self, threshold: Duration) -> Option<Stall> {
        let stall = match &self.pool {
            Some(pool) => {
                let state = pool.state();
                let (running, queued) = (state.running, state.queued);
                Stall { pool: pool.name(), since: state.stalled_for?, running, queued }
            }
            None => {
                let is_done = self.is_done.load(Ordering::SeqCst);
                let since = self.posted.filter(|_| !is_done)?.elapsed();
                Stall { pool: RUNTIME, since, running: 0, queued: 1 }
            }
        };
        (stall.since >= threshold).then_some(stall)
    }
}

/// Checks acceptance, one check at a time.
struct Checks {
    acceptance: Acceptance,
    check: Check,
    started: Option<Instant>,
    is_done: Arc<AtomicBool>,
}

impl Checks {
    fn new(acceptance: Acceptance, check: Check) -> Self {
        Self { acceptance, check, started: None, is_done: Arc::new(AtomicBool::new(true)) }
    }

    fn tick(&mut self, runtime: &Handle) {
        if !self.is_done.load(Ordering::SeqCst) {
            if self.started.is_some_and(|started| started.elapsed() >= CHECK_TIMEOUT) {
                let message = "the disk of the data directory does not complete a small write";
                let message = message.to_owned();
                let reason = RefusalReason::DiskHanging;
                self.acceptance.set(Some(Refusal { reason, message }));
            }
            return;
        }
        let interval = match self.acceptance.refusal() {
            Some(_) => REFUSING_CHECK_INTERVAL,
            None => CHECK_INTERVAL,
        };
        let is_due = self.started.is_none_or(|started| started.elapsed() >= interval);
        if !is_due && !self.acceptance.take_check_request() {
            return;
        }
        self.started = Some(Instant::now());
        self.is_done = Arc::default();
        let (acceptance, is_done) = (self.acceptance.clone(), self.is_done.clone());
        let checking = (self.check)();
        drop(runtime.spawn(async move {
            acceptance.set(checking.await);
            is_done.store(true, Ordering::SeqCst);
        }));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(pools: Pools, check: Check) -> MonitorSettings {
        MonitorSettings { stall_threshold: Duration::from_millis(200), pools, check }
    }

    fn accepts() -> Check {
        Box::new(|| Box::pin(async { None }))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn blocked_pool_and_its_recovery_are_reported() {
        let (stuck, fine) = (Pool::new("stuck", 2).unwrap(), Pool::new("fine", 1).unwrap());
        let pools = Pools { writing: vec![stuck.clone()], other: vec![fine] };
        let health = Health::default();
        let _monitor = Monitor::start(health.clone(), settings(pools, accepts())).unwrap();
        let mut stalls = health.stalls.subscribe();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        for _ in 0..2 {
            let released = released.clone();
            drop(stuck.run(move || released.lock().unwrap().recv()));
        }
        let found = stalls.wait_for(|stalls| !stalls.is_empty()).await.unwrap().clone();
        assert_eq!(found.iter().map(|stall| stall.pool).collect::<Vec<_>>(), ["stuck"]);
        drop(release);
        stalls.wait_for(Vec::is_empty).await.unwrap();
    }

    #[test]
    fn stuck_runtime_is_reported_while_it_is_stuck() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let health = Health::default();
        let stalls = health.stalls.clone();
        let monitor = runtime.block_on(async move {
            Monitor::start(health, settings(Pools::default(), accepts())).unwrap()
        });
        // The runtime is not running now.
        while stalls.now().is_empty() {
            thread::yield_now();
        }
        assert_eq!(stalls.now()[0].pool, RUNTIME);
        let mut changes = stalls.subscribe();
        runtime.block_on(async { changes.wait_for(Vec::is_empty).await.map(drop) }).unwrap();
        drop(monitor);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn refusal_and_its_end_are_reported() {
        let is_full = Arc::new(AtomicBool::new(true));
        let full = is_full.clone();
        let check: Check = Box::new(move || {
            let (reason, message) = (RefusalReason::DiskNotWritable, "full".to_owned());
            let refusal = full.load(Ordering::SeqCst).then_some(Refusal { reason, message });
            Box::pin(async { refusal })
        });
        let health = Health::default();
        let mut refusals = health.acceptance.subscribe();
        let _monitor = Monitor::start(health, settings(Pools::default(), check)).unwrap();
        refusals.wait_for(Option::is_some).await.unwrap();
        is_full.store(false, Ordering::SeqCst);
        refusals.wait_for(Option::is_none).await.unwrap();
    }
}

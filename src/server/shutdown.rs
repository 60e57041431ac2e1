//! The shutdown of a process: one deadline for everything, and a forced exit if something hangs.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, getpid, kill_process};
use tara_export_limits::Pools;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that ended while work hung.
pub const HUNG: u8 = 5;

/// The part of `SHUTDOWN_TIMEOUT` that is reserved for the steps after the exports: disk work, streams, connections,
/// telemetry. At most a quarter of the timeout.
const MAX_RESERVE: Duration = Duration::from_secs(2);
/// The minimum time for the whole shutdown, even if `SHUTDOWN_TIMEOUT` is shorter.
const MIN_TIMEOUT: Duration = Duration::from_millis(500);
/// Time from `SHUTDOWN_TIMEOUT` to the forced exit. With the two timeouts below, the process ends within a second.
const GRACE: Duration = Duration::from_millis(600);
/// Time limit of the last log line: standard error may be a pipe that is not read.
const LOG_TIMEOUT: Duration = Duration::from_millis(150);
/// Time limit of the exit, before the process kills itself.
const EXIT_TIMEOUT: Duration = Duration::from_millis(150);

/// The deadlines of a shutdown.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    timeout: Duration,
}

impl Deadline {
    /// The deadline of a shutdown that starts now.
    pub fn from_now(timeout: Duration) -> Self {
        Self { started: Instant::now(), timeout }
    }

    /// When running exports must have ended.
    pub fn exports_end(self) -> Instant {
        self.started + self.timeout.saturating_sub(MAX_RESERVE.min(self.timeout / 4))
    }

    /// When everything must have ended.
    pub fn end(self) -> Instant {
        self.started + self.timeout.max(MIN_TIMEOUT)
    }

    /// The time until the end.
    pub fn remaining(self) -> Duration {
        self.end().saturating_duration_since(Instant::now())
    }

    /// When the process is forced to exit.
    fn forced_exit(self) -> Instant {
        self.started + self.timeout + GRACE
    }
}

/// The progress of a shutdown, which the forced exit reports.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    state: Arc<Mutex<(&'static str, Pools)>>,
}

impl Stopping {
    /// Sets what the shutdown waits for now.
    pub fn set_phase(&self, phase: &'static str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = phase;
    }

    /// Sets the pools whose unfinished work is reported.
    pub fn set_pools(&self, pools: Pools) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = pools;
    }

    /// Ends the process at the deadline with this exit code, unless it has ended before.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn end_at(&self, deadline: Deadline, code: u8) -> io::Result<()> {
        let stopping = self.clone();
        let forced_exit = thread::Builder::new().name("forced-exit".to_owned());
        forced_exit.spawn(move || stopping.end_process_at(deadline, code)).map(drop)
    }

    fn end_process_at(self, deadline: Deadline, code: u8) {
        thread::sleep(deadline.forced_exit().saturating_duration_since(Instant::now()));
        // On separate threads, because each of these can hang as well.
        run_with_timeout(LOG_TIMEOUT, move || self.report());
        run_with_timeout(EXIT_TIMEOUT, move || std::process::exit(code.into()));
        let _ = kill_process(getpid(), Signal::KILL);
    }

    fn report(&self) {
        let (phase, pools) = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let busy: Vec<String> = pools
            .iter()
            .map(|pool| (pool.name(), pool.state()))
            .filter(|(_, state)| state.running + state.queued > 0)
            .map(|(name, state)| {
                format!("{name}: {} running, {} waiting", state.running, state.queued)
            })
            .collect();
        tracing::error!(
            waiting_for = phase,
            busy = busy.join("; "),
            "shutdown hangs beyond SHUTDOWN_TIMEOUT: the process exits now"
        );
    }
}

/// Runs the work on a thread, and waits for it up to the timeout.
fn run_with_timeout(timeout: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, wait_done) = mpsc::channel();
    thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    let _ = wait_done.recv_timeout(timeout);
}

/// SIGTERM or SIGINT. Received on a separate thread, which works even if the async runtime is stuck, and forces the
/// process to exit at the deadline.
#[derive(Debug, Clone)]
pub struct StopSignal {
    received: CancellationToken,
    deadline: Arc<Mutex<Option<Deadline>>>,
    timeout: Duration,
    stopping: Stopping,
}

impl StopSignal {
    /// Installs handlers for the signals, which would otherwise end the process. `timeout` is `SHUTDOWN_TIMEOUT`.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub fn receive(timeout: Duration) -> io::Result<Self> {
        let signals = Self {
            received: CancellationToken::new(),
            deadline: Arc::default(),
            timeout,
            stopping: Stopping::default(),
        };
        let (ready, wait_ready) = mpsc::channel();
        let received = signals.clone();
        let receiver = thread::Builder::new().name("signals".to_owned());
        receiver.spawn(move || received.wait_on_this_thread(&ready))?;
        wait_ready.recv().map_err(io::Error::other)??;
        Ok(signals)
    }

    fn wait_on_this_thread(self, ready: &mpsc::Sender<io::Result<()>>) {
        let waited = Builder::new_current_thread().enable_io().build().and_then(|runtime| {
            runtime.block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                let mut interrupt = signal(SignalKind::interrupt())?;
                let _ = ready.send(Ok(()));
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                Ok(())
            })
        });
        if let Err(error) = waited {
            let _ = ready.send(Err(error));
            return;
        }
        let deadline = Deadline::from_now(self.timeout);
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        self.received.cancel();
        self.stopping.end_process_at(deadline, HUNG);
    }

    /// Waits for the first signal. Returns the deadline of the shutdown.
    pub async fn wait(&self) -> Deadline {
        self.received.cancelled().await;
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.unwrap_or_else(|| Deadline::from_now(self.timeout))
    }

    /// The progress of the shutdown.
    pub fn stopping(&self) -> &Stopping {
        &self.stopping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_remains_after_exports() {
        let times = |seconds| {
            let deadline = Deadline::from_now(Duration::from_secs(seconds));
            (deadline.exports_end() - deadline.started, deadline.end() - deadline.started)
        };
        assert_eq!(times(0), (Duration::ZERO, Duration::from_millis(500)));
        assert_eq!(times(4), (Duration::from_secs(3), Duration::from_secs(4)));
        assert_eq!(times(20), (Duration::from_secs(18), Duration::from_secs(20)));
    }

    #[test]
    fn forced_exit_completes_within_a_second_of_timeout() {
        let deadline = Deadline::from_now(Duration::ZERO);
        let after_end = LOG_TIMEOUT + EXIT_TIMEOUT;
        assert!(deadline.forced_exit() + after_end < deadline.started + Duration::from_secs(1));
        assert!(deadline.forced_exit() > deadline.end());
    }
}

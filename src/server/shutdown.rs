//! The end of a process: one deadline for everything, and a last resort where something hangs.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::limits::Pools;

/// The exit code of a process that ended although work hung.
pub const HUNG: u8 = 5;

/// Of `SHUTDOWN_TIMEOUT`, kept for what follows the exports: disk work, streams, connections, telemetry. At
/// most a quarter of the whole.
const LONGEST_RESERVE: Duration = Duration::from_secs(2);
/// What follows the exports has this long even if `SHUTDOWN_TIMEOUT` is shorter.
const SHORTEST_END: Duration = Duration::from_millis(500);
/// After `SHUTDOWN_TIMEOUT` the process is ended. With the two pauses below, that takes less than a second.
const GRACE: Duration = Duration::from_millis(600);
/// How long the last resort's line may take: standard error may be a pipe that is not read.
const LOG_PATIENCE: Duration = Duration::from_millis(150);
/// How long the process may take to exit.
const EXIT_PATIENCE: Duration = Duration::from_millis(150);

/// When a server that was asked to stop must have done what.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    begun: Instant,
    timeout: Duration,
}

impl Deadline {
    /// The deadline of a stop that begins now.
    pub fn from_now(timeout: Duration) -> Self {
        Self { begun: Instant::now(), timeout }
    }

    /// Until when running exports may go on.
    pub fn of_exports(self) -> Instant {
        self.begun + self.timeout.saturating_sub(LONGEST_RESERVE.min(self.timeout / 4))
    }

    /// Until when everything must have ended.
    pub fn end(self) -> Instant {
        self.begun + self.timeout.max(SHORTEST_END)
    }

    /// How much time is left until the end.
    pub fn rest(self) -> Duration {
        self.end().saturating_duration_since(Instant::now())
    }

    /// When the process is ended, whatever it does.
    fn last_resort(self) -> Instant {
        self.begun + self.timeout + GRACE
    }
}

/// What a process that stops is waiting for, for the last resort to report.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    state: Arc<Mutex<(&'static str, Pools)>>,
}

impl Stopping {
    /// Notes what is waited for now.
    pub fn waits_for(&self, phase: &'static str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = phase;
    }

    /// Notes whose work is to be reported where it hangs.
    pub fn watch(&self, pools: Pools) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = pools;
    }

    /// Ends the process at the deadline with this exit code, unless it ended before.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn end_at(&self, deadline: Deadline, code: u8) -> io::Result<()> {
        let stopping = self.clone();
        let last_resort = thread::Builder::new().name("last-resort".to_owned());
        last_resort.spawn(move || stopping.end_process_at(deadline, code)).map(drop)
    }

    fn end_process_at(self, deadline: Deadline, code: u8) {
        thread::sleep(deadline.last_resort().saturating_duration_since(Instant::now()));
        // On threads of their own: each of these can hang as well.
        within(LOG_PATIENCE, move || self.report());
        within(EXIT_PATIENCE, move || std::process::exit(code.into()));
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
            "the stop hangs beyond SHUTDOWN_TIMEOUT: the process ends now"
        );
    }
}

/// Runs this on a thread, and waits for it at most this long.
fn within(patience: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(patience);
}

/// SIGTERM or SIGINT. Received on a thread of its own, which works when the async runtime is stuck; it ends
/// the process at the deadline.
#[derive(Debug, Clone)]
pub struct StopSignal {
    received: CancellationToken,
    deadline: Arc<Mutex<Option<Deadline>>>,
    timeout: Duration,
    stopping: Stopping,
}

impl StopSignal {
    /// Takes the signals, which end the process otherwise. `timeout` is `SHUTDOWN_TIMEOUT`.
    ///
    /// # Errors
    /// Where signals can't be received.
    pub fn receive(timeout: Duration) -> io::Result<Self> {
        let signals = Self {
            received: CancellationToken::new(),
            deadline: Arc::default(),
            timeout,
            stopping: Stopping::default(),
        };
        let (ready, is_ready) = mpsc::channel();
        let received = signals.clone();
        let receiver = thread::Builder::new().name("signals".to_owned());
        receiver.spawn(move || received.wait_on_this_thread(&ready))?;
        is_ready.recv().map_err(io::Error::other)??;
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

    /// Waits for the first of them. When everything must have ended.
    pub async fn wait(&self) -> Deadline {
        self.received.cancelled().await;
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.unwrap_or_else(|| Deadline::from_now(self.timeout))
    }

    /// What the stop waits for, for the last resort to report.
    pub fn stopping(&self) -> &Stopping {
        &self.stopping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_exports_has_its_time() {
        let times = |seconds| {
            let deadline = Deadline::from_now(Duration::from_secs(seconds));
            (deadline.of_exports() - deadline.begun, deadline.end() - deadline.begun)
        };
        assert_eq!(times(0), (Duration::ZERO, Duration::from_millis(500)));
        assert_eq!(times(4), (Duration::from_secs(3), Duration::from_secs(4)));
        assert_eq!(times(20), (Duration::from_secs(18), Duration::from_secs(20)));
    }

    #[test]
    fn process_ends_within_a_second_of_its_timeout() {
        let deadline = Deadline::from_now(Duration::ZERO);
        let after_end = LOG_PATIENCE + EXIT_PATIENCE;
        assert!(deadline.last_resort() + after_end < deadline.begun + Duration::from_secs(1));
        assert!(deadline.last_resort() > deadline.end());
    }
}

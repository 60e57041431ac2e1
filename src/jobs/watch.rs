//! Runs a job by its schedule.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tara_export_jobs::{Due, Job, LoggedRun, Schedule, Turn, turn};
use tokio::time::{self, Instant};

use super::{Shared, run};

/// How often the clock is read. The clock of a machine can be changed at any time.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the log is read while another replica runs the job.
const BUSY_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after the store did not respond.
const STORE_PAUSE: Duration = Duration::from_secs(10);

/// Records once that jobs of the store are not in the file.
pub(super) async fn record_absent(shared: Arc<Shared>) {
    loop {
        let now = shared.context.clock.now();
        let is_in_file = |name: &str| shared.jobs.get(name).is_some();
        match shared.log.record_absent(is_in_file, now).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "cannot read the log of jobs; retrying"),
        }
        if !pause(&shared, STORE_PAUSE).await {
            return;
        }
    }
}

/// Runs a job by its schedule until the server stops.
pub(super) async fn watch(shared: Arc<Shared>, job: Job) {
    let Some(schedule) = job.schedule.clone() else { return };
    let mut watched = Watched { shared, job, schedule, since: None, seen: None };
    loop {
        let until = match watched.step().await {
            Ok(until) => until,
            Err(error) => {
                tracing::warn!(job = %watched.job.name, %error, "cannot run a job now; retrying");
                Next::Pause(STORE_PAUSE)
            }
        };
        let is_running = match until {
            Next::Pause(duration) => pause(&watched.shared, duration).await,
            Next::Tick(tick) => watched.until(tick).await,
        };
        if !is_running {
            return;
        }
    }
}

/// When the log is read next.
enum Next {
    Pause(Duration),
    Tick(DateTime<Utc>),
}

struct Watched {
    shared: Arc<Shared>,
    job: Job,
    schedule: Schedule,
    /// Once it is known: no tick up to this time runs.
    since: Option<DateTime<Utc>>,
    /// The run without an end that was seen last, and since when.
    seen: Option<(u64, Instant)>,
}

impl Watched {
    /// Starts a run if its turn has come.
    async fn step(&mut self) -> Result<Next, super::RunError> {
        let (shared, job) = (&self.shared, &self.job);
        let now = shared.context.clock.now();
        let since = match self.since {
            Some(since) => since,
            None => *self.since.insert(shared.log.since(job, now).await?),
        };
        let own = shared.running().get(&job.name).cloned();
        if let Some(mut own) = own {
            // It ends within max_run.
            let _ended = own.wait_for(|run| run.end.is_some()).await;
        }
        let last = shared.log.last(&job.name).await?;
        let open_for = self.open_for(last.as_ref());
        let now = self.shared.context.clock.now();
        let due = Due { last: last.as_ref(), open_for, since, now };
        match turn(&self.schedule, due) {
            Turn::Start { number, tick, after } => {
                run::start(&self.shared, &self.job, number, Some(tick), after).await?;
                Ok(Next::Pause(Duration::ZERO))
            }
            Turn::Busy(left) => Ok(Next::Pause(left.min(BUSY_INTERVAL))),
            Turn::Idle => match self.schedule.next_after(now.max(since)) {
                Some(tick) => Ok(Next::Tick(tick)),
                None => Ok(Next::Pause(BUSY_INTERVAL)),
            },
        }
    }

    /// How long this process has seen the last run without an end.
    fn open_for(&mut self, last: Option<&LoggedRun>) -> Duration {
        let open = last.filter(|run| run.end.is_none());
        self.seen = match (open, self.seen) {
            (Some(run), Some((number, since))) if run.number == number => Some((number, since)),
            (open, _) => open.map(|run| (run.number, Instant::now())),
        };
        match open {
            // A run of this process has ended: only its end could not be written.
            Some(run) if run.start.owner == self.shared.owner => Duration::MAX,
            _ => self.seen.map_or(Duration::ZERO, |(_, since)| since.elapsed()),
        }
    }

    /// Waits for a time. Returns whether the server is still running.
    async fn until(&self, tick: DateTime<Utc>) -> bool {
        while let Ok(left) = (tick - self.shared.context.clock.now()).to_std()
            && !left.is_zero()
        {
            if !pause(&self.shared, left.min(CLOCK_INTERVAL)).await {
                return false;
            }
        }
        true
    }
}

/// Waits. Returns whether the server is still running.
async fn pause(shared: &Shared, duration: Duration) -> bool {
    tokio::select! {
        () = time::sleep(duration) => !shared.draining.is_cancelled(),
        () = shared.draining.cancelled() => false,
    }
}

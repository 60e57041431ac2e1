//! Scheduled jobs of `JOBS_FILE`: run when their schedule says so, or when a caller asks, one run at a time whatever the
//! number of replicas.
//!
//! When a run may start is decided in `tara-export-jobs`; the log of runs is in the store (`log.rs`).

mod check;
mod log;
mod metrics;
mod pull;
mod redeliver;
mod report;
mod run;
mod watch;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tara_export_catalog::Catalog;
use tara_export_clock::Clock;
use tara_export_jobs::{Job, Jobs as JobsFile, LoggedRun, RunEnd, RunResult, SETTING};
use tara_export_notify::AllowedRecipients;
use tara_export_outbound::{Authorities, Environment, Proxies, Resolve, SystemResolver};
use tara_export_settings_file::{LoadError, Name};
use tara_export_store::{Store, StoreError};
use tokio::{
    sync::watch as state,
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::log::JobLog;
pub use self::pull::{ConvertRequests, ConvertedRequest, ConvertedRequests, PulledRequest};
use crate::{batch::Batches, export::Engine, notifications::Notifications};

/// How long a call waits for the end of a run.
const WAIT: Duration = Duration::from_secs(20);
/// How often the log is read for the end of another replica's run.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// The jobs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The file cannot be read, or has faults.
    #[error(transparent)]
    File(#[from] LoadError),
}

/// A run cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no job of this name.
    #[error("must be a job of JOBS_FILE: {0}")]
    Unknown(String),
    /// There is no run of this number.
    #[error("the log of the job has no run {0}")]
    NoRun(u64),
    /// Another replica runs the job.
    #[error("another replica runs the job since {0}; ask again when it has ended")]
    Busy(DateTime<Utc>),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Stopping,
    /// The log cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunView {
    /// Its job.
    pub job: Name,
    /// Its number, from 1.
    pub number: u64,
    /// The tick that it is for; `None` if a caller asked for it.
    pub tick: Option<DateTime<Utc>>,
    /// When it started.
    pub started: DateTime<Utc>,
    /// Its end; `None` while it runs.
    pub end: Option<RunEnd>,
}

impl RunView {
    fn new(job: &Name, run: LoggedRun) -> Self {
        let LoggedRun { number, start, end } = run;
        Self { job: job.clone(), number, tick: start.tick, started: start.started, end }
    }
}

/// A job as callers see it.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The job.
    pub job: Job,
    /// Its next tick.
    pub next_tick: Option<DateTime<Utc>>,
    /// Its last run, of whichever replica.
    pub last_run: Option<RunView>,
}

/// The jobs of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs(Arc<Shared>);

/// What the jobs work on.
#[derive(Debug, Clone)]
pub struct JobsContext {
    /// Where their log is.
    pub store: Arc<dyn Store>,
    /// The notifications that `redeliver` jobs work on, and whose targets send reports.
    pub notifications: Option<Notifications>,
    /// The bundles.
    pub catalog: Catalog,
    /// The exports of this server.
    pub engine: Engine,
    /// The batches of this server.
    pub batches: Batches,
    /// Converts the requests of sources.
    pub requests: Arc<dyn ConvertRequests>,
    /// How sources are connected to.
    pub outbound: Outbound,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How sources of `pull` jobs are connected to.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Resolves their hosts.
    pub resolver: Arc<dyn Resolve>,
    /// The proxies.
    pub proxies: Proxies,
    /// The authorities that verify their certificates.
    pub authorities: Authorities,
}

impl Outbound {
    /// The resolver and the authorities of this machine, and the proxies of the environment.
    pub fn of_process() -> Self {
        Self {
            resolver: Arc::new(SystemResolver),
            proxies: Proxies::of(&Environment::of_process()),
            authorities: Authorities::of_system(),
        }
    }
}

#[derive(Debug)]
struct Shared {
    jobs: JobsFile,
    context: JobsContext,
    log: JobLog,
    /// This process.
    owner: Uuid,
    /// The runs of this process.
    running: Mutex<BTreeMap<Name, state::Receiver<RunView>>>,
    draining: CancellationToken,
    tasks: TaskTracker,
}

/// Reads the jobs of a file. Blocks the thread.
///
/// # Errors
/// If the file has faults, or a job needs what this server does not have.
pub fn read(
    file: &Path,
    notifications: Option<&Notifications>,
    recipients: &AllowedRecipients,
    outbound: &Outbound,
) -> Result<JobsFile, JobsError> {
    let jobs = check::check(JobsFile::load(file)?, notifications, recipients, outbound);
    Ok(jobs.map_err(|source| LoadError::invalid(file, SETTING, source))?)
}

impl Jobs {
    /// Takes the jobs of [`read`]. Runs nothing yet.
    pub fn new(jobs: JobsFile, context: JobsContext) -> Self {
        for job in jobs.iter() {
            metrics::register(&job.name);
        }
        Self(Arc::new(Shared {
            jobs,
            log: JobLog::new(context.store.clone()),
            owner: context.clock.new_id(),
            context,
            running: Mutex::default(),
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Runs the jobs by their schedules until [`Self::shut_down`].
    pub fn start(&self) {
        self.0.tasks.spawn(watch::record_absent(self.0.clone()));
        for job in self.0.jobs.iter().filter(|job| job.schedule.is_some()) {
            self.0.tasks.spawn(watch::watch(self.0.clone(), job.clone()));
        }
    }

    /// Runs a job now, or joins the run of this process. Returns when the run has ended, or after 20 seconds; the run
    /// continues.
    ///
    /// # Errors
    /// If there is no such job, another replica runs it, or the log cannot be written.
    pub async fn run(&self, name: &str) -> Result<RunView, RunError> {
        let mut running = run::run_now(&self.0, self.job(name)?).await?;
        let ended = time::timeout(WAIT, async {
            // It always has an end, unless the process ends first.
            running.wait_for(|run| run.end.is_some()).await.map(|run| run.clone())
        });
        match ended.await {
            Ok(Ok(run)) => Ok(run),
            Ok(Err(_)) => Err(RunError::Stopping),
            Err(_) => Ok(running.borrow().clone()),
        }
    }

    /// Returns when a run of whichever replica has ended, or after 20 seconds.
    ///
    /// # Errors
    /// If there is no such job or run, or the log cannot be read.
    pub async fn follow(&self, name: &str, number: u64) -> Result<RunView, RunError> {
        let job = self.job(name)?;
        let end = Instant::now() + WAIT;
        loop {
            let run = self.0.log.run(&job.name, number).await?;
            let run = run.ok_or(RunError::NoRun(number))?;
            if run.end.is_some() || Instant::now() + FOLLOW_INTERVAL > end {
                return Ok(RunView::new(&job.name, run));
            }
            time::sleep(FOLLOW_INTERVAL).await;
        }
    }

    fn job(&self, name: &str) -> Result<&Job, RunError> {
        self.0.jobs.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.0.jobs.iter().map(|job| job.name.as_str()).collect();
            RunError::Unknown(names.join(", "))
        })
    }

    /// The jobs in the order of the file, with their last runs.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn list(&self) -> Result<Vec<JobView>, RunError> {
        let now = self.0.context.clock.now();
        let views = self.0.jobs.iter().map(|job| async move {
            let last = self.0.log.last(&job.name).await?;
            let last_run = last.map(|last| RunView::new(&job.name, last));
            let next_tick = job.schedule.as_ref().and_then(|schedule| schedule.next_after(now));
            Ok(JobView { job: job.clone(), next_tick, last_run })
        });
        futures::future::try_join_all(views).await
    }

    /// Starts no more runs, and ends those in progress.
    pub async fn shut_down(&self, end: Instant) {
        self.0.draining.cancel();
        self.0.tasks.close();
        if time::timeout_at(end, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(
                "jobs are still running at shutdown: their next run starts after max_run"
            );
        }
    }
}

/// A number with its noun, such as `2 pages`.
fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<Name, state::Receiver<RunView>>> {
        // Each change is complete when the lock is released.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a run now.
    fn end_of(&self, result: Result<String, String>) -> RunEnd {
        let (result, message) = match result {
            Ok(message) => (RunResult::Succeeded, message),
            Err(message) => (RunResult::Failed, message),
        };
        RunEnd { result, ended: self.context.clock.now(), message }
    }
}

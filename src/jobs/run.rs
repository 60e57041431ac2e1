//! One run of a job: from the claim on its number to its end in the log.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tara_export_events::{EndedRun, Event};
use tara_export_jobs::{Job, JobKind, RunEnd, RunResult, RunStart, handled_until};
use tokio::{
    sync::watch as state,
    time::{self, Instant},
};

use super::{RunError, RunView, Shared, log::has_expired, metrics, pull, redeliver, report};

/// Pause before the end of a run is written again.
const PAUSE: Duration = Duration::from_secs(5);

/// A run in progress, as the code of its kind sees it.
pub(super) struct Run<'a> {
    pub shared: &'a Shared,
    pub job: &'a Job,
    pub number: u64,
    /// The tick that it is for; `None` if a caller asked for it.
    pub tick: Option<DateTime<Utc>>,
    pub started: DateTime<Utc>,
    progress: Mutex<String>,
}

impl Run<'_> {
    /// Sets what the end of the run says if it is ended from outside: what was done, or what it waits for.
    pub(super) fn set_progress(&self, message: String) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }

    /// A reason for the end of the run, with its progress.
    fn ended_by(&self, reason: String) -> String {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match progress.as_str() {
            "" => reason,
            progress => format!("{reason}; {progress}"),
        }
    }
}

/// Starts a run that a caller asks for, or follows the one in progress.
pub(super) async fn run_now(
    shared: &Arc<Shared>,
    job: &Job,
) -> Result<state::Receiver<RunView>, RunError> {
    loop {
        if let Some(running) = shared.running().get(&job.name) {
            return Ok(running.clone());
        }
        let now = shared.context.clock.now();
        let last = shared.log.last(&job.name).await?;
        if let Some(open) = last.as_ref().filter(|run| run.end.is_none())
            && open.start.owner != shared.owner
            && !has_expired(open, now)
        {
            return Err(RunError::Busy(open.start.started));
        }
        let since = shared.log.since(job, now).await?;
        let (number, after) =
            (last.as_ref().map_or(1, |last| last.number + 1), handled_until(last.as_ref(), since));
        if let Some(running) = start(shared, job, number, None, after).await? {
            return Ok(running);
        }
    }
}

/// Starts a run of this number. `None` if another one has the number.
pub(super) async fn start(
    shared: &Arc<Shared>,
    job: &Job,
    number: u64,
    tick: Option<DateTime<Utc>>,
    after: DateTime<Utc>,
) -> Result<Option<state::Receiver<RunView>>, RunError> {
    let start = RunStart {
        tick,
        after,
        started: shared.context.clock.now(),
        owner: shared.owner,
        max_run_seconds: job.max_run.as_secs(),
    };
    // The time of the run begins before other replicas can see it.
    let deadline = Instant::now() + job.max_run;
    if shared.draining.is_cancelled() {
        return Err(RunError::Stopping);
    }
    if !shared.log.start(&job.name, number, &start).await? {
        return Ok(None);
    }
    let view = RunView { job: job.name.clone(), number, tick, started: start.started, end: None };
    tracing::info!(job = %job.name, number, kind = job.kind.as_str(), "a job runs");
    let (sender, receiver) = state::channel(view);
    shared.running().insert(job.name.clone(), receiver.clone());
    let (shared, job) = (shared.clone(), job.clone());
    shared.tasks.clone().spawn(async move {
        let started = start.started;
        let (shared, job) = (&shared, &job);
        let run = Run { shared, job, number, tick, started, progress: Mutex::default() };
        let end = execute(&run, deadline).await;
        metrics::ended(&job.name, &end);
        tracing::info!(
            job = %job.name, number, result = ?end.result, message = end.message, "a job ended"
        );
        write_event(&run, &end).await;
        write_end(shared, job, number, &end, deadline).await;
        shared.running().remove(&job.name);
        sender.send_modify(|view| view.end = Some(end));
    });
    Ok(Some(receiver))
}

async fn execute(run: &Run<'_>, deadline: Instant) -> RunEnd {
    let Run { shared, job, .. } = run;
    let working = async {
        match &job.kind {
            JobKind::Redeliver(settings) => redeliver::run(&shared.context, settings).await,
            JobKind::Report(settings) => report::run(run, settings).await,
            JobKind::Pull(settings) => pull::run(run, settings).await,
        }
    };
    let result = tokio::select! {
        result = working => result,
        () = time::sleep_until(deadline) => Err(run.ended_by(format!(
            "MAX_RUN: it was not done after {}", humantime::format_duration(job.max_run)
        ))),
        () = shared.draining.cancelled() => {
            Err(run.ended_by("STOPPED: the server shut down".to_owned()))
        }
    };
    shared.end_of(result)
}

/// Writes the event of a run's end into the outbox, before the end: an event that is written is delivered.
async fn write_event(run: &Run<'_>, end: &RunEnd) {
    let Some(notifications) = &run.shared.context.notifications else { return };
    let ended = EndedRun {
        job: run.job.name.to_string(),
        number: run.number,
        owner: run.shared.owner,
        started_time: run.started,
        has_succeeded: end.result == RunResult::Succeeded,
    };
    let event = Event::job_ended(ended, end.message.clone(), end.ended);
    if let Err(error) = notifications.add(event).await {
        tracing::warn!(job = %run.job.name, number = run.number, %error, "cannot write the event of a run's end");
    }
}

/// Writes the end of a run until its time is over: then other replicas do not wait for it.
async fn write_end(shared: &Shared, job: &Job, number: u64, end: &RunEnd, deadline: Instant) {
    while let Err(error) = shared.log.end(&job.name, number, end).await {
        tracing::warn!(job = %job.name, number, %error, "cannot write the end of a run; retrying");
        tokio::select! {
            () = time::sleep(PAUSE) => {}
            () = time::sleep_until(deadline) => return,
            () = shared.draining.cancelled() => return,
        }
    }
}

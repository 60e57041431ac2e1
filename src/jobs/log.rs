//! The log of jobs in the store: runs, and the schedules that jobs have had.
//!
//! | object below `.tara-export/jobs/<job>/` | put by |
//! |---|---|
//! | `runs/<number>.json` | the replica that starts the run; `<number>` counts down, so that the last run is listed first |
//! | `runs/<number>.done` | the replica that ended it |
//! | `cursors/<number>-<step>.json` | the replica that runs the job, after each step of a run; both count down |
//! | `schedules/<time>-<digest>.json` | the first replica that starts with another schedule than the last one |

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tara_export_bundle::AcceptedTime;
use tara_export_catalog::{layout, records, summary::TimeV1};
use tara_export_jobs::{Job, LoggedRun, RunEnd, RunResult, RunStart, SKEW};
use tara_export_settings_file::Name;
use tara_export_store::{ListRequest, ObjectKey, PutOutcome, Store, StoreError, within};
use uuid::Uuid;

/// How long a request to the store may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The digest of a job that is not in the file.
const NO_SCHEDULE: &str = "none";

#[derive(Serialize, Deserialize)]
struct RunStartV1 {
    tick: Option<TimeV1>,
    after: TimeV1,
    started: TimeV1,
    owner: Uuid,
    max_run_seconds: u64,
}

#[derive(Serialize, Deserialize)]
struct RunEndV1 {
    result: RunResultV1,
    ended: TimeV1,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum RunResultV1 {
    Succeeded,
    Failed,
}

/// A schedule that a job has had, for human readers.
#[derive(Serialize, Deserialize)]
struct ScheduleV1 {
    since: TimeV1,
    expression: String,
    timezone: String,
}

/// How far a job is.
#[derive(Serialize, Deserialize)]
struct CursorV1 {
    /// What the time is a position in: another source starts from its beginning.
    source: String,
    until: TimeV1,
}

/// The log of all jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct JobLog {
    store: Arc<dyn Store>,
}

impl JobLog {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The last run of a job.
    pub(super) async fn last(&self, job: &Name) -> Result<Option<LoggedRun>, StoreError> {
        let keys = self.first_keys(layout::job_runs(job.as_str()), 2).await?;
        let mut numbers = keys.iter().filter_map(|key| layout::parse_job_run(key, job.as_str()));
        match numbers.next() {
            Some((number, _)) => self.run(job, number).await,
            None => Ok(None),
        }
    }

    /// The run of this number.
    pub(super) async fn run(
        &self,
        job: &Name,
        number: u64,
    ) -> Result<Option<LoggedRun>, StoreError> {
        let (start, end) = futures::try_join!(
            self.read::<RunStartV1>(layout::job_run(job.as_str(), number)),
            self.read::<RunEndV1>(layout::job_run_end(job.as_str(), number)),
        )?;
        let end = end.map(run_end);
        let start = match (start, &end) {
            (Some(start), _) => run_start(start),
            // A lifecycle rule removed the start.
            (None, Some(end)) => RunStart {
                tick: None,
                after: end.ended,
                started: end.ended,
                owner: Uuid::nil(),
                max_run_seconds: 0,
            },
            (None, None) => return Ok(None),
        };
        Ok(Some(LoggedRun { number, start, end }))
    }

    /// Starts a run. Returns whether its number was free.
    pub(super) async fn start(
        &self,
        job: &Name,
        number: u64,
        start: &RunStart,
    ) -> Result<bool, StoreError> {
        let RunStart { tick, after, started, owner, max_run_seconds } = *start;
        let record = RunStartV1 {
            tick: tick.map(TimeV1),
            after: TimeV1(after),
            started: TimeV1(started),
            owner,
            max_run_seconds,
        };
        self.put(layout::job_run(job.as_str(), number), &record).await
    }

    /// Ends a run, unless it has an end.
    pub(super) async fn end(
        &self,
        job: &Name,
        number: u64,
        end: &RunEnd,
    ) -> Result<(), StoreError> {
        let RunEnd { result, ended, message } = end.clone();
        let result = match result {
            RunResult::Succeeded => RunResultV1::Succeeded,
            RunResult::Failed => RunResultV1::Failed,
        };
        let record = RunEndV1 { result, ended: TimeV1(ended), message };
        self.put(layout::job_run_end(job.as_str(), number), &record).await.map(drop)
    }

    /// The time up to which the job has done its work in this source. `None` at its start.
    pub(super) async fn cursor(
        &self,
        job: &Name,
        source: &str,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let keys = self.first_keys(layout::job_cursors(job.as_str()), 1).await?;
        let Some(key) = keys.first() else { return Ok(None) };
        let found = self.read_key::<CursorV1>(key).await?;
        Ok(found.filter(|found| found.source == source).map(|found| found.until.0))
    }

    /// Records that a step of a run has done the work up to this time. Steps are numbered from 1.
    pub(super) async fn advance(
        &self,
        job: &Name,
        (number, step): (u64, u64),
        source: &str,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let record = CursorV1 { source: source.to_owned(), until: TimeV1(until) };
        self.put(layout::job_cursor(job.as_str(), number, step), &record).await.map(drop)
    }

    /// The time until which no tick of the job runs: its schedule was new then. A change of the schedule is recorded
    /// now. The clock of the replica that recorded it may be late.
    pub(super) async fn since(
        &self,
        job: &Job,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, StoreError> {
        let name = job.name.as_str();
        let digest = job.schedule_digest();
        let known = self.first_keys(layout::job_schedules(name), 1).await?;
        let last = known
            .first()
            .filter(|key| layout::parse_job_schedule(key, name).is_some_and(|last| last == digest));
        let recorded = match last {
            Some(key) => self.read_key::<ScheduleV1>(key).await?.map(|found| found.since.0),
            None => None,
        };
        match recorded {
            Some(since) if (now - since).abs() >= SKEW => Ok(since),
            Some(since) => Ok(since.max(now)),
            None => {
                let (expression, timezone) = job.schedule.as_ref().map_or_else(
                    || (String::new(), String::new()),
                    |schedule| (schedule.expression().to_owned(), schedule.timezone().to_string()),
                );
                self.record(name, &digest, now, expression, timezone).await?;
                Ok(now)
            }
        }
    }

    /// Records that jobs which are in the store are not in the file: if they return, they are new.
    pub(super) async fn record_absent(
        &self,
        is_in_file: impl Fn(&str) -> bool,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let request = ListRequest {
            prefix: layout::jobs_prefix(),
            start_after: None,
            delimited: true,
            limit: 1_000,
        };
        let listing = within(TIMEOUT, self.store.list(request)).await?;
        for folder in listing.folders {
            let name = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            if Name::new(name).is_none() || is_in_file(name) {
                continue;
            }
            let known = self.first_keys(layout::job_schedules(name), 1).await?;
            let last = known.first().and_then(|key| layout::parse_job_schedule(key, name));
            if last != Some(NO_SCHEDULE) {
                self.record(name, NO_SCHEDULE, now, String::new(), String::new()).await?;
            }
        }
        Ok(())
    }

    async fn record(
        &self,
        job: &str,
        digest: &str,
        now: DateTime<Utc>,
        expression: String,
        timezone: String,
    ) -> Result<(), StoreError> {
        let key = layout::job_schedule(job, AcceptedTime::new(now), digest);
        let record = ScheduleV1 { since: TimeV1(now), expression, timezone };
        self.put(key, &record).await.map(drop)
    }

    async fn first_keys(&self, prefix: String, limit: usize) -> Result<Vec<String>, StoreError> {
        let request = ListRequest { prefix, start_after: None, delimited: false, limit };
        Ok(within(TIMEOUT, self.store.list(request)).await?.keys)
    }

    async fn read_key<T: serde::de::DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        match ObjectKey::new(key) {
            Ok(key) => self.read(key).await,
            Err(_) => Ok(None),
        }
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        key: ObjectKey,
    ) -> Result<Option<T>, StoreError> {
        within(TIMEOUT, records::read(self.store.as_ref(), &key)).await
    }

    /// Puts a record. Returns whether it is new.
    async fn put(&self, key: ObjectKey, record: &impl Serialize) -> Result<bool, StoreError> {
        let payload = records::payload(record);
        let put = within(TIMEOUT, self.store.put_if_absent(&key, payload)).await?;
        Ok(put == PutOutcome::Created)
    }
}

fn run_start(record: RunStartV1) -> RunStart {
    let RunStartV1 { tick, after, started, owner, max_run_seconds } = record;
    RunStart {
        tick: tick.map(|tick| tick.0),
        after: after.0,
        started: started.0,
        owner,
        max_run_seconds,
    }
}

fn run_end(record: RunEndV1) -> RunEnd {
    let RunEndV1 { result, ended, message } = record;
    let result = match result {
        RunResultV1::Succeeded => RunResult::Succeeded,
        RunResultV1::Failed => RunResult::Failed,
    };
    RunEnd { result, ended: ended.0, message }
}

/// Whether the process of a run has had all its time, by the clocks of both machines.
pub(super) fn has_expired(run: &LoggedRun, now: DateTime<Utc>) -> bool {
    let max_run = TimeDelta::try_seconds(run.start.max_run_seconds.try_into().unwrap_or(i64::MAX));
    let limit = max_run.and_then(|max_run| max_run.checked_add(&SKEW));
    limit.is_some_and(|limit| now - run.start.started > limit)
}

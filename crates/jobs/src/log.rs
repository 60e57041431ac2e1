//! The log of a job's runs: each has the next number, a start that is put if absent, and an end.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The start of a run: the claim on its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStart {
    /// The tick that it is for; `None` if a caller asked for it.
    pub tick: Option<DateTime<Utc>>,
    /// Ticks up to this time had run before, or were skipped.
    pub after: DateTime<Utc>,
    /// When it started, by the clock of its machine.
    pub started: DateTime<Utc>,
    /// The process that runs it.
    pub owner: Uuid,
    /// How long it may take, in seconds. Its process ends it then.
    pub max_run_seconds: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunResult {
    /// It did all that it had to.
    Succeeded,
    /// It did not.
    Failed,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// How it ended.
    pub result: RunResult,
    /// When, by the clock of its machine.
    pub ended: DateTime<Utc>,
    /// What it did, for people.
    pub message: String,
}

/// A run in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRun {
    /// Its number, from 1.
    pub number: u64,
    /// Its start.
    pub start: RunStart,
    /// Its end; `None` while it runs, and if its process was lost.
    pub end: Option<RunEnd>,
}

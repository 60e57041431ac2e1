//! A job: its name, its schedule and its kind.

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};
use tara_export_settings_file::Name;

use super::Schedule;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name, unique in the file.
    pub name: Name,
    /// When it runs by itself; `None`: only when it is asked for.
    pub schedule: Option<Schedule>,
    /// How long one run may take.
    pub max_run: Duration,
    /// What it does.
    pub kind: JobKind,
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobKind {
    /// Delivers dead letters again.
    Redeliver(Redeliver),
    /// Sends a mail about the exports since the last one.
    Report(Report),
    /// Exports the sessions that the review application completed.
    Pull(Pull),
}

/// The settings of a job that delivers dead letters again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeliver {
    /// The targets; empty for all.
    pub targets: Vec<String>,
}

/// The settings of a job that sends reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The target of kind `email` that sends them.
    pub target: String,
    /// The addresses that get them; empty for those of the target.
    pub to: Vec<String>,
}

/// The settings of a job that exports completed sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The URL of the source. Not checked.
    pub url: String,
    /// Whether its host may have a private address.
    pub private_network: bool,
    /// The file with the token; `None` for requests without one.
    pub token_file: Option<PathBuf>,
    /// Sessions on one page.
    pub limit: usize,
    /// How long before its cursor a run starts.
    pub overlap: Duration,
    /// The time of the first session; `None` for all.
    pub since: Option<DateTime<Utc>>,
    /// How long the response with a page may take.
    pub timeout: Duration,
}

impl JobKind {
    /// The names of all kinds, as in `JOBS_FILE`.
    pub const NAMES: [&str; 3] = ["pull", "redeliver", "report"];

    /// As in `JOBS_FILE`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Redeliver(_) => "redeliver",
            Self::Report(_) => "report",
            Self::Pull(_) => "pull",
        }
    }
}

impl Job {
    /// The digest of the schedule. When it changes, no tick of the past runs.
    pub fn schedule_digest(&self) -> String {
        let mut digest = Sha256::new();
        if let Some(schedule) = &self.schedule {
            digest.update(schedule.expression());
            digest.update([0]);
            digest.update(Tz::name(schedule.timezone()));
        }
        digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

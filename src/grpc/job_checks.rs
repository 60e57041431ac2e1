//! The rows of `CheckStorage` for jobs: one for each.

use std::time::Duration;

use tara_export_jobs::RunResult;
use tara_export_store::{ProbeResult, ProbeStatus};

use crate::jobs::{JobView, Jobs};

/// The last run of every job.
pub(super) async fn rows(jobs: &Jobs) -> Vec<ProbeResult> {
    match jobs.list().await {
        Ok(jobs) => jobs.iter().map(job_row).collect(),
        Err(error) => vec![row(
            ProbeStatus::Warning,
            format!("the log of jobs cannot be read: {error}"),
            "no job runs until the store responds",
        )],
    }
}

fn job_row(view: &JobView) -> ProbeResult {
    let name = &view.job.name;
    let Some(run) = &view.last_run else {
        return row(ProbeStatus::Passed, format!("job {name} has not run yet"), "");
    };
    match &run.end {
        None => row(ProbeStatus::Passed, format!("job {name} runs since {}", run.started), ""),
        Some(end) if end.result == RunResult::Succeeded => {
            row(ProbeStatus::Passed, format!("job {name} succeeded at {}", end.ended), "")
        }
        Some(end) => row(
            ProbeStatus::Warning,
            format!("job {name} failed at {}: {}", end.ended, end.message),
            "correct the cause, and run it again: tara-export job run",
        ),
    }
}

fn row(status: ProbeStatus, message: String, hint: &str) -> ProbeResult {
    let hint = hint.to_owned();
    ProbeResult { check: "server.jobs", status, message, hint, duration: Duration::ZERO }
}

//! Metrics of jobs.

use tara_export_jobs::{RunEnd, RunResult};
use tara_export_settings_file::Name;
use tara_export_telemetry::names;

/// Lets the counters of a job exist before its first run, so that the first failure is an increase.
pub(super) fn register(job: &Name) {
    for result in ["succeeded", "failed"] {
        names::JOB_RUNS.register([job.to_string(), result.to_owned()]);
    }
}

/// A run of this process ended.
pub(super) fn ended(job: &Name, end: &RunEnd) {
    let result = match end.result {
        RunResult::Succeeded => "succeeded",
        RunResult::Failed => "failed",
    };
    names::JOB_RUNS.add(1, [job.to_string(), result.to_owned()]);
    if end.result == RunResult::Succeeded {
        names::JOB_LAST_SUCCESS.set(end.ended.timestamp() as f64, [job.to_string()]);
    }
}

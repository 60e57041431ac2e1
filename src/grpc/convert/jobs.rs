//! Jobs and their runs.

use tara_export_jobs::RunResult;

use super::timestamp;
use crate::{
    jobs::{JobView, RunView},
    proto::{self, job_run::State},
};

/// A job.
pub(in crate::grpc) fn job_message(view: &JobView) -> proto::Job {
    let schedule = view.job.schedule.as_ref();
    proto::Job {
        name: view.job.name.to_string(),
        kind: view.job.kind.as_str().to_owned(),
        schedule: schedule.map_or_else(String::new, |found| found.expression().to_owned()),
        timezone: schedule.map_or_else(String::new, |found| found.timezone().to_string()),
        next_time: view.next_tick.map(timestamp),
        last_run: view.last_run.as_ref().map(run_message),
    }
}

/// A run.
pub(in crate::grpc) fn run_message(view: &RunView) -> proto::JobRun {
    let state = match view.end.as_ref().map(|end| end.result) {
        None => State::Running,
        Some(RunResult::Succeeded) => State::Succeeded,
        Some(RunResult::Failed) => State::Failed,
    };
    proto::JobRun {
        job: view.job.to_string(),
        number: view.number.try_into().unwrap_or(i64::MAX),
        state: state.into(),
        tick_time: view.tick.map(timestamp),
        start_time: Some(timestamp(view.started)),
        end_time: view.end.as_ref().map(|end| timestamp(end.ended)),
        message: view.end.as_ref().map(|end| end.message.clone()).unwrap_or_default(),
    }
}

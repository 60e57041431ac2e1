//! Scheduled jobs: their file (`JOBS_FILE`), their schedules, the log of their runs, and when a run may start.
//!
//! Pure: what runs, where the log is stored and what the time is comes from the caller. Never depends on stores, the
//! engine, gRPC or settings.

mod definition;
mod file;
mod log;
mod schedule;
mod turn;

pub use self::{
    definition::{Job, JobKind, Pull, Redeliver, Report},
    file::{Jobs, SETTING},
    log::{LoggedRun, RunEnd, RunResult, RunStart},
    schedule::{InvalidSchedule, Schedule},
    turn::{CATCH_UP, Due, SKEW, Turn, handled_until, turn},
};

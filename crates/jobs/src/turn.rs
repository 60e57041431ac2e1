//! When a run of a job may start.
//!
//! A job has one run at a time, whatever the number of replicas: a run starts by putting the next number of the log, and
//! only after the last run has ended or has had all its time. That is why numbers are claimed, and not ticks: a replica
//! whose clock is late could claim a second attempt of one tick while another one claims the next tick.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{LoggedRun, Schedule};

/// A missed tick is made up for this long.
pub const CATCH_UP: TimeDelta = TimeDelta::hours(24);
/// How much the clocks of two replicas may differ.
pub const SKEW: TimeDelta = TimeDelta::hours(1);

/// What a replica knows when it asks for its turn.
#[derive(Debug, Clone, Copy)]
pub struct Due<'a> {
    /// The last run in the log.
    pub last: Option<&'a LoggedRun>,
    /// How long this process has seen the last run without an end, by its monotonic clock.
    pub open_for: Duration,
    /// Ticks up to this time are not run: the job, or its schedule, was new then.
    pub since: DateTime<Utc>,
    /// The time of this replica's clock.
    pub now: DateTime<Utc>,
}

/// Whether a run may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Start the run of this number, for this tick.
    Start {
        /// The number to put.
        number: u64,
        /// The tick.
        tick: DateTime<Utc>,
        /// See [`RunStart::after`](super::RunStart::after).
        after: DateTime<Utc>,
    },
    /// Another run has this much time left, unless it ends before.
    Busy(Duration),
    /// No tick is due.
    Idle,
}

/// Whether a run of a scheduled job may start now.
///
/// Of the ticks that are due, only the last one runs, and only within [`CATCH_UP`]. Ticks that came during a run are
/// skipped. The tick of a run that was lost runs again, unless a later one is due.
pub fn turn(schedule: &Schedule, due: Due<'_>) -> Turn {
    let left = due.last.and_then(|last| {
        let max_run = Duration::from_secs(last.start.max_run_seconds);
        (last.end.is_none() && due.open_for < max_run).then(|| max_run - due.open_for)
    });
    let after = handled_until(due.last, due.since);
    let Some(tick) = schedule.last_until(due.now) else { return Turn::Idle };
    if tick <= after || due.now - tick > CATCH_UP {
        return Turn::Idle;
    }
    match left {
        Some(left) => Turn::Busy(left),
        None => Turn::Start { number: due.last.map_or(1, |last| last.number + 1), tick, after },
    }
}

/// Ticks up to this time have run, came during a run, or are of a time when the schedule was not in force.
pub fn handled_until(last: Option<&LoggedRun>, since: DateTime<Utc>) -> DateTime<Utc> {
    let Some(LoggedRun { start, end, .. }) = last else { return since };
    let handled = match end {
        // The clock of its machine may be late.
        Some(end) => end.ended.max(start.tick.unwrap_or(start.after)).max(start.after),
        // Its tick, if it had one, was not run to its end.
        None => start.after,
    };
    handled.max(since)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

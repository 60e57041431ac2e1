use std::collections::BTreeMap;

use chrono_tz::Tz;
use uuid::Uuid;

use super::*;
use crate::{RunEnd, RunResult, RunStart};

/// Milliseconds of real time.
type Milliseconds = i64;

const REPLICAS: usize = 3;
const MAX_RUN: Duration = Duration::from_secs(600);
const START: i64 = 1_764_547_200_000;

fn schedule(expression: &str) -> Schedule {
    Schedule::new(expression, Tz::UTC).unwrap()
}

fn time(milliseconds: Milliseconds) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(START + milliseconds).unwrap()
}

/// Reproducible random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A replica: its clock, and what it remembers.
struct Replica {
    owner: Uuid,
    skew: TimeDelta,
    since: DateTime<Utc>,
    /// The open run that it sees, and since when.
    seen: Option<(u64, Milliseconds)>,
    /// The run that it executes, and when that ends.
    running: Option<(u64, Milliseconds)>,
    dead_until: Milliseconds,
}

/// A run as it really was.
#[derive(Debug)]
struct Executed {
    tick: DateTime<Utc>,
    from: Milliseconds,
    to: Milliseconds,
}

#[derive(Default)]
struct World {
    log: BTreeMap<u64, LoggedRun>,
    executed: Vec<Executed>,
}

impl World {
    fn poll(
        &mut self,
        replica: &mut Replica,
        schedule: &Schedule,
        real: Milliseconds,
        length: i64,
    ) {
        let now = time(real) + replica.skew;
        if let Some((number, until)) = replica.running {
            if real < until {
                return;
            }
            replica.running = None;
            let end = RunEnd { result: RunResult::Succeeded, ended: now, message: String::new() };
            self.log.get_mut(&number).unwrap().end.get_or_insert(end);
        }
        let last = self.log.last_key_value().map(|(_, run)| run);
        let open = last.filter(|run| run.end.is_none()).map(|run| run.number);
        replica.seen = match (open, replica.seen) {
            (Some(open), Some((number, since))) if open == number => Some((number, since)),
            (open, _) => open.map(|open| (open, real)),
        };
        let open_for = replica.seen.map_or(0, |(_, since)| real - since);
        let open_for = Duration::from_millis(open_for.unsigned_abs());
        let due = Due { last, open_for, since: replica.since, now };
        if let Turn::Start { number, tick, after } = turn(schedule, due) {
            let start = RunStart {
                tick: Some(tick),
                after,
                started: now,
                owner: replica.owner,
                max_run_seconds: MAX_RUN.as_secs(),
            };
            assert!(self.log.insert(number, LoggedRun { number, start, end: None }).is_none());
            replica.running = Some((number, real + length));
            self.executed.push(Executed { tick, from: real, to: real + length });
        }
    }
}

/// Three replicas with wrong clocks that ask for their turns until a number of ticks has passed.
fn simulate(seed: u64, ticks: i64, kills: bool) -> World {
    const INTERVAL: Milliseconds = 15 * 60_000;
    let schedule = schedule("*/15 * * * *");
    let mut random = Random(seed);
    let mut replicas: Vec<Replica> = (0..REPLICAS)
        .map(|number| Replica {
            owner: Uuid::from_u128(number as u128),
            skew: TimeDelta::minutes(random.below(41).cast_signed() - 20),
            since: time(0),
            seen: None,
            running: None,
            dead_until: 0,
        })
        .collect();
    let mut world = World::default();
    let mut real = 0;
    while real < ticks * INTERVAL {
        real += 1_000 + random.below(20_000).cast_signed();
        let replica = &mut replicas[usize::try_from(random.below(REPLICAS as u64)).unwrap()];
        if real < replica.dead_until {
            continue;
        }
        if kills && random.below(200) == 0 {
            if replica.running.take().is_some()
                && let Some(lost) = world.executed.last_mut()
            {
                lost.to = lost.to.min(real);
            }
            replica.seen = None;
            replica.dead_until = real + random.below(1_800_000).cast_signed();
            continue;
        }
        let length = 100 + random.below(60_000).cast_signed();
        world.poll(replica, &schedule, real, length);
    }
    world
}

#[test]
fn no_tick_is_missed_and_none_runs_twice() {
    let world = simulate(0x5eed, 10_000, false);
    let mut ticks: Vec<DateTime<Utc>> = world.executed.iter().map(|run| run.tick).collect();
    assert!(ticks.len() >= 9_990, "{}", ticks.len());
    assert!(ticks.is_sorted());
    ticks.dedup();
    assert_eq!(ticks.len(), world.executed.len(), "a tick ran twice");
    let interval = TimeDelta::minutes(15);
    for pair in ticks.windows(2) {
        assert_eq!(pair[1] - pair[0], interval);
    }
}

#[test]
fn killed_replicas_never_leave_two_runs_at_the_same_time() {
    for seed in 1..=20 {
        let world = simulate(seed * 0x9e37_79b9, 500, true);
        assert!(world.executed.len() > 300, "{}", world.executed.len());
        for pair in world.executed.windows(2) {
            assert!(pair[0].to <= pair[1].from, "{pair:?}");
        }
        assert!(world.log.values().any(|run| run.end.is_none()), "no run was lost");
    }
}

fn logged(tick: Option<i64>, end: Option<i64>) -> LoggedRun {
    let start = RunStart {
        tick: tick.map(time),
        after: time(0),
        started: time(tick.unwrap_or(0)),
        owner: Uuid::nil(),
        max_run_seconds: 600,
    };
    let end = end.map(|end| RunEnd {
        result: RunResult::Failed,
        ended: time(end),
        message: String::new(),
    });
    LoggedRun { number: 7, start, end }
}

const MINUTE: i64 = 60_000;

fn ask(last: Option<&LoggedRun>, open_for: u64, now: i64) -> Turn {
    let open_for = Duration::from_secs(open_for);
    turn(&schedule("*/5 * * * *"), Due { last, open_for, since: time(0), now: time(now) })
}

#[test]
fn nothing_runs_when_a_job_is_new() {
    assert_eq!(ask(None, 0, 4 * MINUTE), Turn::Idle);
    assert!(matches!(ask(None, 0, 5 * MINUTE), Turn::Start { number: 1, .. }));
}

#[test]
fn only_the_last_missed_tick_runs_and_only_for_a_day() {
    let last = logged(Some(5 * MINUTE), Some(6 * MINUTE));
    let started = ask(Some(&last), 0, 61 * MINUTE);
    assert_eq!(
        started,
        Turn::Start { number: 8, tick: time(60 * MINUTE), after: time(6 * MINUTE) }
    );
    let daily = schedule("0 0 * * *");
    let ask = |now| {
        let due = Due { last: None, open_for: Duration::ZERO, since: time(0), now: time(now) };
        turn(&daily, due)
    };
    let day = 24 * 60 * MINUTE;
    let first = daily.next_after(time(0)).unwrap();
    let offset = (first - time(0)).num_milliseconds();
    assert!(matches!(ask(offset), Turn::Start { .. }));
    assert!(matches!(ask(offset + day - 1), Turn::Start { tick, .. } if tick == first));
}

#[test]
fn ticks_during_a_run_are_skipped() {
    let open = logged(Some(5 * MINUTE), None);
    assert_eq!(ask(Some(&open), 90, 11 * MINUTE), Turn::Busy(Duration::from_secs(510)));
    let ended = logged(Some(5 * MINUTE), Some(12 * MINUTE));
    assert_eq!(ask(Some(&ended), 0, 13 * MINUTE), Turn::Idle);
    assert!(matches!(ask(Some(&ended), 0, 15 * MINUTE), Turn::Start { number: 8, .. }));
}

#[test]
fn tick_of_a_lost_run_runs_again_after_its_time() {
    let lost = logged(Some(5 * MINUTE), None);
    assert_eq!(ask(Some(&lost), 599, 9 * MINUTE), Turn::Busy(Duration::from_secs(1)));
    let again = ask(Some(&lost), 600, 9 * MINUTE);
    assert_eq!(again, Turn::Start { number: 8, tick: time(5 * MINUTE), after: time(0) });
}

#[test]
fn run_that_a_late_clock_ended_lets_no_tick_run_again() {
    let mut manual = logged(None, Some(2 * MINUTE));
    manual.start.after = time(20 * MINUTE);
    assert_eq!(ask(Some(&manual), 0, 21 * MINUTE), Turn::Idle);
}

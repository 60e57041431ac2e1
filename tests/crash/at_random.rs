//! Processes that are killed or terminated at random moments, with random faults of S3 and of the
//! receiver of events.

use std::{
    env,
    iter::repeat_n,
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::StatusCode;
use tara_export_test_support::{Fault, FaultRule, Operation};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    callers::send,
    ledger::ExportCase,
    notified::Totals,
    process::{End, until, within},
    random::Random,
    receiver::Answer,
    suspects::retry,
    world::World,
};

/// Processes in one run.
const PROCESSES: u32 = 34;
/// The maximum lifetime of a process, about as long as its work takes.
const MAX_LIFETIME_MS: u64 = 250;

/// How long some processes live before that, unless a caller gets an event.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// S3 failures that the server retries for a while.
const OUTAGES: [Fault; 2] = [Fault::SERVICE_UNAVAILABLE, Fault::ResetBefore];
/// The retry budget, short enough that a process may exceed it.
const RETRY_BUDGET: &str = "150ms";

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Kill,
    Terminate,
}

#[tokio::test]
async fn kill_at_random_moment_is_recovered_1() {
    repeated(Ending::Kill).await;
}

#[tokio::test]
async fn kill_at_random_moment_is_recovered_2() {
    repeated(Ending::Kill).await;
}

#[tokio::test]
async fn kill_at_random_moment_is_recovered_3() {
    repeated(Ending::Kill).await;
}

#[tokio::test]
async fn terminate_at_random_moment_is_recovered() {
    repeated(Ending::Terminate).await;
}

/// One run, or with `CRASH_MINUTES` as many as fit into that time, each with another seed.
async fn repeated(ending: Ending) {
    let minutes = env::var("CRASH_MINUTES")
        .map_or(0, |minutes| minutes.parse().expect("CRASH_MINUTES is a number"));
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    loop {
        let Totals { ends, events, duplicates, lost_answers } = ended_at_any_moment(ending).await;
        // `.ci/soak` adds these numbers up.
        println!(
            "run: {ends} ends, {events} events, {duplicates} duplicates, {lost_answers} lost answers"
        );
        if Instant::now() >= end {
            return;
        }
    }
}

/// Prints the seed if the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this run: CRASH_SEED={}", self.0);
        }
    }
}

async fn ended_at_any_moment(ending: Ending) -> Totals {
    let given =
        env::var("CRASH_SEED").ok().map(|seed| seed.parse().expect("CRASH_SEED is a number"));
    let seed = Seed(given.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0));
    let mut random = Random::new(seed.0);
    let world = World::new(RETRY_BUDGET).await;
    let mut world = world.notifying(|receiver| vec![receiver.target("hook")]).await;
    let mut cases: Vec<ExportCase> = Vec::new();
    for number in 1..=PROCESSES {
        inject_faults(&world, &mut random);
        let mut event_random = Random::new(seed.0 ^ u64::from(number));
        answer_events(&world, &mut event_random);
        add_cases(&mut cases, &mut random);
        let mut process = world.start("");
        let life = Duration::from_millis(random.below(MAX_LIFETIME_MS));
        // One in five processes gets no callers.
        let mut callers = Vec::new();
        if random.below(5) > 0
            && let Some(url) = process.url().await
        {
            // The newest cases and some earlier ones.
            let mut sent: Vec<ExportCase> = cases.iter().rev().take(2).copied().collect();
            sent.extend((0..random.below(4)).map(|_| random.choose(&cases)));
            callers = sent.into_iter().map(|case| send(&url, &world.ledger, case)).collect();
        }
        // On a busy machine a process would otherwise end before it accepts anything.
        if !callers.is_empty() && random.below(3) > 0 {
            let answered = world.ledger.count_events();
            let waiting = until("a caller gets an event", || {
                callers.iter().all(JoinHandle::is_finished)
                    || world.ledger.count_events() > answered
            });
            let _ = tokio::time::timeout(MAX_WAIT, waiting).await;
        }
        // The lifetime is random; there is no condition to wait for.
        tokio::time::sleep(life).await;
        let expected = match ending {
            Ending::Kill => {
                process.kill();
                End::Killed
            }
            Ending::Terminate => {
                // Before it listens, it has no signal handler and cannot exit in order.
                process.url().await.expect("the server starts");
                process.terminate();
                End::Exited(Some(0))
            }
        };
        assert_eq!(process.ended().await, expected, "process {number}");
        for caller in within("the callers", join_all(callers)).await {
            caller.expect("a caller got a wrong event");
        }
        world
            .ledger
            .log_event(&format!("process {number} has ended; journal: {:?}", world.journal()));
        world.check();
    }
    if !world.quarantined().is_empty() {
        // A start that was killed may not have written the events of quarantined entries.
        let mut process = world.start("");
        process.url().await.expect("the server starts");
        process.kill();
        process.ended().await;
        world.check();
    }
    retry_quarantined(&world);
    let totals = world.finish().await;
    assert!(world.quarantined().is_empty());
    totals
}

/// Replaces the answers to the events of the next process.
fn answer_events(world: &World, random: &mut Random) {
    let receiver = &world.notified.as_ref().expect("the world has a receiver").receiver;
    receiver.accept_all();
    let first = random.below(3) as usize;
    let answer = match random.below(7) {
        0 => Answer::Refuse(StatusCode::INTERNAL_SERVER_ERROR),
        1 => Answer::Refuse(StatusCode::BAD_REQUEST),
        2 => Answer::Close,
        3 => Answer::Lose,
        4 => Answer::Late(Duration::from_millis(random.below(MAX_LIFETIME_MS))),
        _ => return,
    };
    receiver.answer("hook", repeat_n(Answer::Accept, first).chain(repeat_n(answer, 3)));
}

/// Retries quarantined entries like an operator. An entry that was the only one in progress at
/// three kills is in quarantine.
fn retry_quarantined(world: &World) {
    for id in world.quarantined() {
        eprintln!("{id} is in quarantine");
        let output = retry(world, &id);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

fn add_cases(cases: &mut Vec<ExportCase>, random: &mut Random) {
    for _ in 0..=random.below(2) {
        let case = ExportCase::new(cases.len() as u32 + 1);
        let case = match random.below(6) {
            0 => case.local(),
            1 => case.without_fallback(),
            // The id of another case, by mistake.
            2 => match cases.last() {
                Some(last) if !last.no_fallback => ExportCase { content: 2, ..*last },
                _ => case,
            },
            _ => case,
        };
        cases.push(case);
    }
}

/// Replaces the S3 faults for the next process.
fn inject_faults(world: &World, random: &mut Random) {
    let s3 = &world.s3;
    s3.clear_faults();
    s3.latency(Duration::from_millis(random.choose(&[0, 0, 2, 8])));
    let first = random.below(20) as usize;
    let puts = |fault| FaultRule::new(fault).on(Operation::PutObject).after(first).times(3);
    let fail = |rule| {
        s3.fail(rule);
    };
    match random.below(7) {
        0 | 1 => {}
        2 => fail(FaultRule::new(Fault::ACCESS_DENIED)),
        3 => fail(FaultRule::new(OUTAGES[random.below(2) as usize].clone())),
        // The put takes effect and its response is lost.
        4 => fail(puts(Fault::ResetAfter)),
        // The put takes effect after the process has ended.
        5 => fail(puts(Fault::Delay(Duration::from_millis(400)))),
        _ => {
            let rule = FaultRule::new(Fault::ACCESS_DENIED).on(Operation::PutObject);
            fail(rule.key_contains("/feedback/"));
        }
    }
}

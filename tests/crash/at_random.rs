//! Killed at any moment, in any weather.

use std::{env, fs, time::Duration};

use futures::future::join_all;
use tara_export_test_support::{Fault, FaultRule, Operation};
use uuid::Uuid;

use crate::{
    callers::send,
    ledger::Wish,
    process::{End, within},
    random::Random,
    suspects::retry,
    world::World,
};

/// Processes that end in one run.
const PROCESSES: u32 = 30;
/// How long a process lives at most before it is ended: what it has to do takes about as long.
const LONGEST_LIFE_MS: u64 = 250;

/// Failures that are waited out for a while.
const OUTAGES: [Fault; 2] = [Fault::SERVICE_UNAVAILABLE, Fault::ResetBefore];
/// How long: a process may see the end of it.
const RETRY_BUDGET: &str = "150ms";

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Kill,
    Terminate,
}

#[tokio::test]
async fn killed_at_any_moment_1() {
    ended_at_any_moment(Ending::Kill).await;
}

#[tokio::test]
async fn killed_at_any_moment_2() {
    ended_at_any_moment(Ending::Kill).await;
}

#[tokio::test]
async fn killed_at_any_moment_3() {
    ended_at_any_moment(Ending::Kill).await;
}

#[tokio::test]
async fn asked_to_stop_at_any_moment() {
    ended_at_any_moment(Ending::Terminate).await;
}

/// Says the seed when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the same again: CRASH_SEED={}", self.0);
        }
    }
}

async fn ended_at_any_moment(ending: Ending) {
    let given = env::var("CRASH_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = Seed(given.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0));
    let mut random = Random::new(seed.0);
    let mut world = World::new(RETRY_BUDGET).await;
    let mut wishes: Vec<Wish> = Vec::new();
    for number in 1..=PROCESSES {
        change_weather(&world, &mut random);
        new_wishes(&mut wishes, &mut random);
        let mut process = world.start("");
        let life = Duration::from_millis(random.below(LONGEST_LIFE_MS));
        // One in five does not live to see a caller.
        let mut callers = Vec::new();
        if random.below(5) > 0
            && let Some(url) = process.url().await
        {
            // The newest, and some that were sent before.
            let mut sent: Vec<Wish> = wishes.iter().rev().take(2).copied().collect();
            sent.extend((0..random.below(4)).map(|_| random.one_of(&wishes)));
            callers = sent.into_iter().map(|wish| send(&url, &world.ledger, wish)).collect();
        }
        // The moment is chosen, not waited for.
        tokio::time::sleep(life).await;
        let expected = match ending {
            Ending::Kill => {
                process.kill();
                End::Killed
            }
            Ending::Terminate => {
                // Before that it has not taken the signal, and has nothing to end in order.
                process.url().await.expect("it starts");
                process.terminate();
                End::Exited(Some(0))
            }
        };
        assert_eq!(process.ended().await, expected, "process {number}");
        for caller in within("the callers", join_all(callers)).await {
            caller.expect("a caller was told something wrong");
        }
        world.ledger.note(&format!("process {number} has ended; journal: {:?}", world.journal()));
        world.check();
    }
    take_out_of_quarantine(&world);
    world.finish().await;
    assert!(quarantined(&world).is_empty());
}

/// What an operator does: an entry that was alone in progress at three kills is in quarantine.
fn take_out_of_quarantine(world: &World) {
    for id in quarantined(world) {
        eprintln!("{id} is in quarantine");
        let output = retry(world, &id);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

/// The ids of the entries in quarantine.
fn quarantined(world: &World) -> Vec<String> {
    let Ok(files) = fs::read_dir(world.data_dir().join(".tara-export/journal/quarantine")) else {
        return Vec::new();
    };
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".export")).map(|name| name[..36].to_owned()).collect()
}

fn new_wishes(wishes: &mut Vec<Wish>, random: &mut Random) {
    for _ in 0..=random.below(2) {
        let wish = Wish::new(wishes.len() as u32 + 1);
        let wish = match random.below(6) {
            0 => wish.local(),
            1 => wish.or_nothing(),
            // The id of another, by mistake.
            2 => match wishes.last() {
                Some(last) if !last.no_fallback => Wish { content: 2, ..*last },
                _ => wish,
            },
            _ => wish,
        };
        wishes.push(wish);
    }
}

/// What S3 does to the next process.
fn change_weather(world: &World, random: &mut Random) {
    let s3 = &world.s3;
    s3.clear_faults();
    s3.latency(Duration::from_millis(random.one_of(&[0, 0, 2, 8])));
    let first = random.below(20) as usize;
    let puts = |fault| FaultRule::new(fault).on(Operation::PutObject).after(first).times(3);
    let fail = |rule| {
        s3.fail(rule);
    };
    match random.below(7) {
        0 | 1 => {}
        2 => fail(FaultRule::new(Fault::ACCESS_DENIED)),
        3 => fail(FaultRule::new(OUTAGES[random.below(2) as usize].clone())),
        // Stored, and nobody is told.
        4 => fail(puts(Fault::ResetAfter)),
        // Stored when the process is long dead.
        5 => fail(puts(Fault::Delay(Duration::from_millis(400)))),
        _ => {
            let rule = FaultRule::new(Fault::ACCESS_DENIED).on(Operation::PutObject);
            fail(rule.key_contains("/feedback/"));
        }
    }
}

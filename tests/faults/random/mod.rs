//! Scripts of faults that a seed determines. A seed always gives the same script, but the order of concurrent
//! steps varies, so a failed seed may need several runs to fail again.

mod invariants;
mod script;
mod world;

use std::{env, panic::AssertUnwindSafe};

use futures::{FutureExt as _, StreamExt as _, stream};

use self::script::Script;

/// New seeds per run, by default.
const NEW_SEEDS: usize = 30;
/// Scripts played concurrently. They mostly wait.
const CONCURRENCY: usize = 6;

/// Seeds that every run plays, because they failed once.
const CORPUS: &str = include_str!("../corpus.txt");

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
}

fn corpus() -> Vec<u64> {
    let lines = CORPUS.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().unwrap()).collect()
}

/// Plays seeds. Panics with those that failed and how to repeat one.
async fn run(seeds: Vec<u64>) {
    let played = stream::iter(seeds).map(|seed| async move {
        let played = tokio::spawn(world::play(Script::of(seed)));
        (seed, AssertUnwindSafe(played).catch_unwind().await)
    });
    let mut played = played.buffer_unordered(CONCURRENCY);
    let mut failed = Vec::new();
    while let Some((seed, end)) = played.next().await {
        if !matches!(end, Ok(Ok(()))) {
            eprintln!("FAULT_SEED={seed} failed: {:#?}", Script::of(seed));
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "failed seeds, repeat one with FAULT_SEED=n: {failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn corpus_seeds() {
    run(corpus()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_seeds() {
    let seeds = match setting("FAULT_SEED") {
        Some(seed) => vec![seed],
        None => {
            let count = setting("FAULT_SEEDS").map_or(NEW_SEEDS, |count| count as usize);
            (0..count).map(|_| uuid::Uuid::new_v4().as_u64_pair().0).collect()
        }
    };
    eprintln!("seeds: {seeds:?}");
    run(seeds).await;
}

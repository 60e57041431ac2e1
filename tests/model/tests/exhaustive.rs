//! Every state of every scenario, with everything in force, and with one mechanism missing.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tara_export_model::{
    counterexamples, goals, mechanisms::Mechanisms, report, scenarios, termination,
};

/// Searches at the same time: continuous integration has two cores.
const THREADS: usize = 2;

/// Does something with each item, on [`THREADS`] threads.
fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn every_invariant_holds_in_every_state_of_every_scenario() {
    for_each(&scenarios::all(), |scenario| {
        let search = report::search(scenario, Mechanisms::default());
        println!(
            "{}: {} states, {} different, depth {}, {:.1} s",
            scenario.name,
            search.states,
            search.unique_states,
            search.depth,
            search.duration.as_secs_f64()
        );
        if let Some(violation) = search.violations.first() {
            panic!("{}: broken: {}\n{}", scenario.name, violation.invariant, violation.trace());
        }
        assert!(search.is_complete, "{}: not every state was visited", scenario.name);
        for goal in scenario.reaches.iter().chain([&goals::COMMITTED]) {
            assert!(search.goals.contains(goal), "{}: never reached: {goal}", scenario.name);
        }
    });
}

#[test]
fn without_any_one_mechanism_an_invariant_breaks() {
    for_each(&counterexamples::all(), |example| {
        let violation = example.violation();
        let (name, scenario) = (example.mechanism, example.scenario);
        let violation = violation
            .unwrap_or_else(|| panic!("without {name}: {scenario}: {} holds", example.invariant));
        println!(
            "without {name}: {scenario}: {}, {} steps",
            violation.invariant,
            violation.steps()
        );
    });
}

#[test]
fn each_mechanism_has_its_counterexample() {
    let everything = format!("{:?}", Mechanisms::default());
    let examples = counterexamples::all();
    assert_eq!(everything.matches(": true").count(), examples.len());
    for example in examples {
        let without = format!("{:?}", example.without);
        assert!(without.contains(&format!("{}: false", example.mechanism)));
        assert_eq!(without.matches(": false").count(), 1);
    }
}

/// With this and "nothing is stuck", what is begun comes to its end whatever the order of things.
#[test]
fn nothing_goes_round_for_ever() {
    let small = ["fallback none", "id taken", "one name, one replica"];
    let scenarios: Vec<_> =
        scenarios::all().into_iter().filter(|scenario| small.contains(&scenario.name)).collect();
    assert_eq!(scenarios.len(), small.len());
    for_each(&scenarios, |scenario| {
        assert_eq!(termination::cycle(scenario), None, "{}", scenario.name);
    });
}

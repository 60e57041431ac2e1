//! Checks every state of every scenario, with all mechanisms and with one disabled.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::{counterexamples, goals, mechanisms::Mechanisms, report, scenarios, termination};

/// Concurrent searches: continuous integration has two cores.
const THREADS: usize = 2;

/// Calls `work` with each item, on [`THREADS`] threads.
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
fn invariants_are_satisfied_in_every_state() {
    for_each(&scenarios::all(), |scenario| {
        let search = report::search(scenario, Mechanisms::default());
        println!(
            "{}: {} states, {} distinct, depth {}, {:.1} s",
            scenario.name,
            search.states,
            search.unique_states,
            search.depth,
            search.duration.as_secs_f64()
        );
        if let Some(violation) = search.violations.first() {
            panic!("{}: violated: {}\n{}", scenario.name, violation.invariant, violation.trace());
        }
        assert!(search.is_complete, "{}: not every state was visited", scenario.name);
        for goal in scenario.reaches.iter().chain([&goals::COMMITTED]) {
            assert!(search.goals.contains(goal), "{}: never reached: {goal}", scenario.name);
        }
    });
}

#[test]
fn every_disabled_mechanism_breaks_an_invariant() {
    for_each(&counterexamples::all(), |example| {
        let violation = example.violation();
        let (name, scenario) = (example.mechanism, example.scenario);
        let violation = violation.unwrap_or_else(|| {
            panic!("without {name}: {scenario}: {} is not violated", example.invariant)
        });
        println!(
            "without {name}: {scenario}: {}, {} steps",
            violation.invariant,
            violation.steps()
        );
    });
}

#[test]
fn every_mechanism_has_one_counterexample() {
    let everything = format!("{:?}", Mechanisms::default());
    let examples = counterexamples::all();
    assert_eq!(everything.matches(": true").count(), examples.len());
    for example in examples {
        let without = format!("{:?}", example.without);
        assert!(without.contains(&format!("{}: false", example.mechanism)));
        assert_eq!(without.matches(": false").count(), 1);
    }
}

/// Without cycles, and with "no export is stuck", every order of actions ends.
#[test]
fn small_scenarios_have_no_cycle() {
    let small = [
        "fallback none",
        "id taken",
        "one name, one replica",
        "store replaced",
        "store replaced, document",
        "events",
        "events, machine lost",
    ];
    let scenarios: Vec<_> =
        scenarios::all().into_iter().filter(|scenario| small.contains(&scenario.name)).collect();
    assert_eq!(scenarios.len(), small.len());
    for_each(&scenarios, |scenario| {
        assert_eq!(termination::cycle(scenario), None, "{}", scenario.name);
    });
}

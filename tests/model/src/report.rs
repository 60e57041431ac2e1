//! Checks scenarios and prints the tables of `docs/guarantees.md`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::{
    actions::Action,
    counterexamples, invariants,
    mechanisms::Mechanisms,
    protocol::Protocol,
    scenarios::{self, Scenario},
    state::State,
};

/// A trace to a state that violates an invariant.
#[derive(Debug)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// The trace, from the initial state on.
    pub path: Path<State, Action>,
}

impl Violation {
    /// The number of actions.
    pub fn steps(&self) -> usize {
        self.path.clone().into_actions().len()
    }

    /// The actions, one per line.
    pub fn trace(&self) -> String {
        let actions = self.path.clone().into_actions();
        actions.iter().map(|action| format!("  {action:?}\n")).collect()
    }
}

/// The result of a search.
#[derive(Debug)]
pub struct Search {
    /// States generated, with repetitions.
    pub states: usize,
    /// Different states.
    pub unique_states: usize,
    /// The largest distance of a state from the initial state.
    pub depth: usize,
    /// The duration of the search.
    pub duration: Duration,
    /// Whether every state within the scenario's bounds was visited.
    pub is_complete: bool,
    /// The violated invariants.
    pub violations: Vec<Violation>,
    /// The reached goals.
    pub goals: Vec<&'static str>,
}

/// Visits every state of a scenario, breadth first, until an invariant is violated.
pub fn search(scenario: &Scenario, mechanisms: Mechanisms) -> Search {
    let start = Instant::now();
    let protocol = Protocol { scenario: scenario.clone(), mechanisms };
    let until = HasDiscoveries::AnyFailures;
    let checker = protocol.checker().finish_when(until).spawn_bfs().join();
    let mut found = checker.discoveries();
    let violations = invariants::all()
        .iter()
        .filter_map(|invariant| found.remove_entry(invariant.name))
        .map(|(invariant, path)| Violation { invariant, path })
        .collect();
    Search {
        states: checker.state_count(),
        unique_states: checker.unique_state_count(),
        depth: checker.max_depth(),
        duration: start.elapsed(),
        is_complete: checker.is_done(),
        violations,
        goals: found.into_keys().collect(),
    }
}

/// A trace that violates one invariant, shorter than a limit if one is given. It is the shortest or
/// nearly so: the checker processes blocks of states and keeps the last trace that it finds in a
/// block.
pub fn violation(
    scenario: &Scenario,
    mechanisms: Mechanisms,
    invariant: &'static str,
    below_steps: Option<usize>,
) -> Option<Violation> {
    let protocol = Protocol { scenario: scenario.clone(), mechanisms };
    let until = HasDiscoveries::AnyOf(BTreeSet::from([invariant]));
    let builder = protocol.checker().finish_when(until);
    let builder = match below_steps {
        // The checker counts states, including the initial one, and stops before its limit.
        Some(steps) => builder.target_max_depth(steps + 1),
        None => builder,
    };
    let path = builder.spawn_bfs().join().discovery(invariant)?;
    Some(Violation { invariant, path })
}

/// The shortest trace that violates one invariant.
pub fn shortest_violation(
    scenario: &Scenario,
    mechanisms: Mechanisms,
    invariant: &'static str,
) -> Option<Violation> {
    let mut shortest = violation(scenario, mechanisms, invariant, None)?;
    while let Some(shorter) = violation(scenario, mechanisms, invariant, Some(shortest.steps())) {
        shortest = shorter;
    }
    Some(shortest)
}

/// Prints the scenarios whose names have a prefix, with their sizes; returns whether every invariant
/// is satisfied in all.
pub fn print_scenarios(prefix: &str) -> bool {
    println!("| scenario | requests and faults | states | distinct | depth | seconds |");
    println!("|---|---|--:|--:|--:|--:|");
    let mut all_satisfied = true;
    let has_prefix = |scenario: &Scenario| scenario.name.starts_with(prefix);
    for scenario in scenarios::all().into_iter().filter(has_prefix) {
        let search = search(&scenario, Mechanisms::default());
        println!(
            "| {} | {} | {} | {} | {} | {:.1} |",
            scenario.name,
            scenario.description,
            search.states,
            search.unique_states,
            search.depth,
            search.duration.as_secs_f64()
        );
        for violation in &search.violations {
            println!("\nviolated: {}\n{}", violation.invariant, violation.trace());
        }
        all_satisfied &= search.is_complete && search.violations.is_empty();
    }
    all_satisfied
}

/// Prints the invariant that each disabled mechanism violates in scenarios whose names have a
/// prefix; returns whether each does.
pub fn print_counterexamples(prefix: &str) -> bool {
    println!("| without | scenario | violated invariant | shortest trace |");
    println!("|---|---|---|--:|");
    let mut all_violated = true;
    for example in counterexamples::all() {
        if !example.scenario.starts_with(prefix) {
            continue;
        }
        let violation = example.shortest_violation();
        let steps = violation.as_ref().map_or(0, Violation::steps);
        println!(
            "| `{}` | {} | {} | {steps} |",
            example.mechanism,
            example.scenario,
            violation.as_ref().map_or("nothing", |violation| violation.invariant),
        );
        all_violated &= violation.is_some();
    }
    all_violated
}

//! Checking a scenario, and the tables that `docs/guarantees.md` shows.

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

/// A way into a state that breaks an invariant.
#[derive(Debug)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// The shortest way, from the first state on.
    pub path: Path<State, Action>,
}

impl Violation {
    /// How many actions lead there.
    pub fn steps(&self) -> usize {
        self.path.clone().into_actions().len()
    }

    /// The actions, one a line.
    pub fn trace(&self) -> String {
        let actions = self.path.clone().into_actions();
        actions.iter().map(|action| format!("  {action:?}\n")).collect()
    }
}

/// What a search found.
#[derive(Debug)]
pub struct Search {
    /// States generated, with repetitions.
    pub states: usize,
    /// Different states.
    pub unique_states: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub duration: Duration,
    /// Whether every state within the scenario's bounds was visited.
    pub is_complete: bool,
    /// The invariants that broke.
    pub violations: Vec<Violation>,
    /// The goals that were met.
    pub goals: Vec<&'static str>,
}

/// Visits every state of a scenario, breadth first, until an invariant breaks.
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

/// A way to break one invariant, of fewer steps than a bound where there is one. It is the shortest
/// or nearly so: the checker works in blocks of states, and keeps the last that it found in one.
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
        // The checker counts states, the first one too, and stops before its bound.
        Some(steps) => builder.target_max_depth(steps + 1),
        None => builder,
    };
    let path = builder.spawn_bfs().join().discovery(invariant)?;
    Some(Violation { invariant, path })
}

/// The shortest way to break one invariant.
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

/// Prints what the scenarios mix and how large they are; says whether every invariant holds in all.
pub fn print_scenarios() -> bool {
    println!("| scenario | what it mixes | states | different | depth | seconds |");
    println!("|---|---|--:|--:|--:|--:|");
    let mut all_hold = true;
    for scenario in scenarios::all() {
        let search = search(&scenario, Mechanisms::default());
        println!(
            "| {} | {} | {} | {} | {} | {:.1} |",
            scenario.name,
            scenario.mixes,
            search.states,
            search.unique_states,
            search.depth,
            search.duration.as_secs_f64()
        );
        for violation in &search.violations {
            println!("\nbroken: {}\n{}", violation.invariant, violation.trace());
        }
        all_hold &= search.is_complete && search.violations.is_empty();
    }
    all_hold
}

/// Prints what breaks without each mechanism; says whether something does each time.
pub fn print_counterexamples() -> bool {
    println!("| without | marked (!) | scenario | what breaks | shortest trace |");
    println!("|---|---|---|---|--:|");
    let mut all_break = true;
    for example in counterexamples::all() {
        let violation = example.shortest_violation();
        let steps = violation.as_ref().map_or(0, Violation::steps);
        println!(
            "| `{}` | {} | {} | {} | {steps} |",
            example.mechanism,
            if example.is_marked { "yes" } else { "" },
            example.scenario,
            violation.as_ref().map_or("nothing", |violation| violation.invariant),
        );
        all_break &= violation.is_some();
    }
    all_break
}

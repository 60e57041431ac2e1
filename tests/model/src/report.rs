//! Checking a scenario, and the tables that `docs/guarantees.md` shows.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model, Path};

use crate::{
    actions::Action, invariants, mechanisms::Mechanisms, protocol::Protocol, scenarios::Scenario,
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
}

/// Visits every state of a scenario; with `wanted`, only until that invariant breaks.
pub fn search(
    scenario: &Scenario,
    mechanisms: Mechanisms,
    wanted: Option<&'static str>,
    threads: usize,
) -> Search {
    let start = Instant::now();
    let protocol = Protocol { scenario: scenario.clone(), mechanisms };
    let until = wanted
        .map_or(HasDiscoveries::AnyFailures, |name| HasDiscoveries::AnyOf(BTreeSet::from([name])));
    let checker = protocol.checker().threads(threads).finish_when(until).spawn_bfs().join();
    let mut violations: Vec<_> = checker
        .discoveries()
        .into_iter()
        .map(|(invariant, path)| Violation { invariant, path })
        .collect();
    violations.sort_by_key(|violation| {
        invariants::all().iter().position(|invariant| invariant.name == violation.invariant)
    });
    Search {
        states: checker.state_count(),
        unique_states: checker.unique_state_count(),
        depth: checker.max_depth(),
        duration: start.elapsed(),
        is_complete: checker.is_done(),
        violations,
    }
}

//! Checks that every order of actions ends.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use stateright::Model;

use crate::{
    actions::Action, mechanisms::Mechanisms, protocol::Protocol, scenarios::Scenario, state::State,
};

/// The progress of the depth-first search with a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// On the current path.
    Open,
    /// All states that follow it were visited.
    Done,
}

/// A state on the current path with its untried actions.
struct Frame {
    state: State,
    untried: Vec<Action>,
}

/// A state from which actions lead back to it, if there is one.
pub fn cycle(scenario: &Scenario) -> Option<State> {
    let protocol = Protocol { scenario: scenario.clone(), mechanisms: Mechanisms::default() };
    let mut visits = HashMap::new();
    let mut stack = Vec::new();
    for state in protocol.init_states() {
        visits.insert(fingerprint(&state), Visit::Open);
        stack.push(frame(&protocol, state));
    }
    while let Some(last) = stack.last_mut() {
        let Some(action) = last.untried.pop() else {
            visits.insert(fingerprint(&last.state), Visit::Done);
            stack.pop();
            continue;
        };
        let Some(next) = protocol.next_state(&last.state, action) else { continue };
        match visits.get(&fingerprint(&next)) {
            Some(Visit::Open) => return Some(next),
            Some(Visit::Done) => {}
            None => {
                visits.insert(fingerprint(&next), Visit::Open);
                stack.push(frame(&protocol, next));
            }
        }
    }
    None
}

fn fingerprint(state: &State) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(state)
}

fn frame(protocol: &Protocol, state: State) -> Frame {
    let mut untried = Vec::new();
    protocol.actions(&state, &mut untried);
    Frame { state, untried }
}

//! Whether every order of things comes to an end.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use stateright::Model;

use crate::{
    actions::Action, mechanisms::Mechanisms, protocol::Protocol, scenarios::Scenario, state::State,
};

/// How far a depth-first walk is with a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// On the way that is being walked.
    Open,
    /// Everything behind it was walked.
    Done,
}

/// A state on the way that is being walked, and what is still to be tried from it.
struct Place {
    state: State,
    untried: Vec<Action>,
}

/// A state that leads back to itself, if there is one.
pub fn cycle(scenario: &Scenario) -> Option<State> {
    let protocol = Protocol { scenario: scenario.clone(), mechanisms: Mechanisms::default() };
    let mut visits = HashMap::new();
    let mut way = Vec::new();
    for state in protocol.init_states() {
        visits.insert(fingerprint(&state), Visit::Open);
        way.push(place(&protocol, state));
    }
    while let Some(last) = way.last_mut() {
        let Some(action) = last.untried.pop() else {
            visits.insert(fingerprint(&last.state), Visit::Done);
            way.pop();
            continue;
        };
        let Some(next) = protocol.next_state(&last.state, action) else { continue };
        match visits.get(&fingerprint(&next)) {
            Some(Visit::Open) => return Some(next),
            Some(Visit::Done) => {}
            None => {
                visits.insert(fingerprint(&next), Visit::Open);
                way.push(place(&protocol, next));
            }
        }
    }
    None
}

fn fingerprint(state: &State) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(state)
}

fn place(protocol: &Protocol, state: State) -> Place {
    let mut untried = Vec::new();
    protocol.actions(&state, &mut untried);
    Place { state, untried }
}

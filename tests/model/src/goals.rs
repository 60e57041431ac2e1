//! What a scenario must lead to at least once: an invariant over states that never come says nothing.

use crate::{
    protocol::Protocol,
    state::{Sent, State},
    store::Bundle,
};

/// Something that can happen.
pub struct Goal {
    /// What it is.
    pub name: &'static str,
    /// Whether it is so in a state.
    pub is_met: fn(&Protocol, &State) -> bool,
}

/// A bundle is in S3, and nothing is left to do.
pub const COMMITTED: &str = "committed";
/// A replica stored a bundle locally, and in S3 later.
pub const DRAINED: &str = "drained";
/// Two replicas stored one export, and only one of them made the bundle.
pub const SHARED: &str = "shared";
/// A bundle has a derived id.
pub const KEPT_AS_DERIVED: &str = "kept as a derived id";
/// A bundle lies in a folder with a suffix.
pub const SUFFIXED: &str = "suffixed";
/// A caller got ALREADY_EXISTS.
pub const REFUSED: &str = "refused";
/// An export failed.
pub const FAILED: &str = "failed";
/// A replica that was never sent a request made its bundle.
pub const TAKEN_OVER: &str = "taken over";
/// A replica of release 2 made a bundle of format version 1.
pub const OLD_FORMAT: &str = "old format by a new release";

/// All goals.
pub fn all() -> Vec<Goal> {
    let goal = |name, is_met| Goal { name, is_met };
    vec![
        goal(COMMITTED, |_, state| state.is_quiet() && has_bundle(state, |_| true)),
        goal(DRAINED, |_, state| {
            state.told.iter().any(|told| {
                (0..told.sent.len())
                    .any(|place| told.stored_locally[place] && told.stored_in_s3[place].is_some())
            })
        }),
        goal(SHARED, |_, state| {
            state.told.iter().any(|told| told.stored_in_s3.iter().all(Option::is_some))
        }),
        goal(KEPT_AS_DERIVED, |_, state| {
            has_bundle(state, |bundle| bundle.source.id.derived_from.is_some())
        }),
        goal(SUFFIXED, |_, state| has_bundle(state, |bundle| bundle.folder.suffix > 1)),
        goal(REFUSED, |_, state| state.told.iter().any(|told| told.sent.contains(&Sent::Refused))),
        goal(FAILED, |_, state| {
            state.replicas.iter().any(|replica| replica.disk.failed.contains(&true))
        }),
        goal(TAKEN_OVER, |_, state| {
            has_bundle(state, |bundle| {
                state.told.iter().all(|told| told.sent[bundle.by] == Sent::Never)
            })
        }),
        goal(OLD_FORMAT, |_, state| {
            has_bundle(state, |bundle| bundle.source.version < state.replicas[bundle.by].release)
        }),
    ]
}

fn has_bundle(state: &State, is_such: impl Fn(Bundle) -> bool) -> bool {
    state.s3.bundles().any(is_such)
}

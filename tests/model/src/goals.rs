//! States that a scenario must reach: an invariant over states that never occur proves nothing.

use crate::{
    events::{EventType, Events, Note},
    protocol::Protocol,
    state::{RequestStatus, State},
    store::Bundle,
};

/// A condition that some state must satisfy.
pub struct Goal {
    /// The goal's name.
    pub name: &'static str,
    /// Whether a state satisfies the goal.
    pub is_met: fn(&Protocol, &State) -> bool,
}

/// A bundle is in S3 and no work remains.
pub const COMMITTED: &str = "committed";
/// A replica stored a bundle locally and later in S3.
pub const SYNCED: &str = "synced";
/// Two replicas reported one export as stored, and only one of them put the bundle.
pub const SHARED: &str = "shared";
/// A bundle has a derived id.
pub const STORED_UNDER_DERIVED_ID: &str = "stored under a derived id";
/// A bundle is in a folder with a suffix.
pub const SUFFIXED: &str = "suffixed";
/// A caller got REQUEST_ID_REUSED.
pub const REFUSED: &str = "refused";
/// An export failed.
pub const FAILED: &str = "failed";
/// A replica that never received a request put its bundle.
pub const TAKEN_OVER: &str = "taken over";
/// A replica of release 2 put a bundle of format version 1.
pub const OLD_FORMAT: &str = "old format put by a new release";

/// An export failed because its document is lost.
pub const LOST: &str = "document lost";
/// An entry waited because another store than its own responded.
pub const WAITED: &str = "waited for its store";
/// A proposal became an alias of a store's identity.
pub const ALIASED: &str = "proposal became an alias";
/// A machine left an event to the owner of its claim.
pub const YIELDED: &str = "event left to its owner";
/// Another machine delivered an event than the one that claimed it.
pub const ORPHAN_DELIVERED: &str = "orphan delivered";
/// The target got `fell_back`, then `synced`.
pub const SYNC_REPORTED: &str = "synced delivered";
/// The target got `failed`.
pub const FAILURE_REPORTED: &str = "failed delivered";
/// Both stores have a bundle.
pub const IN_BOTH: &str = "a bundle in each store";

/// All goals.
pub fn all() -> Vec<Goal> {
    let goal = |name, is_met| Goal { name, is_met };
    vec![
        goal(COMMITTED, |_, state| state.is_quiet() && has_bundle(state, |_| true)),
        goal(SYNCED, |_, state| {
            state.reported.iter().any(|reported| {
                (0..reported.status.len()).any(|replica| {
                    reported.stored_locally[replica] && reported.stored_in_s3[replica].is_some()
                })
            })
        }),
        goal(SHARED, |_, state| {
            state.reported.iter().any(|reported| reported.stored_in_s3.iter().all(Option::is_some))
        }),
        goal(STORED_UNDER_DERIVED_ID, |_, state| {
            has_bundle(state, |bundle| bundle.source.id.derived_from.is_some())
        }),
        goal(SUFFIXED, |_, state| has_bundle(state, |bundle| bundle.folder.suffix > 1)),
        goal(REFUSED, |_, state| {
            state.reported.iter().any(|reported| reported.status.contains(&RequestStatus::Refused))
        }),
        goal(FAILED, |_, state| {
            state.replicas.iter().any(|replica| replica.disk.failed.contains(&true))
        }),
        goal(TAKEN_OVER, |_, state| {
            has_bundle(state, |bundle| {
                state
                    .reported
                    .iter()
                    .all(|reported| reported.status[bundle.put_by] == RequestStatus::NotSent)
            })
        }),
        goal(LOST, |_, state| {
            state.replicas.iter().any(|replica| replica.disk.lost.contains(&true))
        }),
        goal(WAITED, |protocol, state| {
            state.replicas.iter().enumerate().any(|(replica, host)| {
                host.runs.iter().enumerate().any(|(request, run)| {
                    let context = protocol.context(replica, request);
                    run.as_ref().is_some_and(|run| context.waits_for_another_store(state, run))
                })
            })
        }),
        goal(ALIASED, |_, state| {
            state.replicas.iter().any(|host| !host.disk.identities.aliases.is_empty())
        }),
        goal(IN_BOTH, |_, state| state.s3.iter().all(|s3| s3.bundles().next().is_some())),
        goal(YIELDED, |_, state| {
            has_events(state, |events| events.all_notes().any(|(.., note)| note == Note::Yielded))
        }),
        goal(ORPHAN_DELIVERED, |_, state| {
            has_events(state, |events| {
                events.orphans.iter().flatten().any(|orphan| orphan.is_answered)
            })
        }),
        goal(SYNC_REPORTED, |_, state| {
            has_delivered(state, &[EventType::FellBack, EventType::Synced])
        }),
        goal(FAILURE_REPORTED, |_, state| has_delivered(state, &[EventType::Failed])),
        goal(OLD_FORMAT, |_, state| {
            has_bundle(state, |bundle| {
                bundle.source.version < state.replicas[bundle.put_by].release
            })
        }),
    ]
}

fn has_bundle(state: &State, predicate: impl Fn(Bundle) -> bool) -> bool {
    state.s3.iter().any(|s3| s3.bundles().any(&predicate))
}

fn has_events(state: &State, predicate: impl Fn(&Events) -> bool) -> bool {
    state.events.as_deref().is_some_and(predicate)
}

/// Whether the target got all these events of one request.
fn has_delivered(state: &State, types: &[EventType]) -> bool {
    has_events(state, |events| {
        events
            .received
            .iter()
            .any(|received| types.iter().all(|event| received.deliveries[*event as usize] > 0))
    })
}

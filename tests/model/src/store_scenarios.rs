//! Scenarios with two stores: other settings, and a location that refers to another store.

use crate::{
    goals::{ALIASED, IN_BOTH, LOST, OLD_FORMAT, WAITED},
    scenarios::{ONE, Request, Scenario, one_request},
    state::Budget,
};

const WITH_DOCUMENT: Request = Request { needs_document: true, ..ONE };

/// One request to one replica with store identities.
fn one_replica() -> Scenario {
    Scenario {
        routes: vec![(0, 0)],
        is_symmetric: false,
        identities_since: Some(1),
        artifacts: [0b01, 0b01],
        budget: Budget { sends: 1, ..Budget::default() },
        ..one_request()
    }
}

/// All scenarios of this module.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "other store configured",
            reaches: &[WAITED, IN_BOTH],
            description: "two stores; one request to two replicas with different stores; the first replica is configured with the other store and back",
            routes: vec![(0, 0), (0, 1)],
            locations: [0, 1],
            budget: Budget { sends: 2, reconfigurations: 2, ..Budget::default() },
            ..one_replica()
        },
        Scenario {
            name: "other store configured, document",
            reaches: &[WAITED, LOST],
            description: "two stores; a document in the first, deleted or once wrongly not found; the other store is configured and back; two outages, two crashes",
            requests: vec![WITH_DOCUMENT],
            artifacts: [0b11, 0b11],
            budget: Budget {
                sends: 1,
                crashes: 2,
                outages: 2,
                reconfigurations: 2,
                false_losses: 1,
                removals: 1,
                ..Budget::default()
            },
            ..one_replica()
        },
        Scenario {
            name: "store replaced",
            reaches: &[WAITED],
            description: "one request to one replica; its location refers to an empty store after an outage and back after another; a third outage, a crash",
            budget: Budget { sends: 1, crashes: 1, outages: 3, swaps: 2, ..Budget::default() },
            ..one_replica()
        },
        Scenario {
            name: "store replaced, document",
            reaches: &[WAITED, LOST],
            description: "a document, deleted or once wrongly not found; the location refers to another store, back and once more, without a failed request; an outage, a crash, a late put",
            requests: vec![WITH_DOCUMENT],
            artifacts: [0b11, 0b11],
            identities: [None, Some(1)],
            budget: Budget {
                sends: 1,
                crashes: 1,
                outages: 1,
                late_puts: 1,
                silent_swaps: 3,
                false_losses: 1,
                removals: 1,
                ..Budget::default()
            },
            ..one_replica()
        },
        Scenario {
            name: "first contact",
            reaches: &[ALIASED],
            description: "one request to a replica that has not read the identity of its store; two outages, two crashes, a late put",
            identities: [Some(0), None],
            budget: Budget { sends: 1, crashes: 2, outages: 2, late_puts: 1, ..Budget::default() },
            ..one_replica()
        },
        Scenario {
            name: "upgrade to identities",
            reaches: &[WAITED, OLD_FORMAT],
            description: "one request to one replica, before or after an upgrade to the release with identities; the other store is configured and back; an outage, a late put",
            identities_since: Some(2),
            budget: Budget {
                sends: 1,
                outages: 1,
                late_puts: 1,
                upgrades: 1,
                reconfigurations: 2,
                ..Budget::default()
            },
            ..one_replica()
        },
    ]
}

//! Scenarios with a target that gets events. Their bundles have an index entry and a manifest only.

use crate::{
    events::EventBudget,
    goals::{FAILED, FAILURE_REPORTED, ORPHAN_DELIVERED, SYNC_REPORTED, TAKEN_OVER, YIELDED},
    scenarios::{Fallback, ONE, Request, Scenario, one_request},
    state::Budget,
};

/// One request to one replica, with a target that gets its events.
fn one_replica() -> Scenario {
    Scenario {
        routes: vec![(0, 0)],
        is_symmetric: false,
        artifacts: [0, 0],
        events: Some(EventBudget::default()),
        budget: Budget { sends: 1, ..Budget::default() },
        ..one_request()
    }
}

/// The same with `JOURNAL=store`.
fn journal_in_store() -> Scenario {
    Scenario { journal_in_store: true, age_outlasts_runs: true, ..one_replica() }
}

/// All scenarios of this module.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "events",
            reaches: &[SYNC_REPORTED],
            description: "events; one request to one replica; an outage, two crashes, a lost answer",
            events: Some(EventBudget { lost_answers: 1, ..EventBudget::default() }),
            budget: Budget { sends: 1, outages: 1, crashes: 2, ..Budget::default() },
            ..one_replica()
        },
        Scenario {
            name: "events, sent twice",
            reaches: &[YIELDED],
            description: "events; one request to both replicas; a crash, a late claim",
            routes: vec![(0, 0), (0, 1)],
            is_symmetric: true,
            events: Some(EventBudget { late_claims: 1, ..EventBudget::default() }),
            budget: Budget { sends: 2, crashes: 1, ..Budget::default() },
            ..one_replica()
        },
        Scenario {
            name: "events, both fall back",
            reaches: &[YIELDED, SYNC_REPORTED],
            description: "events; one request to both replicas in an outage",
            routes: vec![(0, 0), (0, 1)],
            is_symmetric: true,
            starts_in_outage: true,
            budget: Budget { sends: 2, ..Budget::default() },
            ..one_replica()
        },
        Scenario {
            name: "events, id reused",
            reaches: &[SYNC_REPORTED],
            description: "events; one id with two contents, one to each replica in an outage",
            requests: vec![ONE, Request { content: 1, ..ONE }],
            routes: vec![(0, 0), (1, 1)],
            starts_in_outage: true,
            budget: Budget { sends: 2, ..Budget::default() },
            ..one_replica()
        },
        Scenario {
            name: "events, fallback none",
            reaches: &[FAILED, FAILURE_REPORTED],
            description: "events; one request with FALLBACK_NONE to one replica; an outage, two crashes, a late put",
            requests: vec![Request { fallback: Fallback::None, ..ONE }],
            is_slow: true,
            events: Some(EventBudget { lost_answers: 1, ..EventBudget::default() }),
            budget: Budget { sends: 1, outages: 1, crashes: 2, late_puts: 1, ..Budget::default() },
            ..one_replica()
        },
        Scenario {
            name: "events, machine lost",
            reaches: &[TAKEN_OVER, ORPHAN_DELIVERED, SYNC_REPORTED],
            description: "events, JOURNAL=store; one request to one replica; a machine lost, an outage, TAKEOVER_AGE passes, a lost answer, an outage of the target",
            events: Some(EventBudget {
                lost_answers: 1,
                target_outages: 1,
                late_claims: 0,
                ages: 1,
            }),
            budget: Budget { sends: 1, outages: 1, machine_losses: 1, ..Budget::default() },
            ..journal_in_store()
        },
        Scenario {
            name: "events, machine lost, sent twice",
            reaches: &[YIELDED, ORPHAN_DELIVERED],
            description: "events, JOURNAL=store; one request to both replicas in an outage; a machine lost, TAKEOVER_AGE passes",
            routes: vec![(0, 0), (0, 1)],
            is_symmetric: true,
            events: Some(EventBudget { ages: 1, ..EventBudget::default() }),
            starts_in_outage: true,
            budget: Budget { sends: 2, machine_losses: 1, ..Budget::default() },
            ..journal_in_store()
        },
    ]
}

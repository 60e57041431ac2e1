//! The scenarios: each combines requests with a few faults and is checked completely.

use crate::{
    events::EventBudget,
    goals::{
        FAILED, OLD_FORMAT, REFUSED, SHARED, STORED_UNDER_DERIVED_ID, SUFFIXED, SYNCED, TAKEN_OVER,
    },
    names::{
        Base, Digest, ExportId, Folder, LocationNumber, Pin, ReplicaNumber, RequestNumber, StoreId,
        Version,
    },
    state::{Budget, REPLICAS, STORES},
    store::{ArtifactSet, Key, Objects, Value},
};

/// One request: an id and a content.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The caller's `request_id`.
    pub id: u8,
    /// The content.
    pub content: u8,
    /// The document's name.
    pub document: u8,
    /// What happens if S3 fails.
    pub fallback: Fallback,
    /// Whether it names a document, which is in the first store only.
    pub needs_document: bool,
}

/// What happens if S3 fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The bundle is stored locally until S3 works.
    Local,
    /// The export fails.
    None,
}

/// An unclaimed folder with a manifest.
#[derive(Clone, Copy, Debug)]
pub struct ForeignFolder {
    /// The folder.
    pub folder: Folder,
    /// The artifacts in it.
    pub artifacts: ArtifactSet,
}

/// The requests and the faults of one search.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Its requests and faults, for the documentation.
    pub description: &'static str,
    /// The requests, at most [`crate::state::REQUESTS`].
    pub requests: Vec<Request>,
    /// The pairs of request and replica that may be sent.
    pub routes: Vec<(RequestNumber, ReplicaNumber)>,
    /// Whether the replicas are interchangeable. Then the first request is sent to the first
    /// replica only.
    pub is_symmetric: bool,
    /// The number of acceptances in one second, which share a folder's base name.
    pub acceptances_a_second: u8,
    /// The artifacts of format versions 1 and 2.
    pub artifacts: [ArtifactSet; 2],
    /// The initial format version of each replica's release.
    pub releases: [Version; REPLICAS],
    /// `JOURNAL=store`.
    pub journal_in_store: bool,
    /// Whether entries in S3 may be deleted; otherwise they get end markers.
    pub may_delete_entries: bool,
    /// Whether an entry is taken over only if no replica works on it: `TAKEOVER_AGE` is longer than
    /// every run.
    pub age_outlasts_runs: bool,
    /// Whether S3 may be too slow for `accepted` at any moment, not only when it fails.
    pub is_slow: bool,
    /// Whether S3 does not respond initially.
    pub starts_in_outage: bool,
    /// A foreign folder that is in S3 initially.
    pub foreign_folder: Option<ForeignFolder>,
    /// The content that the first request's id has in S3 initially.
    pub initial_content: Option<u8>,
    /// The first release with store identities; `None` if identities do not matter because there is
    /// one store.
    pub identities_since: Option<Version>,
    /// The initial location of each replica.
    pub locations: [LocationNumber; REPLICAS],
    /// The initial identities of the stores.
    pub identities: [Option<StoreId>; STORES],
    /// Whether a target gets events, and the faults of deliveries.
    pub events: Option<EventBudget>,
    /// The goals that must be reachable, besides a committed bundle.
    pub reaches: &'static [&'static str],
    /// The faults that may occur.
    pub budget: Budget,
}

impl Scenario {
    /// The initial objects of the stores.
    pub fn initial_objects(&self) -> [Objects; STORES] {
        let mut stores = [self.initial_foreign_objects(), Objects::default()];
        for (store, id) in stores.iter_mut().zip(self.identities) {
            if let Some(id) = id {
                store.put_if_absent(Key::Identity, Value::Identity(id));
            }
        }
        if self.requests.iter().any(|request| request.needs_document) {
            stores[0].put_if_absent(Key::Document, Value::Document);
        }
        stores
    }

    fn initial_foreign_objects(&self) -> Objects {
        let mut objects = Objects::default();
        if let Some(ForeignFolder { folder, artifacts }) = self.foreign_folder {
            objects.put_if_absent(Key::Manifest(folder), Value::ForeignFolder);
            for artifact in crate::store::artifacts_in(artifacts) {
                objects.put_if_absent(Key::Artifact(folder, artifact), Value::ForeignFolder);
            }
        }
        if let Some(content) = self.initial_content {
            let base = Base { second: 9, document: 9 };
            let pin = Pin { time: 99, version: 1, base };
            let id = ExportId { request_id: self.requests[0].id, derived_from: None };
            let digest = Digest { content, encoding: 1 };
            objects.put_if_absent(Key::Record(id), Value::Record { digest, pin });
        }
        objects
    }
}

pub(crate) const ONE: Request =
    Request { id: 0, content: 0, document: 0, fallback: Fallback::Local, needs_document: false };

/// One request to one replica or both, with all options at their defaults.
pub(crate) fn one_request() -> Scenario {
    Scenario {
        name: "",
        description: "",
        requests: vec![ONE],
        routes: vec![(0, 0), (0, 1)],
        is_symmetric: true,
        acceptances_a_second: 4,
        artifacts: [0b01, 0b11],
        releases: [1, 1],
        journal_in_store: false,
        may_delete_entries: true,
        age_outlasts_runs: false,
        is_slow: false,
        starts_in_outage: false,
        foreign_folder: None,
        initial_content: None,
        identities_since: None,
        locations: [0, 0],
        identities: [None, None],
        events: None,
        reaches: &[],
        budget: Budget { sends: 2, ..Budget::default() },
    }
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    let mut scenarios = with_one_request();
    scenarios.extend(with_two_requests());
    scenarios.extend(crate::store_scenarios::all());
    scenarios.extend(crate::event_scenarios::all());
    scenarios
}

fn with_one_request() -> Vec<Scenario> {
    let sends = 2;
    vec![
        Scenario {
            name: "sent twice",
            reaches: &[SHARED],
            description: "one request sent to both replicas in different seconds; a crash, a late put",
            acceptances_a_second: 1,
            budget: Budget { sends, crashes: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "lost responses",
            reaches: &[SHARED, SYNCED],
            description: "one request sent to both replicas in different seconds; two lost responses, a late put",
            acceptances_a_second: 1,
            budget: Budget { sends, lost_responses: 2, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "hedged puts",
            reaches: &[SHARED, SYNCED],
            description: "one request sent to both replicas in different seconds; a put is sent twice; a crash, an outage",
            acceptances_a_second: 1,
            budget: Budget { sends, crashes: 1, outages: 1, hedged_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "hedged puts, machine lost",
            reaches: &[TAKEN_OVER],
            description: "JOURNAL=store; one request to both replicas; two puts are sent twice, a machine lost",
            journal_in_store: true,
            budget: Budget { sends, machine_losses: 1, hedged_puts: 2, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "hedged puts, source lost",
            reaches: &[FAILED, TAKEN_OVER],
            description: "JOURNAL=store; one request to one replica; three puts are sent twice, a document lost, a machine lost, an outage, a crash",
            routes: vec![(0, 0)],
            journal_in_store: true,
            age_outlasts_runs: true,
            budget: Budget {
                sends: 1,
                source_losses: 1,
                machine_losses: 1,
                outages: 1,
                crashes: 1,
                hedged_puts: 3,
                ..Budget::default()
            },
            ..one_request()
        },
        Scenario {
            name: "outage",
            reaches: &[SHARED, SYNCED],
            description: "one request sent to both replicas in one second; an outage, two crashes",
            budget: Budget { sends, crashes: 2, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "two outages",
            reaches: &[SHARED, SYNCED],
            description: "one request sent to both replicas in different seconds; two outages, a crash",
            acceptances_a_second: 1,
            budget: Budget { sends, crashes: 1, outages: 2, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "id taken",
            reaches: &[STORED_UNDER_DERIVED_ID, REFUSED, SHARED],
            description: "one request sent to replicas of two releases, its id belongs to other content; an outage, a crash",
            is_symmetric: false,
            releases: [1, 2],
            initial_content: Some(9),
            budget: Budget { sends, crashes: 1, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "unclaimed folder",
            reaches: &[SUFFIXED],
            description: "an unclaimed folder with a manifest and other artifacts; a crash, a late put",
            foreign_folder: Some(ForeignFolder {
                folder: Folder::first(Base { second: 0, document: 0 }),
                artifacts: 0b10,
            }),
            budget: Budget { sends, crashes: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "upgrade",
            reaches: &[OLD_FORMAT, SYNCED],
            description: "one request sent to both replicas; an upgrade of each, an outage",
            budget: Budget { sends, upgrades: 2, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "upgrade, late put",
            reaches: &[OLD_FORMAT],
            description: "one request sent to both replicas; an upgrade of each, a late put",
            budget: Budget { sends, upgrades: 2, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "fallback none",
            reaches: &[FAILED],
            description: "one request with FALLBACK_NONE; an outage, a crash, a lost response, a late put",
            requests: vec![Request { fallback: Fallback::None, ..ONE }],
            is_slow: true,
            budget: Budget {
                sends,
                crashes: 1,
                outages: 1,
                lost_responses: 1,
                late_puts: 1,
                ..Budget::default()
            },
            ..one_request()
        },
        Scenario {
            name: "fallback none, journal in S3",
            reaches: &[FAILED],
            description: "JOURNAL=store; one request with FALLBACK_NONE to one replica; two outages, a crash, a late put",
            requests: vec![Request { fallback: Fallback::None, ..ONE }],
            routes: vec![(0, 0)],
            journal_in_store: true,
            budget: Budget { sends, crashes: 1, outages: 2, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "machine lost",
            reaches: &[TAKEN_OVER],
            description: "JOURNAL=store; one request to replicas of two releases; a machine lost, a late put",
            is_symmetric: false,
            releases: [1, 2],
            journal_in_store: true,
            budget: Budget { sends, machine_losses: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "machine lost, no deletions",
            reaches: &[TAKEN_OVER],
            description: "JOURNAL=store without deletions; one request to one replica; a machine lost, a late put",
            routes: vec![(0, 0)],
            journal_in_store: true,
            may_delete_entries: false,
            budget: Budget { sends: 1, machine_losses: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "source lost",
            reaches: &[FAILED, TAKEN_OVER],
            description: "JOURNAL=store without deletions; one request to one replica; a document lost, a machine lost, an outage, a crash",
            routes: vec![(0, 0)],
            journal_in_store: true,
            may_delete_entries: false,
            age_outlasts_runs: true,
            budget: Budget {
                sends: 1,
                source_losses: 1,
                machine_losses: 1,
                outages: 1,
                crashes: 1,
                ..Budget::default()
            },
            ..one_request()
        },
        Scenario {
            name: "source lost, late put",
            reaches: &[FAILED, TAKEN_OVER],
            description: "JOURNAL=store; one request to one replica; a document lost, a machine lost, a late put",
            routes: vec![(0, 0)],
            journal_in_store: true,
            age_outlasts_runs: true,
            budget: Budget {
                sends: 1,
                source_losses: 1,
                machine_losses: 1,
                late_puts: 1,
                ..Budget::default()
            },
            ..one_request()
        },
    ]
}

fn with_two_requests() -> Vec<Scenario> {
    let sends = 2;
    let one_id = vec![ONE, Request { content: 1, ..ONE }];
    let one_name = vec![ONE, Request { id: 1, content: 1, ..ONE }];
    let one_each = vec![(0, 0), (1, 1)];
    vec![
        Scenario {
            name: "id reused",
            reaches: &[STORED_UNDER_DERIVED_ID, REFUSED],
            description: "one id with two contents, one to each replica; slow S3, an outage, a crash",
            requests: one_id.clone(),
            routes: one_each.clone(),
            is_slow: true,
            budget: Budget { sends, crashes: 1, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "id reused, lost responses",
            reaches: &[STORED_UNDER_DERIVED_ID, REFUSED],
            description: "one id with two contents, one to each replica; slow S3, a lost response, a late put",
            requests: one_id.clone(),
            routes: one_each.clone(),
            is_slow: true,
            budget: Budget { sends, lost_responses: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "one name, one replica",
            reaches: &[SUFFIXED, SYNCED],
            description: "two exports with the same second and name at one replica; two outages",
            requests: one_name.clone(),
            routes: vec![(0, 0), (1, 0)],
            budget: Budget { sends, outages: 2, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "one name, two replicas",
            reaches: &[SUFFIXED],
            description: "two exports with the same second and name, one at each replica; a crash, a late put",
            requests: one_name.clone(),
            routes: one_each.clone(),
            budget: Budget { sends, crashes: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "one name, two releases",
            reaches: &[SUFFIXED],
            description: "two exports with the same second and name and other artifacts, one at each replica; a late put",
            is_symmetric: false,
            requests: one_name,
            routes: one_each.clone(),
            releases: [1, 2],
            budget: Budget { sends, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "id reused, machine lost",
            reaches: &[STORED_UNDER_DERIVED_ID, REFUSED],
            description: "JOURNAL=store; one id with two contents; a machine lost, an outage",
            requests: one_id.clone(),
            routes: one_each.clone(),
            journal_in_store: true,
            budget: Budget { sends, machine_losses: 1, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "id reused, no deletions",
            reaches: &[REFUSED],
            description: "JOURNAL=store without deletions; one id with two contents; a machine lost",
            requests: one_id,
            routes: one_each,
            journal_in_store: true,
            may_delete_entries: false,
            budget: Budget { sends, machine_losses: 1, ..Budget::default() },
            ..one_request()
        },
    ]
}

//! What is sent, and what strikes: each scenario mixes a few adversities and is visited whole.

use crate::{
    goals::{DRAINED, FAILED, KEPT_AS_DERIVED, OLD_FORMAT, REFUSED, SHARED, SUFFIXED, TAKEN_OVER},
    names::{Base, Digest, ExportId, Folder, Pin, ReplicaNumber, RequestNumber, Version},
    state::{Budget, REPLICAS},
    store::{ArtifactSet, Key, Objects, Value},
};

/// One request: an id and a content.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The caller's `request_id`.
    pub id: u8,
    /// What is to be exported.
    pub content: u8,
    /// The document's name.
    pub document: u8,
    /// What happens when S3 does not take it.
    pub fallback: Fallback,
}

/// What happens when S3 does not take an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It goes to the local store until S3 does.
    Local,
    /// It fails.
    None,
}

/// A folder with a manifest that nobody claimed.
#[derive(Clone, Copy, Debug)]
pub struct Stranger {
    /// The folder.
    pub folder: Folder,
    /// What is in it besides the manifest.
    pub artifacts: ArtifactSet,
}

/// A bounded world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it mixes, for people.
    pub mixes: &'static str,
    /// The requests, at most [`crate::state::REQUESTS`].
    pub requests: Vec<Request>,
    /// Which request may be sent to which replica.
    pub routes: Vec<(RequestNumber, ReplicaNumber)>,
    /// Whether exchanging the replicas changes nothing, so that the first request may be taken to
    /// go to the first.
    pub is_symmetric: bool,
    /// Acceptances that share a second, and so a folder's base name.
    pub acceptances_a_second: u8,
    /// What format versions 1 and 2 make.
    pub artifacts: [ArtifactSet; 2],
    /// The format version that each replica's release writes at first.
    pub releases: [Version; REPLICAS],
    /// `journal: store`.
    pub journal_in_store: bool,
    /// Whether S3 may take too long for `accepted` at any moment, not only when it fails.
    pub is_slow: bool,
    /// What lies in S3 before.
    pub stranger: Option<Stranger>,
    /// The content that the first request's id has in S3 before.
    pub first_content: Option<u8>,
    /// The goals that must be reachable, besides that a bundle is committed.
    pub reaches: &'static [&'static str],
    /// What may happen.
    pub budget: Budget,
}

impl Scenario {
    /// What lies in S3 at first.
    pub fn first_objects(&self) -> Objects {
        let mut objects = Objects::default();
        if let Some(Stranger { folder, artifacts }) = self.stranger {
            objects.put_if_absent(Key::Manifest(folder), Value::Stranger);
            for artifact in crate::store::artifacts_in(artifacts) {
                objects.put_if_absent(Key::Artifact(folder, artifact), Value::Stranger);
            }
        }
        if let Some(content) = self.first_content {
            let base = Base { second: 9, document: 9 };
            let pin = Pin { time: 99, version: 1, base };
            let id = ExportId { request_id: self.requests[0].id, derived_from: None };
            let digest = Digest { content, encoding: 1 };
            objects.put_if_absent(Key::Record(id), Value::Record { digest, pin });
        }
        objects
    }
}

const ONE: Request = Request { id: 0, content: 0, document: 0, fallback: Fallback::Local };

/// One request to either replica or both, nothing else set.
fn one_request() -> Scenario {
    Scenario {
        name: "",
        mixes: "",
        requests: vec![ONE],
        routes: vec![(0, 0), (0, 1)],
        is_symmetric: true,
        acceptances_a_second: 4,
        artifacts: [0b01, 0b11],
        releases: [1, 1],
        journal_in_store: false,
        is_slow: false,
        stranger: None,
        first_content: None,
        reaches: &[],
        budget: Budget { sends: 2, ..Budget::default() },
    }
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    let mut scenarios = of_one_request();
    scenarios.extend(of_two_requests());
    scenarios
}

fn of_one_request() -> Vec<Scenario> {
    let sends = 2;
    vec![
        Scenario {
            name: "sent twice",
            reaches: &[SHARED],
            mixes: "one request sent to both replicas in different seconds; a crash, a late put",
            acceptances_a_second: 1,
            budget: Budget { sends, crashes: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "lost answers",
            reaches: &[SHARED, DRAINED],
            mixes: "one request sent to both replicas in different seconds; two lost answers, a late put",
            acceptances_a_second: 1,
            budget: Budget { sends, lost_answers: 2, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "outage",
            reaches: &[SHARED, DRAINED],
            mixes: "one request sent to both replicas in one second; an outage, two crashes",
            budget: Budget { sends, crashes: 2, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "two outages",
            reaches: &[SHARED, DRAINED],
            mixes: "one request sent to both replicas in different seconds; two outages, a crash",
            acceptances_a_second: 1,
            budget: Budget { sends, crashes: 1, outages: 2, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "id taken",
            reaches: &[KEPT_AS_DERIVED, REFUSED, SHARED],
            mixes: "one request sent to replicas of two releases, its id taken by an earlier export; an outage, a crash",
            is_symmetric: false,
            releases: [1, 2],
            first_content: Some(9),
            budget: Budget { sends, crashes: 1, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "unclaimed folder",
            reaches: &[SUFFIXED],
            mixes: "a folder with a manifest that nobody claimed and other artifacts; a crash, a late put",
            stranger: Some(Stranger {
                folder: Folder::first(Base { second: 0, document: 0 }),
                artifacts: 0b10,
            }),
            budget: Budget { sends, crashes: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "upgrade",
            reaches: &[OLD_FORMAT, DRAINED],
            mixes: "one request sent to both replicas; an upgrade of each, an outage",
            budget: Budget { sends, upgrades: 2, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "upgrade, late put",
            reaches: &[OLD_FORMAT],
            mixes: "one request sent to both replicas; an upgrade of each, a late put",
            budget: Budget { sends, upgrades: 2, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "fallback none",
            reaches: &[FAILED],
            mixes: "one request with fallback NONE; an outage, a crash, a lost answer, a late put",
            requests: vec![Request { fallback: Fallback::None, ..ONE }],
            is_slow: true,
            budget: Budget {
                sends,
                crashes: 1,
                outages: 1,
                lost_answers: 1,
                late_puts: 1,
                ..Budget::default()
            },
            ..one_request()
        },
        Scenario {
            name: "fallback none, journal in S3",
            reaches: &[FAILED],
            mixes: "journal: store; one request with fallback NONE to one replica; two outages, a crash, a late put",
            requests: vec![Request { fallback: Fallback::None, ..ONE }],
            routes: vec![(0, 0)],
            journal_in_store: true,
            budget: Budget { sends, crashes: 1, outages: 2, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "machine lost",
            reaches: &[TAKEN_OVER],
            mixes: "journal: store; one request to replicas of two releases; a machine lost, a late put",
            is_symmetric: false,
            releases: [1, 2],
            journal_in_store: true,
            budget: Budget { sends, machine_losses: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
    ]
}

fn of_two_requests() -> Vec<Scenario> {
    let sends = 2;
    let one_id = vec![ONE, Request { content: 1, ..ONE }];
    let one_name = vec![ONE, Request { id: 1, content: 1, ..ONE }];
    let one_each = vec![(0, 0), (1, 1)];
    vec![
        Scenario {
            name: "id reused",
            reaches: &[KEPT_AS_DERIVED, REFUSED],
            mixes: "one id with two contents, one to each replica; a slow store, an outage, a crash",
            requests: one_id.clone(),
            routes: one_each.clone(),
            is_slow: true,
            budget: Budget { sends, crashes: 1, outages: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "id reused, lost answers",
            reaches: &[KEPT_AS_DERIVED, REFUSED],
            mixes: "one id with two contents, one to each replica; a slow store, a lost answer, a late put",
            requests: one_id.clone(),
            routes: one_each.clone(),
            is_slow: true,
            budget: Budget { sends, lost_answers: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "one name, one replica",
            reaches: &[SUFFIXED, DRAINED],
            mixes: "two exports of one second and name at one replica; two outages",
            requests: one_name.clone(),
            routes: vec![(0, 0), (1, 0)],
            budget: Budget { sends, outages: 2, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "one name, two replicas",
            reaches: &[SUFFIXED],
            mixes: "two exports of one second and name, one at each replica; a crash, a late put",
            requests: one_name,
            routes: one_each.clone(),
            budget: Budget { sends, crashes: 1, late_puts: 1, ..Budget::default() },
            ..one_request()
        },
        Scenario {
            name: "id reused, machine lost",
            reaches: &[KEPT_AS_DERIVED, REFUSED],
            mixes: "journal: store; one id with two contents; a machine lost, an outage",
            requests: one_id,
            routes: one_each,
            journal_in_store: true,
            budget: Budget { sends, machine_losses: 1, outages: 1, ..Budget::default() },
            ..one_request()
        },
    ]
}

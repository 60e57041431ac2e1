//! The invariants, checked from outside: in the bucket, on the replicas' disks and in responses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tara_export_bundle::Manifest;
use tara_export_client::proto::{Destination, Export, Fallback, ListExportsRequest, export::State};
use tara_export_test_support::{Operation, TestS3};
use tonic::Code;

use super::world::{Outcome, SentRequest, SentRequests};
use crate::{
    bundles,
    harness::{
        Host, TestServer,
        in_s3::{committed_bundles, objects},
        waiting::{journal, read, status},
    },
    requests::{id, name},
};

/// Objects that are removed after their export is committed.
const STORE_JOURNAL: &str = ".tara-export/journal/";

pub(crate) struct Invariants {
    s3: Arc<TestS3>,
    hosts: Arc<Vec<Host>>,
    sent: Arc<SentRequests>,
    /// The objects in the bucket at the last check.
    seen: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// The failure record of an export.
struct Failure {
    label: String,
    stored_under: Option<String>,
}

impl Invariants {
    pub(crate) fn new(s3: Arc<TestS3>, hosts: Arc<Vec<Host>>, sent: Arc<SentRequests>) -> Self {
        Self { s3, hosts, sent, seen: Mutex::default() }
    }

    /// At any time: every accepted export is stored somewhere, and the bundles in S3 are complete and stay.
    pub(crate) fn check_always(&self) {
        // In this order, so that an export that moves during the check is found at its next location.
        let sent = self.sent.all();
        let journals: Vec<String> = self.hosts.iter().map(journal_text).collect();
        let failures: Vec<Vec<Failure>> = self.hosts.iter().map(failures).collect();
        let local: Vec<BTreeMap<String, Manifest>> = self.hosts.iter().map(local_bundles).collect();
        let remote = labels(&committed_bundles(&self.s3));
        for SentRequest { replica, content, outcome } in sent {
            let label = content.label();
            let is_stored = outcome != Outcome::Accepted
                || journals[replica].contains(&label)
                || remote.contains(&label)
                || failures[replica].iter().any(|failure| failure.label == label)
                || (content.destination == Destination::Local
                    && labels(&local[replica]).contains(&label));
            assert!(is_stored, "{label} was accepted by replica {replica} and is lost");
        }
        self.check_nothing_changed();
    }

    fn check_nothing_changed(&self) {
        let mut seen = self.seen.lock().unwrap();
        let mut now = objects(&self.s3);
        now.retain(|key, _| !key.starts_with(STORE_JOURNAL));
        for (key, bytes) in seen.iter() {
            assert_eq!(now.get(key), Some(bytes), "{key} was changed or removed");
        }
        *seen = now;
    }

    /// Each export is counted once, at any time.
    pub(crate) async fn check_counts(&self, servers: &[TestServer]) {
        for server in servers {
            let counts = status(server).await.counts;
            let sum = counts.completed
                + counts.failed
                + counts.running
                + counts.pending
                + counts.fell_back
                + counts.quarantined;
            assert_eq!(counts.started, sum, "{counts:?}");
            assert_eq!(counts.quarantined, 0, "{counts:?}");
        }
    }

    /// A bundle that is reported as stored in S3 is there.
    pub(crate) fn check_reported_commit(&self, number: usize, export: &Export) {
        let label = self.sent.all()[number].content.label();
        let bundles = committed_bundles(&self.s3);
        let manifest = bundles.get(&export.folder_name).expect("the reported bundle is in S3");
        assert_eq!(manifest.session_id, label);
    }

    /// A reported failure has a record, so that it is reported again after a crash.
    pub(crate) fn check_reported_failure(&self, number: usize) {
        let SentRequest { replica, content, .. } = self.sent.all()[number].clone();
        let failures = failures(&self.hosts[replica]);
        let label = content.label();
        assert!(
            failures.iter().any(|failure| failure.label == label),
            "{label} has no failure record"
        );
    }

    /// After the final repair, when all exports are finished.
    pub(crate) async fn check_at_end(&self, servers: &mut [TestServer]) {
        self.check_always();
        let remote = committed_bundles(&self.s3);
        let local: Vec<BTreeMap<String, Manifest>> = self.hosts.iter().map(local_bundles).collect();
        check_each_once(&remote);
        local.iter().for_each(check_each_once);
        for sent in self.sent.all() {
            match sent.outcome {
                Outcome::Accepted => self.check_end(&sent, &remote, &local[sent.replica]),
                Outcome::Refused => self.check_refused(&sent, &remote, &local),
                Outcome::Unknown => {}
            }
        }
        for (host, local) in self.hosts.iter().zip(&local) {
            check_disk(host, local);
        }
        self.check_counts(servers).await;
        for (replica, server) in servers.iter_mut().enumerate() {
            self.check_listing(server, &remote, &local[replica]).await;
            self.check_reads(server, replica).await;
        }
        self.check_requests();
    }

    /// An accepted export has one bundle or a failure record.
    fn check_end(
        &self,
        sent: &SentRequest,
        remote: &BTreeMap<String, Manifest>,
        local: &BTreeMap<String, Manifest>,
    ) {
        let SentRequest { replica, content, .. } = sent;
        let label = content.label();
        let bundles = if content.destination == Destination::S3 { remote } else { local };
        let found = bundles.values().find(|manifest| manifest.session_id == label);
        let failures = failures(&self.hosts[*replica]);
        match (found, failures.iter().find(|failure| failure.label == label)) {
            (Some(manifest), None) => assert_eq!(manifest.export_id.to_string(), id(content.id)),
            (Some(manifest), Some(Failure { stored_under: Some(stored_under), .. })) => {
                assert_eq!(&manifest.export_id.to_string(), stored_under);
                assert_ne!(stored_under, &id(content.id));
            }
            // Another replica may have received and finished the same request.
            (_, Some(Failure { stored_under: None, .. })) => {
                assert_eq!(content.fallback, Fallback::None, "{label} failed");
            }
            (None, Some(_)) => panic!("{label} should be stored under a derived id"),
            (None, None) => panic!("{label} has neither a bundle nor a failure record"),
        }
    }

    /// Content that every replica refused is not stored.
    fn check_refused(
        &self,
        sent: &SentRequest,
        remote: &BTreeMap<String, Manifest>,
        local: &[BTreeMap<String, Manifest>],
    ) {
        let all = self.sent.all();
        let mut same = all.iter().filter(|other| other.content == sent.content);
        if same.all(|other| other.outcome == Outcome::Refused) {
            let label = sent.content.label();
            let stored = [remote].into_iter().chain(local);
            assert!(!stored.flat_map(labels).any(|found| found == label));
        }
    }

    /// Every bundle is listed once.
    async fn check_listing(
        &self,
        server: &mut TestServer,
        remote: &BTreeMap<String, Manifest>,
        local: &BTreeMap<String, Manifest>,
    ) {
        let request = ListExportsRequest { page_size: 1000, ..Default::default() };
        // S3 refuses the first requests after a change of its clock; the client then corrects its skew.
        let listed = loop {
            match server.client.list_exports(request.clone()).await {
                Ok(listed) => break listed.into_inner(),
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
            }
        };
        assert!(listed.next_page_token.is_empty());
        let of = |export: &Export| (export.name.clone(), export.folder_name.clone());
        let committed = listed.exports.iter().filter(|export| export.state() == State::Committed);
        let mut found: Vec<(String, String)> = committed.map(of).collect();
        found.sort();
        let manifests = remote.iter().chain(local);
        let mut expected: Vec<(String, String)> = manifests
            .map(|(folder, manifest)| (format!("exports/{}", manifest.export_id), folder.clone()))
            .collect();
        expected.sort();
        assert_eq!(found, expected);
        let others = listed.exports.iter().filter(|export| export.state() != State::Committed);
        for export in others {
            assert_eq!(export.state(), State::Failed, "{export:?}");
        }
    }

    async fn check_reads(&self, server: &mut TestServer, replica: usize) {
        let sent = self.sent.all();
        let accepted =
            sent.iter().filter(|sent| sent.replica == replica && sent.outcome == Outcome::Accepted);
        for sent in accepted {
            let export = read(&mut server.client, &name(sent.content.id)).await;
            assert!(matches!(export.state(), State::Committed | State::Failed), "{export:?}");
        }
    }

    /// Every put is conditional, and only entries of the store's journal are deleted.
    fn check_requests(&self) {
        for put in self.s3.requests_of(Operation::PutObject) {
            assert_eq!(put.header("if-none-match"), Some("*"), "{}", put.key);
        }
        for delete in self.s3.requests_of(Operation::DeleteObject) {
            assert!(delete.key.contains(STORE_JOURNAL), "{}", delete.key);
        }
    }
}

/// Each content and each id has at most one bundle per store.
fn check_each_once(bundles: &BTreeMap<String, Manifest>) {
    assert_eq!(labels(bundles).len(), bundles.len(), "a content has two bundles: {bundles:#?}");
    let ids: BTreeSet<String> =
        bundles.values().map(|manifest| manifest.export_id.to_string()).collect();
    assert_eq!(ids.len(), bundles.len(), "an id has two bundles: {bundles:#?}");
}

/// The disk has only bundles whose destination is the local store, and the service's own files.
fn check_disk(host: &Host, local: &BTreeMap<String, Manifest>) {
    let data_dir = host.data_dir();
    for (folder, manifest) in local {
        let is_local = manifest.session_id.contains(Destination::Local.as_str_name());
        assert!(is_local, "{folder} is in S3 and still here");
        bundles::verify(&data_dir.join(folder));
    }
    let folders = bundles::folders(&data_dir).into_iter();
    let left: Vec<String> = folders
        .filter(|folder| !bundles::files(&data_dir.join(folder)).is_empty())
        .filter(|folder| !local.contains_key(folder))
        .collect();
    assert!(left.is_empty(), "incomplete bundles: {left:?}");
    assert!(journal(host).is_empty());
    let quarantine = bundles::files(&data_dir.join(".tara-export/journal/quarantine"));
    assert!(quarantine.is_empty(), "{:?}", quarantine.keys());
}

fn labels(bundles: &BTreeMap<String, Manifest>) -> BTreeSet<String> {
    bundles.values().map(|manifest| manifest.session_id.clone()).collect()
}

/// The text of all entries of a host's journal.
fn journal_text(host: &Host) -> String {
    let folder = host.data_dir().join(".tara-export/journal");
    let entries = journal(host).into_iter();
    // An entry that is removed meanwhile is found at the location that is checked next.
    let texts = entries.filter_map(|name| fs::read(folder.join(name)).ok());
    texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

fn failures(host: &Host) -> Vec<Failure> {
    let records = bundles::files(&host.data_dir().join(".tara-export/failed"));
    let parse = |bytes: &Vec<u8>| {
        let record: Value = serde_json::from_slice(bytes).unwrap();
        let note = &record["note"];
        Failure {
            label: note["export"]["session_id"].as_str().unwrap().to_owned(),
            stored_under: note["kept_as"].as_str().map(str::to_owned),
        }
    };
    records.values().map(parse).collect()
}

/// The bundles on a host's disk by folder. Bundles can be removed meanwhile.
fn local_bundles(host: &Host) -> BTreeMap<String, Manifest> {
    let folders = bundles::folders(&host.data_dir()).into_iter();
    folders
        .filter_map(|folder| {
            let bytes = fs::read(host.folder(&folder).join("manifest.json")).ok()?;
            Some((folder, Manifest::parse(&bytes).unwrap()))
        })
        .collect()
}

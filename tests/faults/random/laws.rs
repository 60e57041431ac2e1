//! What must hold, seen from outside: in the bucket, on the replicas' disks, in what callers hear.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tara_export::{
    bundle::Manifest,
    proto::{Destination, Export, Fallback, ListExportsRequest, export::State},
};
use tara_export_test_support::{Operation, TestS3};

use tonic::Code;

use super::world::{Answer, Sent, Told};
use crate::{
    bundles,
    harness::{Host, TestServer},
    in_s3::{committed_bundles, objects},
    requests::{id, name},
    waiting::{journal, read, status},
};

/// What goes again once its export is committed.
const STORE_JOURNAL: &str = ".tara-export/journal/";

pub(crate) struct Laws {
    s3: Arc<TestS3>,
    hosts: Arc<Vec<Host>>,
    told: Arc<Told>,
    /// The bucket as it was at the last look.
    seen: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// A durable note that an export ended without a bundle of its own.
struct Failure {
    label: String,
    kept_as: Option<String>,
}

impl Laws {
    pub(crate) fn new(s3: Arc<TestS3>, hosts: Arc<Vec<Host>>, told: Arc<Told>) -> Self {
        Self { s3, hosts, told, seen: Mutex::default() }
    }

    /// At any moment: what was accepted is somewhere, and what lies in S3 is whole and stays.
    pub(crate) fn check_always(&self) {
        // In this order, so that whatever moves on meanwhile is seen where it goes.
        let told = self.told.all();
        let journals: Vec<String> = self.hosts.iter().map(journal_text).collect();
        let failures: Vec<Vec<Failure>> = self.hosts.iter().map(failures).collect();
        let local: Vec<BTreeMap<String, Manifest>> = self.hosts.iter().map(local_bundles).collect();
        let remote = labels(&committed_bundles(&self.s3));
        for Sent { replica, content, answer } in told {
            let label = content.label();
            let is_somewhere = answer != Answer::Accepted
                || journals[replica].contains(&label)
                || remote.contains(&label)
                || failures[replica].iter().any(|failure| failure.label == label)
                || (content.destination == Destination::Local
                    && labels(&local[replica]).contains(&label));
            assert!(is_somewhere, "{label} was accepted by replica {replica} and is nowhere");
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

    /// Each export is counted once, whatever is going on.
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

    /// Who hears that a bundle is in S3 finds it there.
    pub(crate) fn check_told_committed(&self, number: usize, export: &Export) {
        let label = self.told.all()[number].content.label();
        let bundles = committed_bundles(&self.s3);
        let manifest = bundles.get(&export.folder_name).expect("what is told to be in S3 is there");
        assert_eq!(manifest.session_id, label);
    }

    /// Who hears that an export failed, hears it again after any crash.
    pub(crate) fn check_told_failed(&self, number: usize) {
        let Sent { replica, content, .. } = self.told.all()[number].clone();
        let failures = failures(&self.hosts[replica]);
        let label = content.label();
        assert!(failures.iter().any(|failure| failure.label == label), "{label} has no note");
    }

    /// When everything works and nothing waits.
    pub(crate) async fn check_at_last(&self, servers: &mut [TestServer]) {
        self.check_always();
        let remote = committed_bundles(&self.s3);
        let local: Vec<BTreeMap<String, Manifest>> = self.hosts.iter().map(local_bundles).collect();
        check_each_once(&remote);
        local.iter().for_each(check_each_once);
        for sent in self.told.all() {
            match sent.answer {
                Answer::Accepted => self.check_end(&sent, &remote, &local[sent.replica]),
                Answer::Refused => self.check_refused(&sent, &remote, &local),
                Answer::Unknown => {}
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

    /// An accepted export has one bundle, or a note that says why not.
    fn check_end(
        &self,
        sent: &Sent,
        remote: &BTreeMap<String, Manifest>,
        local: &BTreeMap<String, Manifest>,
    ) {
        let Sent { replica, content, .. } = sent;
        let label = content.label();
        let bundles = if content.destination == Destination::S3 { remote } else { local };
        let found = bundles.values().find(|manifest| manifest.session_id == label);
        let failures = failures(&self.hosts[*replica]);
        match (found, failures.iter().find(|failure| failure.label == label)) {
            (Some(manifest), None) => assert_eq!(manifest.export_id.to_string(), id(content.id)),
            (Some(manifest), Some(Failure { kept_as: Some(kept_as), .. })) => {
                assert_eq!(&manifest.export_id.to_string(), kept_as);
                assert_ne!(kept_as, &id(content.id));
            }
            // Another replica may have got the same request, and finished it.
            (_, Some(Failure { kept_as: None, .. })) => {
                assert_eq!(content.fallback, Fallback::None, "{label} failed");
            }
            (None, Some(_)) => panic!("{label} should be kept under another id"),
            (None, None) => panic!("{label} has neither bundle nor failure"),
        }
    }

    /// Of what every replica refused, nothing is kept.
    fn check_refused(
        &self,
        sent: &Sent,
        remote: &BTreeMap<String, Manifest>,
        local: &[BTreeMap<String, Manifest>],
    ) {
        let told = self.told.all();
        let mut same = told.iter().filter(|other| other.content == sent.content);
        if same.all(|other| other.answer == Answer::Refused) {
            let label = sent.content.label();
            let stored = [remote].into_iter().chain(local);
            assert!(!stored.flat_map(labels).any(|found| found == label));
        }
    }

    /// Every bundle is listed, and nothing twice.
    async fn check_listing(
        &self,
        server: &mut TestServer,
        remote: &BTreeMap<String, Manifest>,
        local: &BTreeMap<String, Manifest>,
    ) {
        let request = ListExportsRequest { page_size: 1000, ..Default::default() };
        // The first requests after a change of S3's clock are refused, and set ours right.
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
        let told = self.told.all();
        let accepted =
            told.iter().filter(|sent| sent.replica == replica && sent.answer == Answer::Accepted);
        for sent in accepted {
            let export = read(&mut server.client, &name(sent.content.id)).await;
            assert!(matches!(export.state(), State::Committed | State::Failed), "{export:?}");
        }
    }

    /// Every write has its condition, and nothing is deleted but entries of the store's journal.
    fn check_requests(&self) {
        for put in self.s3.requests_of(Operation::PutObject) {
            assert_eq!(put.header("if-none-match"), Some("*"), "{}", put.key);
        }
        for delete in self.s3.requests_of(Operation::DeleteObject) {
            assert!(delete.key.contains(STORE_JOURNAL), "{}", delete.key);
        }
    }
}

/// No content has two bundles in one store, and no id has two.
fn check_each_once(bundles: &BTreeMap<String, Manifest>) {
    assert_eq!(labels(bundles).len(), bundles.len(), "a content has two bundles: {bundles:#?}");
    let ids: BTreeSet<String> =
        bundles.values().map(|manifest| manifest.export_id.to_string()).collect();
    assert_eq!(ids.len(), bundles.len(), "an id has two bundles: {bundles:#?}");
}

/// Only what was to stay on this disk is there, and notes.
fn check_disk(host: &Host, local: &BTreeMap<String, Manifest>) {
    let data_dir = host.data_dir();
    for (folder, manifest) in local {
        let is_meant = manifest.session_id.contains(Destination::Local.as_str_name());
        assert!(is_meant, "{folder} is in S3 and still here");
        bundles::whole(&data_dir.join(folder));
    }
    let folders = bundles::folders(&data_dir).into_iter();
    let left: Vec<String> = folders
        .filter(|folder| !bundles::files(&data_dir.join(folder)).is_empty())
        .filter(|folder| !local.contains_key(folder))
        .collect();
    assert!(left.is_empty(), "parts of bundles are left: {left:?}");
    assert!(journal(host).is_empty());
    let quarantine = bundles::files(&data_dir.join(".tara-export/journal/quarantine"));
    assert!(quarantine.is_empty(), "{:?}", quarantine.keys());
}

fn labels(bundles: &BTreeMap<String, Manifest>) -> BTreeSet<String> {
    bundles.values().map(|manifest| manifest.session_id.clone()).collect()
}

/// All entries of a machine's journal.
fn journal_text(host: &Host) -> String {
    let folder = host.data_dir().join(".tara-export/journal");
    let entries = journal(host).into_iter();
    // One that goes meanwhile has gone on to where the caller looks next.
    let texts = entries.filter_map(|name| fs::read(folder.join(name)).ok());
    texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

fn failures(host: &Host) -> Vec<Failure> {
    let notes = bundles::files(&host.data_dir().join(".tara-export/failed"));
    let failure = |bytes: &Vec<u8>| {
        let note: Value = serde_json::from_slice(bytes).unwrap();
        let note = &note["note"];
        Failure {
            label: note["export"]["session_id"].as_str().unwrap().to_owned(),
            kept_as: note["kept_as"].as_str().map(str::to_owned),
        }
    };
    notes.values().map(failure).collect()
}

/// The bundles on a machine's disk by their folders. They may go while one looks.
fn local_bundles(host: &Host) -> BTreeMap<String, Manifest> {
    let folders = bundles::folders(&host.data_dir()).into_iter();
    folders
        .filter_map(|folder| {
            let bytes = fs::read(host.folder(&folder).join("manifest.json")).ok()?;
            Some((folder, Manifest::parse(&bytes).unwrap()))
        })
        .collect()
}

//! Tests of the cleanup after a commit in S3, with in-memory stores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tara_export_store::memory::{Fault, Operation};

use super::*;
use crate::export::testing::{Recorder, TestServer, export, folder, is_committed, unavailable};

/// A server with a journaled export whose bundle was committed in the local store and then in S3.
struct Fixture {
    server: TestServer,
    export: AcceptedExport,
    committed: CommittedExport,
}

impl Fixture {
    async fn new() -> Self {
        let (server, export) = (TestServer::start().await, export(1));
        server.record(&export).await;
        let sent = AtomicBool::new(false);
        let work = server.work(&export, Arc::<Recorder>::default()).await;
        work.try_store(&server.local(), &export, &sent, None).await.unwrap();
        let committed = work.try_store(&server.s3(), &export, &sent, None).await.unwrap();
        Self { server, export, committed }
    }

    async fn clean_up(&self) -> Result<(), Failure> {
        let shared = &self.server.shared;
        clean_up(shared, &self.committed, &self.export, LocalCopy::Maybe, None).await
    }

    /// The keys of the bundle's files. The manifest is the last one.
    fn files(&self) -> Vec<String> {
        let folder = folder(&self.export, 1);
        let artifacts = self.committed.bundle.artifacts.iter();
        let keys = artifacts.map(|artifact| layout::artifact(&folder, &artifact.path));
        keys.chain([layout::manifest(&folder)]).map(|key| key.to_string()).collect()
    }

    async fn has_receipt(&self) -> bool {
        let journal = self.server.shared.journal().unwrap();
        journal.receipt(self.export.export_id).await.unwrap().is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn cleanup_removes_local_copy_and_entry_and_writes_receipt() {
    let fixture = Fixture::new().await;
    fixture.clean_up().await.unwrap();
    assert_eq!(fixture.server.local.keys(), [""; 0]);
    assert!(is_committed(&fixture.server.s3, &folder(&fixture.export, 1)));
    assert!(!fixture.server.has_entry(&fixture.export).await);
    assert!(fixture.has_receipt().await);
    // The manifest is deleted first, so that readers no longer see the bundle, and the record last.
    let calls = fixture.server.local.calls();
    let deleted = calls.iter().filter(|call| call.operation == Operation::Delete);
    let deleted: Vec<&str> = deleted.map(|call| call.key.as_str()).collect();
    assert_eq!(*deleted[0], *fixture.files().last().unwrap());
    assert_eq!(*deleted.last().unwrap(), layout::record(fixture.export.export_id).as_str());
}

#[tokio::test(start_paused = true)]
async fn local_copy_is_not_removed_if_s3_object_is_damaged_or_missing() {
    let fixture = Fixture::new().await;
    let (s3, local) = (&fixture.server.s3, &fixture.server.local);
    let before = local.keys();
    for key in fixture.files() {
        let bytes = s3.bytes(&key).unwrap();
        let mut damaged = bytes.to_vec();
        damaged[0] ^= 1;
        for damaged in [Some(Bytes::from(damaged)), None] {
            match damaged {
                Some(damaged) => s3.replace(&key, damaged),
                None => s3.remove(&key),
            }
            let failure = fixture.clean_up().await.unwrap_err();
            assert_eq!(failure.reason, FailureReason::DataLoss, "{key}: {failure}");
            assert!(failure.message.contains(&key), "{key}: {failure}");
            assert_eq!(local.keys(), before, "{key}");
            assert_eq!(local.count(Operation::Delete), 0, "{key}");
        }
        s3.replace(&key, bytes);
    }
    assert!(fixture.server.has_entry(&fixture.export).await);
    assert!(!fixture.has_receipt().await);
    fixture.clean_up().await.unwrap();
    assert_eq!(local.keys(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn foreign_file_in_the_folder_is_not_removed() {
    let fixture = Fixture::new().await;
    let local = &fixture.server.local;
    let changed = fixture.files().swap_remove(0);
    let mut bytes = local.bytes(&changed).unwrap().to_vec();
    bytes[0] ^= 1;
    local.replace(&changed, bytes.clone());
    let added = format!("{}/notes.txt", folder(&fixture.export, 1));
    local.replace(&added, "foreign");
    fixture.clean_up().await.unwrap();
    let mut expected = [changed.clone(), added];
    expected.sort();
    assert_eq!(local.keys(), expected);
    assert_eq!(local.bytes(&changed).unwrap(), bytes);
    assert!(!fixture.server.has_entry(&fixture.export).await);
}

/// Interrupts the removal after each of its steps, as a crash does.
#[tokio::test(start_paused = true)]
async fn second_cleanup_completes_an_interrupted_one() {
    for step in 0.. {
        let fixture = Fixture::new().await;
        let local = &fixture.server.local;
        let count = AtomicUsize::new(0);
        local.before_each(move |call| {
            let is_match = call.operation == Operation::Delete
                && count.fetch_add(1, Ordering::Relaxed) == step;
            async move { is_match.then(|| Fault::LoseResponse(unavailable())) }
        });
        let interrupted = fixture.clean_up().await.is_err();
        if interrupted {
            assert!(fixture.server.has_entry(&fixture.export).await, "{step}");
            assert!(!is_committed(local, &folder(&fixture.export, 1)), "{step}");
            fixture.clean_up().await.unwrap();
        }
        assert_eq!(local.keys(), [""; 0], "{step}");
        assert!(!fixture.server.has_entry(&fixture.export).await, "{step}");
        if !interrupted {
            // The files, the index entry, the claim and the record.
            assert_eq!(step, fixture.files().len() + 3);
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retained_local_copy_has_only_its_files() {
    let mut fixture = Fixture::new().await;
    Arc::get_mut(&mut fixture.server.shared).unwrap().settings.keep_local_copies = true;
    fixture.clean_up().await.unwrap();
    let mut files = fixture.files();
    files.sort();
    assert_eq!(fixture.server.local.keys(), files);
    assert!(!fixture.server.has_entry(&fixture.export).await);
}

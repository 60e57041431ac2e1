//! The order in which an export's local files are removed after its bundle is in S3.

use std::{fs, sync::Arc};

use async_trait::async_trait;
use tara_export_client::proto::export::State;
use tara_export_store::{ObjectKey, Store, StoreError, local::LocalStore};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{accepted, committed, next},
    harness::{
        self, Host, QUICK, START_PREFIX,
        checks::{check, checks},
        forward::{Changes, Forwarding},
        receipt,
        s3::store_of,
        waiting::{until_files, until_state},
    },
    requests::{id, name, request},
};

/// A file in the data directory. [`RecordingStore`] records there, before each deletion, the key and whether the
/// journal still has the export.
const DELETIONS: &str = "deleted.txt";

/// A local store that records its deletions.
#[derive(Debug)]
struct RecordingStore(LocalStore);

#[async_trait]
impl Changes for RecordingStore {
    fn inner(&self) -> &dyn Store {
        &self.0
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let journal = fs::read_dir(self.0.root().join(".tara-export/journal")).unwrap();
        let mut entries = journal.map(|entry| entry.unwrap().path());
        let is_journaled = entries.any(|path| path.extension().is_some_and(|end| end == "export"));
        let path = self.0.root().join(DELETIONS);
        let mut deletions = fs::read_to_string(&path).unwrap_or_default();
        deletions.push_str(&format!("{key} {is_journaled}\n"));
        fs::write(path, deletions).unwrap();
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn cleanup_removes_the_manifest_first_and_the_journal_entry_last() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone())
        .flags(&QUICK)
        .local(|store| Arc::new(Forwarding(RecordingStore(store))));
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    let manifest = bundles::verify(&host.folder(&local.folder_name));
    s3.set(Mode::Works);
    until_state(&mut server.client, &name(1), State::Committed).await;
    until_files(&host, &[receipt(1), DELETIONS.to_owned()]).await;

    let deletions = fs::read_to_string(host.data_dir().join(DELETIONS)).unwrap();
    assert!(
        deletions.lines().all(|line| line.ends_with(" true")),
        "the journal entry was removed first: {deletions}"
    );
    let deleted: Vec<&str> = deletions.lines().map(|line| line.trim_end_matches(" true")).collect();
    let folder = &local.folder_name;
    let (record, claim) = (
        format!(".tara-export/exports/{}.json", id(1)),
        format!(".tara-export/folders/{folder}.json"),
    );
    let of_bundle = manifest.artifacts.len() + 1;
    let (bundle, own) = deleted.split_at(of_bundle);
    // Readers do not find the bundle any more.
    assert_eq!(bundle[0], format!("{folder}/manifest.json"));
    assert!(bundle.iter().all(|key| key.starts_with(folder.as_str())), "{deleted:?}");
    // After a crash, the remaining files are found by these, and each of these by the next.
    assert!(own[0].starts_with(".tara-export/index/"), "{own:?}");
    assert_eq!(own[1..], [claim, record]);
}

#[tokio::test]
async fn claims_on_unused_folders_are_removed_too() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let base = format!("{START_PREFIX}a");
    let foreign = "documents/before_a.docx";
    fs::create_dir_all(host.folder(&base).join("documents")).unwrap();
    fs::write(host.folder(&base).join(foreign), "not ours").unwrap();
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(local.folder_name, format!("{base}_2"));
    s3.set(Mode::Works);
    until_state(&mut server.client, &name(1), State::Committed).await;
    until_files(&host, &[receipt(1), format!("{base}/{foreign}")]).await;
}

#[tokio::test]
async fn failed_cleanup_after_a_commit_is_retried_without_a_restart() {
    let s3 = TestS3::start().await;
    // Failed cleanups pause requests to S3, and a new export does not wait for the end of a pause.
    let no_pause = ["--s3-retry-budget=2s", "--s3-outage-pause=0s", "--shutdown-timeout=0s"];
    let host = Host::with_s3(store_of(&s3)).flags(&no_pause);
    let held = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("/feedback/");
    let held = s3.fail(held);
    let mut server = host.start().await;
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    accepted(next(&mut stream).await.event);
    harness::until("the export to be running", || s3.fault_hits(held) > 0).await;
    server.stop().await;
    s3.clear_fault(held);

    // The next process cannot know what the previous one left on disk, and cannot check what is in S3.
    let unseen = FaultRule::new(Fault::SERVICE_UNAVAILABLE).on(Operation::HeadObject);
    let unseen = s3.fail(unseen.key_ends_with("manifest.json"));
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    harness::until("the cleanup to be postponed", || s3.fault_hits(unseen) > 1).await;
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!((again.state(), again.location), (State::Committed, export.location));
    assert!(host.files().iter().any(|file| file.ends_with(".export")), "{:?}", host.files());
    s3.clear_fault(unseen);
    until_files(&host, &[receipt(1)]).await;
    let checks = checks(&mut server.client).await;
    let counts = &check(&checks, "exports.journal").message;
    assert!(counts.contains("started 1: completed 1, failed 0, running 0, pending 0"), "{counts}");
}

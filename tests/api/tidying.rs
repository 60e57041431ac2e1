//! In which order what this machine has of an export goes, once S3 has its bundle.

use std::{fs, sync::Arc};

use async_trait::async_trait;
use tara_export::{
    proto::export::State,
    store::{
        ListRequest, Listing, Object, ObjectInfo, ObjectKey, Payload, ProbeResult, PutOutcome,
        Store, StoreError, StoreKind, local::LocalStore,
    },
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, next},
    harness::{self, Host, START_PREFIX, s3::store_of},
    journal::{QUICK, accepted, check, checks, receipt, until, until_files},
    requests::{id, name, request},
};

/// Where [`Noting`] notes, below the data directory, before it deletes: the key, and whether the
/// journal has the export still.
const NOTES: &str = "deleted.txt";

/// A local store that notes what it is to delete.
#[derive(Debug)]
struct Noting(LocalStore);

#[async_trait]
impl Store for Noting {
    fn kind(&self) -> StoreKind {
        self.0.kind()
    }

    fn location(&self, key: &str) -> String {
        self.0.location(key)
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.0.put_if_absent(key, payload).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        self.0.head(key).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.0.get(key).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        self.0.list(request).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let journal = fs::read_dir(self.0.root().join(".tara-export/journal")).unwrap();
        let mut entries = journal.map(|entry| entry.unwrap().path());
        let is_journaled = entries.any(|path| path.extension().is_some_and(|end| end == "export"));
        let path = self.0.root().join(NOTES);
        let mut notes = fs::read_to_string(&path).unwrap_or_default();
        notes.push_str(&format!("{key} {is_journaled}\n"));
        fs::write(path, notes).unwrap();
        self.0.delete(key).await
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        self.0.probe().await
    }
}

#[tokio::test]
async fn the_manifest_goes_first_the_record_late_and_the_journals_entry_last() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK).local(|store| Arc::new(Noting(store)));
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    let manifest = bundles::whole(&host.folder(&local.folder_name));
    s3.set(Mode::Works);
    until(&mut server.client, &name(1), State::Committed).await;
    until_files(&host, &[receipt(1), NOTES.to_owned()]).await;

    let notes = fs::read_to_string(host.data_dir().join(NOTES)).unwrap();
    assert!(notes.lines().all(|note| note.ends_with(" true")), "the journal forgot it: {notes}");
    let deleted: Vec<&str> = notes.lines().map(|note| note.trim_end_matches(" true")).collect();
    let folder = &local.folder_name;
    let (record, claim) = (
        format!(".tara-export/exports/{}.json", id(1)),
        format!(".tara-export/folders/{folder}.json"),
    );
    let of_bundle = manifest.artifacts.len() + 1;
    let (bundle, own) = deleted.split_at(of_bundle);
    // Readers lose sight of it at once.
    assert_eq!(bundle[0], format!("{folder}/manifest.json"));
    assert!(bundle.iter().all(|key| key.starts_with(folder.as_str())), "{deleted:?}");
    // By these the rest is found again after a crash, each of them by the next.
    assert!(own[0].starts_with(".tara-export/index/"), "{own:?}");
    assert_eq!(own[1..], [claim, record]);
}

#[tokio::test]
async fn claims_on_folders_that_were_given_up_go_too() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let base = format!("{START_PREFIX}a");
    let strangers = "documents/before_a.docx";
    fs::create_dir_all(host.folder(&base).join("documents")).unwrap();
    fs::write(host.folder(&base).join(strangers), "not ours").unwrap();
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(local.folder_name, format!("{base}_2"));
    s3.set(Mode::Works);
    until(&mut server.client, &name(1), State::Committed).await;
    until_files(&host, &[receipt(1), format!("{base}/{strangers}")]).await;
}

#[tokio::test]
async fn what_can_not_be_tidied_up_after_a_commit_is_tried_again_without_a_restart() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK);
    let held = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("/feedback/");
    let held = s3.fail(held);
    let mut server = host.start().await;
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    accepted(next(&mut stream).await.event);
    harness::until("it is under way", || s3.fault_hits(held) > 0).await;
    server.stop().await;
    s3.clear_fault(held);

    // A later process can't know what the earlier one has left on disk, nor look what is in S3.
    let unseen = FaultRule::new(Fault::SERVICE_UNAVAILABLE).on(Operation::HeadObject);
    let unseen = s3.fail(unseen.key_ends_with("manifest.json"));
    let mut server = host.start().await;
    let export = until(&mut server.client, &name(1), State::Committed).await;
    harness::until("it is set back", || s3.fault_hits(unseen) > 1).await;
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!((again.state(), again.location), (State::Committed, export.location));
    assert!(host.files().iter().any(|file| file.ends_with(".export")), "{:?}", host.files());
    s3.clear_fault(unseen);
    until_files(&host, &[receipt(1)]).await;
    let checks = checks(&mut server.client).await;
    let counts = &check(&checks, "exports.journal").message;
    assert!(counts.contains("started 1: completed 1, failed 0, running 0, pending 0"), "{counts}");
}

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

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::committed,
    harness::{Host, START_PREFIX},
    journal::{QUICK, receipt, until, until_files},
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

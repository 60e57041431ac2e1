//! Adoption that is interrupted and repeated, runs twice at once, or races with other writers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tara_export::adopt::{FolderOutcome, SkipReason};
use tara_export_store::{
    Object, ObjectKey, Payload, PutOutcome, Store, StoreError, StoreErrorKind,
};
use tara_export_test_support::{Fault, FaultRule, Operation};

use super::fixture::{FOLDER, Fixture, adopt, adopted, old_files};
use crate::harness::forward::{Changes, Forwarding};

/// A store that fails one put, or runs an action at one get.
struct FailingStore {
    inner: Arc<dyn Store>,
    puts_left: AtomicUsize,
    /// Whether the failing put takes effect, so that only its response is lost.
    takes_effect: bool,
    at_get: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for FailingStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FailingStore")
    }
}

impl FailingStore {
    fn at_put(inner: Arc<dyn Store>, number: usize, takes_effect: bool) -> Arc<Forwarding<Self>> {
        let puts_left = AtomicUsize::new(number);
        Arc::new(Forwarding(Self { inner, puts_left, takes_effect, at_get: Mutex::default() }))
    }

    fn at_get(inner: Arc<dyn Store>, act: impl FnOnce() + Send + 'static) -> Arc<Forwarding<Self>> {
        let at_get = Mutex::new(Some(Box::new(act) as Box<_>));
        let puts_left = AtomicUsize::new(usize::MAX);
        Arc::new(Forwarding(Self { inner, puts_left, takes_effect: true, at_get }))
    }
}

#[async_trait]
impl Changes for FailingStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        // The probe does not count.
        if key.as_str().starts_with(".tara-export/probe/") {
            return self.inner.put_if_absent(key, payload).await;
        }
        let left = self.puts_left.load(Ordering::Relaxed);
        if left > 0 {
            self.puts_left.store(left - 1, Ordering::Relaxed);
            return self.inner.put_if_absent(key, payload).await;
        }
        if self.takes_effect {
            self.inner.put_if_absent(key, payload).await?;
        }
        Err(StoreError::new(StoreErrorKind::Denied, "broken by the test"))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        let object = self.inner.get(key).await;
        if key.as_str().ends_with(".docx")
            && let Some(act) = self.at_get.lock().unwrap().take()
        {
            act();
        }
        object
    }

    async fn delete(&self, _: &ObjectKey) -> Result<(), StoreError> {
        panic!("adoption must not delete")
    }
}

/// The files of the store after one uninterrupted run.
async fn uninterrupted_result() -> BTreeMap<String, Vec<u8>> {
    let fixture = Fixture::s3().await;
    fixture.put_folder(FOLDER, &old_files());
    adopted(&adopt(fixture.store(), true).await);
    fixture.files()
}

fn without_store_kind(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    // The requested destination is the only difference between the kinds of stores.
    let mut files = files.clone();
    for content in files.values_mut() {
        let text = String::from_utf8_lossy(content).replace("\"local\"", "\"s3\"");
        *content = text.into_bytes();
    }
    files
}

#[tokio::test]
async fn repeating_an_interrupted_run_gives_the_same_files() {
    let expected = uninterrupted_result().await;
    for takes_effect in [false, true] {
        for number in 0..4 {
            for fixture in Fixture::both().await {
                fixture.put_folder(FOLDER, &old_files());
                let broken = FailingStore::at_put(fixture.store(), number, takes_effect);
                let outcomes = adopt(broken, true).await;
                assert!(
                    matches!(&outcomes[FOLDER], FolderOutcome::Failed { message } if message == "broken by the test"),
                    "put {number}: {outcomes:?}"
                );
                let written = fixture.files().len() - old_files().len();
                assert_eq!(written, number + usize::from(takes_effect), "put {number}");
                let again = adopt(fixture.store(), true).await;
                // The manifest is written last.
                if written == 4 {
                    assert!(matches!(
                        again[FOLDER],
                        FolderOutcome::Skipped { reason: SkipReason::HasManifest, .. }
                    ));
                } else {
                    adopted(&again);
                }
                let files = fixture.files();
                assert!(
                    without_store_kind(&files) == without_store_kind(&expected),
                    "put {number}"
                );
                // Another run changes nothing.
                adopt(fixture.store(), true).await;
                assert!(fixture.files() == files);
            }
        }
    }
}

#[tokio::test]
async fn concurrent_adoptions_make_one_bundle() {
    let expected = uninterrupted_result().await;
    for fixture in Fixture::both().await {
        fixture.put_folder(FOLDER, &old_files());
        let (one, other) =
            futures::join!(adopt(fixture.store(), true), adopt(fixture.store(), true));
        for outcomes in [one, other] {
            assert!(
                matches!(
                    outcomes[FOLDER],
                    FolderOutcome::Adopted { .. }
                        | FolderOutcome::Skipped { reason: SkipReason::HasManifest, .. }
                ),
                "{outcomes:?}"
            );
        }
        assert!(without_store_kind(&fixture.files()) == without_store_kind(&expected));
    }
}

#[tokio::test]
async fn folder_that_changes_during_adoption_is_skipped() {
    type Change = fn(&Fixture);
    let changes: [Change; 3] = [
        |fixture| fixture.put(&format!("{FOLDER}/notes/new.txt"), "one more"),
        |fixture| fixture.put(&format!("{FOLDER}/readable_report.txt"), "another, longer report"),
        |fixture| {
            fixture.put(&format!("{FOLDER}/documents/before_incident_report_0000.docx"), "cut")
        },
    ];
    for change in changes {
        for fixture in Fixture::both().await {
            fixture.put_folder(FOLDER, &old_files());
            let fixture = Arc::new(fixture);
            let changed = fixture.clone();
            let store = FailingStore::at_get(fixture.store(), move || change(&changed));
            let outcomes = adopt(store, true).await;
            assert!(
                matches!(
                    outcomes[FOLDER],
                    FolderOutcome::Skipped { reason: SkipReason::Changed, .. }
                ),
                "{outcomes:?}"
            );
            assert!(fixture.files().keys().all(|path| !path.starts_with(".tara-export/")));
            // The next run adopts the changed folder.
            adopted(&adopt(fixture.store(), true).await);
        }
    }
}

#[tokio::test]
async fn transient_failures_are_retried_and_others_fail_one_folder() {
    let fixture = Fixture::s3().await;
    fixture.put_folder(FOLDER, &old_files());
    fixture.put_folder("20240301_000000_b", &old_files());
    let s3 = fixture.s3.as_ref().unwrap();
    let slow = || FaultRule::new(Fault::Respond { status: 503, code: "SlowDown" }).times(1);
    s3.fail(slow().on(Operation::ListObjectsV2));
    s3.fail(slow().on(Operation::GetObject).key_ends_with(".docx"));
    s3.fail(slow().on(Operation::PutObject).key_ends_with("manifest.json"));
    let refusal = FaultRule::new(Fault::Respond { status: 403, code: "AccessDenied" });
    s3.fail(refusal.on(Operation::GetObject).key_contains("_b/readable_report"));
    let outcomes = adopt(fixture.store(), true).await;
    adopted(&outcomes);
    let FolderOutcome::Failed { message } = &outcomes["20240301_000000_b"] else {
        panic!("{outcomes:?}")
    };
    assert!(message.contains("AccessDenied"), "{message}");
    assert!(!fixture.files().contains_key("20240301_000000_b/manifest.json"));
}

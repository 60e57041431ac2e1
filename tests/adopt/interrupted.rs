//! Stopped anywhere and repeated, by several at once, while others write: one result.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tara_export::{
    adopt::{FolderOutcome, SkipReason},
    store::{
        ListRequest, Listing, Object, ObjectInfo, ObjectKey, Payload, ProbeResult, PutOutcome,
        Store, StoreError, StoreErrorKind, StoreKind,
    },
};
use tara_export_test_support::{Fault, FaultRule, Operation};

use crate::place::{FOLDER, Place, adopt, adopted, old_files};

/// A store that breaks at one put, and does something else at one get.
struct Breaking {
    inner: Arc<dyn Store>,
    puts_left: AtomicUsize,
    /// Whether the put that breaks is done all the same, and only its answer lost.
    is_done: bool,
    at_get: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Breaking {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Breaking")
    }
}

impl Breaking {
    fn at_put(inner: Arc<dyn Store>, number: usize, is_done: bool) -> Arc<Self> {
        let puts_left = AtomicUsize::new(number);
        Arc::new(Self { inner, puts_left, is_done, at_get: Mutex::default() })
    }

    fn at_get(inner: Arc<dyn Store>, act: impl FnOnce() + Send + 'static) -> Arc<Self> {
        let at_get = Mutex::new(Some(Box::new(act) as Box<_>));
        Arc::new(Self { inner, puts_left: AtomicUsize::new(usize::MAX), is_done: true, at_get })
    }
}

#[async_trait]
impl Store for Breaking {
    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }

    fn location(&self, key: &str) -> String {
        self.inner.location(key)
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        // Trying the store out is no step.
        if key.as_str().starts_with(".tara-export/probe/") {
            return self.inner.put_if_absent(key, payload).await;
        }
        let left = self.puts_left.load(Ordering::Relaxed);
        if left > 0 {
            self.puts_left.store(left - 1, Ordering::Relaxed);
            return self.inner.put_if_absent(key, payload).await;
        }
        if self.is_done {
            self.inner.put_if_absent(key, payload).await?;
        }
        Err(StoreError::new(StoreErrorKind::Denied, "broken by the test"))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        self.inner.head(key).await
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

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        self.inner.list(request).await
    }

    async fn delete(&self, _: &ObjectKey) -> Result<(), StoreError> {
        panic!("adopting deletes nothing")
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        self.inner.probe().await
    }
}

/// What the store holds after one run that nothing disturbed.
async fn undisturbed() -> BTreeMap<String, Vec<u8>> {
    let place = Place::s3().await;
    place.put_folder(FOLDER, &old_files());
    adopted(&adopt(place.store(), true).await);
    place.files()
}

fn record_apart(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    // Where it was asked for is all that differs between the kinds of stores.
    let mut files = files.clone();
    for content in files.values_mut() {
        let text = String::from_utf8_lossy(content).replace("\"local\"", "\"s3\"");
        *content = text.into_bytes();
    }
    files
}

#[tokio::test]
async fn stopped_at_every_step_and_repeated_gives_what_one_run_gives() {
    let expected = undisturbed().await;
    for is_done in [false, true] {
        for number in 0..4 {
            for place in Place::both().await {
                place.put_folder(FOLDER, &old_files());
                let broken = Breaking::at_put(place.store(), number, is_done);
                let outcomes = adopt(broken, true).await;
                assert!(
                    matches!(&outcomes[FOLDER], FolderOutcome::Failed { message } if message == "broken by the test"),
                    "put {number}: {outcomes:?}"
                );
                let written = place.files().len() - old_files().len();
                assert_eq!(written, number + usize::from(is_done), "put {number}");
                let again = adopt(place.store(), true).await;
                // The manifest was the last.
                if written == 4 {
                    assert!(matches!(
                        again[FOLDER],
                        FolderOutcome::Skipped { reason: SkipReason::HasManifest, .. }
                    ));
                } else {
                    adopted(&again);
                }
                let files = place.files();
                assert!(record_apart(&files) == record_apart(&expected), "put {number}");
                // Once more makes nothing new.
                adopt(place.store(), true).await;
                assert!(place.files() == files);
            }
        }
    }
}

#[tokio::test]
async fn two_at_once_make_one_bundle() {
    let expected = undisturbed().await;
    for place in Place::both().await {
        place.put_folder(FOLDER, &old_files());
        let (one, other) = futures::join!(adopt(place.store(), true), adopt(place.store(), true));
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
        assert!(record_apart(&place.files()) == record_apart(&expected));
    }
}

#[tokio::test]
async fn a_folder_that_changes_meanwhile_is_left_alone() {
    type Change = fn(&Place);
    let changes: [Change; 3] = [
        |place| place.put(&format!("{FOLDER}/notes/new.txt"), "one more"),
        |place| place.put(&format!("{FOLDER}/readable_report.txt"), "another, longer report"),
        |place| place.put(&format!("{FOLDER}/documents/before_incident_report_0000.docx"), "cut"),
    ];
    for change in changes {
        for place in Place::both().await {
            place.put_folder(FOLDER, &old_files());
            let place = Arc::new(place);
            let changed = place.clone();
            let store = Breaking::at_get(place.store(), move || change(&changed));
            let outcomes = adopt(store, true).await;
            assert!(
                matches!(
                    outcomes[FOLDER],
                    FolderOutcome::Skipped { reason: SkipReason::Changed, .. }
                ),
                "{outcomes:?}"
            );
            assert!(place.files().keys().all(|path| !path.starts_with(".tara-export/")));
            // It is what it is now that another run adopts.
            adopted(&adopt(place.store(), true).await);
        }
    }
}

#[tokio::test]
async fn failures_that_pass_are_outlived_and_others_stop_one_folder_only() {
    let place = Place::s3().await;
    place.put_folder(FOLDER, &old_files());
    place.put_folder("20240301_000000_b", &old_files());
    let s3 = place.s3.as_ref().unwrap();
    let slow = || FaultRule::new(Fault::Respond { status: 503, code: "SlowDown" }).times(1);
    s3.fail(slow().on(Operation::ListObjectsV2));
    s3.fail(slow().on(Operation::GetObject).key_ends_with(".docx"));
    s3.fail(slow().on(Operation::PutObject).key_ends_with("manifest.json"));
    let refusal = FaultRule::new(Fault::Respond { status: 403, code: "AccessDenied" });
    s3.fail(refusal.on(Operation::GetObject).key_contains("_b/readable_report"));
    let outcomes = adopt(place.store(), true).await;
    adopted(&outcomes);
    let FolderOutcome::Failed { message } = &outcomes["20240301_000000_b"] else {
        panic!("{outcomes:?}")
    };
    assert!(message.contains("AccessDenied"), "{message}");
    assert!(!place.files().contains_key("20240301_000000_b/manifest.json"));
}

//! Failures row 6: work that hangs, and says nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use tara_export::store::{
    ListRequest, Listing, Object, ObjectInfo, ObjectKey, Payload, ProbeResult, PutOutcome, Store,
    StoreError, StoreKind,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::{sync::Notify, time};

use crate::{
    following::committed,
    harness::{Host, s3::store_of, within},
    in_s3::committed_bundles,
    requests::request,
    waiting::{until_journal_is_empty, until_status},
};

/// S3, but the first deletion never returns.
#[derive(Debug)]
struct HangsOnce {
    s3: Arc<dyn Store>,
    has_hung: AtomicBool,
    hangs: Notify,
}

#[async_trait]
impl Store for HangsOnce {
    fn kind(&self) -> StoreKind {
        self.s3.kind()
    }

    fn location(&self, key: &str) -> String {
        self.s3.location(key)
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.s3.put_if_absent(key, payload).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        self.s3.head(key).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.s3.get(key).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        self.s3.list(request).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        if !self.has_hung.swap(true, Ordering::Relaxed) {
            self.hangs.notify_one();
            std::future::pending::<()>().await;
        }
        self.s3.delete(key).await
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        self.s3.probe().await
    }
}

#[tokio::test]
async fn row_6_an_export_that_hangs_grows_older_from_its_first_attempt_on() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&[
        "--s3-retry-budget=10m",
        "--accept-timeout=10ms",
        "--shutdown-timeout=0s",
    ]);
    let mut server = host.start().await;
    s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("report"));
    let _stream = server.client.start_export(request(1, "a.docx")).await.unwrap();
    for days in 1..=3 {
        host.clock.advance(TimeDelta::days(1));
        let is_running = |status: &tara_export::export::Status| status.counts.running == 1;
        let status = until_status(&server, "an export that runs", is_running).await;
        assert_eq!(status.oldest_unsynced_age, Some(Duration::from_secs(days * 24 * 3600)));
    }
    s3.clear_faults();
    let done = |status: &tara_export::export::Status| status.counts.completed == 1;
    assert_eq!(until_status(&server, "its end", done).await.oldest_unsynced_age, None);
}

#[tokio::test]
async fn row_6_work_that_hangs_is_taken_up_anew() {
    let s3 = TestS3::start().await;
    let (has_hung, hangs) = (AtomicBool::new(false), Notify::new());
    let store = Arc::new(HangsOnce { s3: store_of(&s3), has_hung, hangs });
    // The entry of the store's journal is what is deleted there.
    let flags = ["--journal=store", "--s3-bucket-name=test-bucket", "--takeover-interval=1d"];
    let host = Host::with_s3(store.clone()).flags(&["--s3-outage-pause=10ms"]).flags(&flags);
    let mut server = host.start().await;
    s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    committed(&mut server.client, request(1, "a.docx")).await;
    s3.clear_faults();
    within("the drain to hang", store.hangs.notified()).await;
    // Nobody waits that long: time is moved.
    time::pause();
    time::advance(Duration::from_secs(3500)).await;
    let status = until_status(&server, "a status", |_| true).await;
    assert_eq!((status.counts.fell_back, status.setbacks.len()), (1, 0));
    time::advance(Duration::from_secs(200)).await;
    time::resume();
    let is_told = |status: &tara_export::export::Status| {
        status.setbacks.iter().any(|setback| setback.message.contains("hung"))
    };
    until_status(&server, "the reason", is_told).await;
    until_journal_is_empty(&host).await;
    let done = |status: &tara_export::export::Status| status.counts.completed == 1;
    until_status(&server, "its end", done).await;
    assert_eq!(committed_bundles(&s3).len(), 1);
}

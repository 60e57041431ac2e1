//! Work that hangs without an error (guarantees, failure 6).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use tara_export_store::{ObjectKey, Store, StoreError};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::{sync::Notify, time};

use crate::{
    following::committed,
    harness::{
        Host,
        forward::{Changes, Forwarding},
        in_s3::committed_bundles,
        s3::store_of,
        waiting::{until_journal_is_empty, until_status},
        within,
    },
    requests::request,
};

/// S3 whose first deletion never returns.
#[derive(Debug)]
struct HangsOnce {
    s3: Arc<dyn Store>,
    has_hung: AtomicBool,
    hangs: Notify,
}

#[async_trait]
impl Changes for HangsOnce {
    fn inner(&self) -> &dyn Store {
        &*self.s3
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        if !self.has_hung.swap(true, Ordering::Relaxed) {
            self.hangs.notify_one();
            std::future::pending::<()>().await;
        }
        self.s3.delete(key).await
    }
}

#[tokio::test]
async fn age_of_a_hanging_export_counts_from_its_first_attempt() {
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
        let status = until_status(&server, "a running export", is_running).await;
        assert_eq!(status.oldest_unsynced_age, Some(Duration::from_secs(days * 24 * 3600)));
    }
    s3.clear_faults();
    let done = |status: &tara_export::export::Status| status.counts.completed == 1;
    assert_eq!(
        until_status(&server, "the end of the export", done).await.oldest_unsynced_age,
        None
    );
}

#[tokio::test]
async fn hanging_work_is_restarted() {
    let s3 = TestS3::start().await;
    let (has_hung, hangs) = (AtomicBool::new(false), Notify::new());
    let store = Arc::new(Forwarding(HangsOnce { s3: store_of(&s3), has_hung, hangs }));
    // The deletion is that of the entry in the store's journal.
    let flags = ["--journal=store", "--s3-bucket-name=test-bucket", "--takeover-interval=1d"];
    let host = Host::with_s3(store.clone()).flags(&["--s3-outage-pause=10ms"]).flags(&flags);
    let mut server = host.start().await;
    s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    committed(&mut server.client, request(1, "a.docx")).await;
    s3.clear_faults();
    within("the sync to hang", store.0.hangs.notified()).await;
    // The test moves the clock instead of waiting.
    time::pause();
    time::advance(Duration::from_secs(3500)).await;
    let status = until_status(&server, "a status", |_| true).await;
    assert_eq!((status.counts.fell_back, status.failed_attempts.len()), (1, 0));
    time::advance(Duration::from_secs(200)).await;
    time::resume();
    let is_reported = |status: &tara_export::export::Status| {
        status.failed_attempts.iter().any(|setback| setback.message.contains("made no progress"))
    };
    until_status(&server, "the reason", is_reported).await;
    until_journal_is_empty(&host).await;
    let done = |status: &tara_export::export::Status| status.counts.completed == 1;
    until_status(&server, "the end of the export", done).await;
    assert_eq!(committed_bundles(&s3).len(), 1);
}

//! Requests that are sent twice, over real HTTP. `crates/store/src/s3/hedge/tests.rs` has the rest, with fake requests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tara_export_digest::{ContentChecksums, Crc64Nvme, Sha256};
use tara_export_store::{
    ListRequest, ObjectChecksum, ObjectKey, Part, PartStore as _, PutOutcome, Store, read_small,
    s3::{EndedRequest, HedgeResult, RequestObserver, S3Settings, S3Store},
};
use tara_export_test_support::{Fault, FaultRule, Operation, RecordedRequest, TestS3};
use tokio::time::timeout;
use tracing::Span;

use crate::{
    backends::{environment, settings},
    contract::{key, payload},
};

/// Requests of each operation before a test, so that the usual response times are known: more than the 50 that are
/// needed, and enough for a few tokens.
const REQUESTS: usize = 60;

#[derive(Debug, Default)]
struct Hedges(Mutex<Vec<(&'static str, HedgeResult)>>);

impl RequestObserver for Hedges {
    fn sent(&self, _: &str) -> Span {
        Span::none()
    }

    fn ended(&self, _: &EndedRequest<'_>) {}

    fn hedged(&self, operation: &'static str, result: HedgeResult) {
        self.0.lock().unwrap().push((operation, result));
    }
}

/// A store that knows the usual response times of its server, and reports hedged requests.
async fn store(server: &TestS3) -> (Arc<S3Store>, Arc<Hedges>) {
    let hedges = Arc::<Hedges>::default();
    // Longer than a test: only a second request ends a stalled one.
    let long = Duration::from_secs(600);
    let settings = S3Settings {
        read_timeout: long,
        operation_timeout: long,
        ..settings(&server.endpoint(), server.bucket())
    };
    let environment = environment(server.access_key(), server.secret_key());
    let store = S3Store::from_sdk_config(settings, &environment).with_hedging(Some(hedges.clone()));
    let store = Arc::new(store);
    let usual = stream::iter(0..REQUESTS).for_each_concurrent(4, |number| {
        let (key, store) = (permanent(&format!("usual/{number}")), store.clone());
        async move {
            store.put_if_absent(&key, payload("x")).await.unwrap();
            store.head(&key).await.unwrap();
            read_small(store.as_ref(), &key, 1).await.unwrap();
            store.list(below("usual/")).await.unwrap();
        }
    });
    usual.await;
    server.reset_requests();
    hedges.0.lock().unwrap().clear();
    (store, hedges)
}

fn permanent(text: &str) -> ObjectKey {
    ObjectKey::permanent(text).unwrap()
}

fn below(prefix: &str) -> ListRequest {
    ListRequest { prefix: prefix.to_owned(), start_after: None, delimited: false, limit: 1 }
}

fn requests_of(server: &TestS3, operation: Operation, key: &str) -> Vec<RecordedRequest> {
    let mut requests = server.requests_of(operation);
    requests.retain(|request| request.key.ends_with(key));
    requests
}

/// Puts an object whose first request stalls.
async fn put_slowly(server: &TestS3, store: &S3Store, name: &str) -> PutOutcome {
    let stall = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_ends_with(name);
    server.fail(stall.times(1));
    store.put_if_absent(&permanent(name), payload("slow")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_put_is_answered_on_another_connection() {
    let server = TestS3::start().await;
    let (store, hedges) = store(&server).await;
    assert_eq!(put_slowly(&server, &store, "slow").await, PutOutcome::Created);
    let sent = requests_of(&server, Operation::PutObject, "slow");
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0].connection, sent[1].connection);
    assert!(hedges.0.lock().unwrap().contains(&("PutObject", HedgeResult::Won)));

    // The late put changes nothing.
    server.clear_faults();
    let other = store.put_if_absent(&permanent("slow"), payload("other")).await.unwrap();
    assert_eq!(other, PutOutcome::Exists);
    let (_, bytes) = read_small(store.as_ref(), &key("slow"), 4).await.unwrap();
    assert_eq!(bytes, "slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_connection_is_closed() {
    let server = TestS3::start().await;
    let (store, _) = store(&server).await;
    put_slowly(&server, &store, "slow").await;
    // The server ends a request when its client has closed the connection.
    loop {
        store.head(&key("slow")).await.unwrap();
        let heads = requests_of(&server, Operation::HeadObject, "slow");
        if heads.last().unwrap().in_flight == 1 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_put_of_an_existing_object_finds_it() {
    let server = TestS3::start().await;
    let (store, _) = store(&server).await;
    store.put_if_absent(&permanent("slow"), payload("foreign")).await.unwrap();
    assert_eq!(put_slowly(&server, &store, "slow").await, PutOutcome::Exists);
}

#[tokio::test(flavor = "multi_thread")]
async fn put_whose_response_is_late_finds_its_own_object() {
    let server = TestS3::start().await;
    let (store, _) = store(&server).await;
    let stall = FaultRule::new(Fault::StallResponse).key_ends_with("slow");
    server.fail(stall.times(1));
    let put = store.put_if_absent(&permanent("slow"), payload("own")).await.unwrap();
    assert_eq!(put, PutOutcome::Exists);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_reads_are_sent_again() {
    let server = TestS3::start().await;
    let (store, _) = store(&server).await;
    let operations = [Operation::HeadObject, Operation::GetObject, Operation::ListObjectsV2];
    for operation in operations {
        server.fail(FaultRule::new(Fault::Stall).on(operation).times(1));
    }
    let usual = key("usual/7");
    let (head, read, list) = futures::join!(
        store.head(&usual),
        read_small(store.as_ref(), &usual, 1),
        store.list(below("usual/"))
    );
    assert_eq!(head.unwrap().size_bytes, 1);
    assert_eq!(read.unwrap().1, "x");
    assert_eq!(list.unwrap().keys, ["usual/0"]);
    for operation in operations {
        assert!(server.requests_of(operation).len() >= 2, "{operation:?}");
    }
}

/// A put that arrives late would restore a deleted object, and a completion that is sent twice could find the upload
/// gone.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_deleted_and_multipart_uploads_are_sent_once() {
    let server = TestS3::start().await;
    let (store, _) = store(&server).await;
    let stalls = [
        FaultRule::new(Fault::Stall).on(Operation::PutObject).key_ends_with("deleted"),
        FaultRule::new(Fault::Stall).on(Operation::CompleteMultipartUpload),
    ];
    let stalls = stalls.map(|rule| server.fail(rule));
    let put = tokio::spawn({
        let store = store.clone();
        async move { store.put_if_absent(&key("deleted"), payload("x")).await }
    });
    let complete = tokio::spawn({
        let store = store.clone();
        async move {
            let upload =
                store.begin(&permanent("parts"), "text/plain", ObjectChecksum::Crc64Nvme).await;
            let upload = upload.unwrap();
            let crc64nvme = Crc64Nvme::of(b"x");
            let content = bytes::Bytes::from("x").into();
            let part = Part { number: 1, content, crc64nvme, progress: None };
            let part = store.put_part(&upload, part).await.unwrap();
            let checksums = ContentChecksums { size_bytes: 1, sha256: Sha256::of(b"x"), crc64nvme };
            store.complete_if_absent(&upload, &[part], &checksums).await
        }
    });
    while stalls.iter().any(|stall| server.fault_hits(*stall) == 0) {
        tokio::task::yield_now().await;
    }
    // Both wait for longer than a put that was sent twice meanwhile.
    assert_eq!(put_slowly(&server, &store, "slow").await, PutOutcome::Created);
    assert_eq!(requests_of(&server, Operation::PutObject, "deleted").len(), 1);
    assert_eq!(server.requests_of(Operation::CompleteMultipartUpload).len(), 1);
    server.clear_faults();
    assert_eq!(put.await.unwrap().unwrap(), PutOutcome::Created);
    assert_eq!(complete.await.unwrap().unwrap(), PutOutcome::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_server_gets_no_second_requests() {
    let server = TestS3::start().await;
    let (store, hedges) = store(&server).await;
    // Any request that S3 throttles counts, not only those that may be sent twice.
    let slow_down = FaultRule::new(Fault::SLOW_DOWN).on(Operation::DeleteObject);
    server.fail(slow_down.times(1));
    store.delete(&key("usual/0")).await.unwrap_err();
    let stall = server.fail(FaultRule::new(Fault::Stall).key_ends_with("slow").times(1));
    let mut put = tokio::spawn({
        let store = store.clone();
        async move { store.put_if_absent(&permanent("slow"), payload("slow")).await }
    });
    // A second request would be answered after about ten milliseconds.
    timeout(Duration::from_millis(500), &mut put).await.unwrap_err();
    assert_eq!(requests_of(&server, Operation::PutObject, "slow").len(), 1);
    server.clear_fault(stall);
    assert_eq!(put.await.unwrap().unwrap(), PutOutcome::Created);
    assert!(hedges.0.lock().unwrap().contains(&("PutObject", HedgeResult::Throttled)));
}

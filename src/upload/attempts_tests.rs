//! Runs concurrent calls in every order of their steps: the real code on a store in memory, where each operation on a
//! shared object is one step.

use std::{
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
    time::Duration,
};

use chrono::DateTime;
use futures::{FutureExt as _, future::BoxFuture, pending};
use tara_export_bundle::AcceptedTime;
use tara_export_clock::SystemClock;
use tara_export_limits::Pool;
use tara_export_store::{StoreKind, memory::MemoryStore};
use tokio::task::unconstrained;
use uuid::Uuid;

use super::*;
use crate::{
    transfer::{TransferLimits, Transfers},
    upload::UploadError,
};

/// A store in which a call waits for its next step before each operation on a shared object. The other objects of an
/// upload are written before it is registered.
fn store_in_steps() -> Arc<MemoryStore> {
    let store = MemoryStore::new(StoreKind::S3, "bucket");
    store.before_each(|call| async move {
        if SHARED.iter().any(|shared| call.key.contains(shared)) {
            pending!();
        }
        None
    });
    store
}

/// Parts of the keys of shared objects.
const SHARED: [&str; 3] = ["/requests/", "/contents/", "/aborted.json"];

/// Not used for transfers in these tests.
static TRANSFERS: LazyLock<Transfers> = LazyLock::new(|| {
    let pool = Pool::new("attempts", 1).unwrap();
    Transfers::new(TransferLimits { memory_bytes: 1 << 24, parallel_parts: 1 }, None, pool)
});

/// A replica on this store.
fn replica(memory: &Arc<MemoryStore>) -> StoreUploads {
    StoreUploads {
        store: memory.clone(),
        transfers: TRANSFERS.clone(),
        clock: Arc::new(SystemClock),
        retry_budget: Duration::from_secs(1),
        retention: Duration::from_secs(3600),
    }
}

fn digest(text: &str) -> Sha256 {
    Sha256::of(text.as_bytes())
}

/// The upload that a call requests. Calls may share the request and the content.
fn requested(number: u128, request: &str, seconds: i64) -> UploadRecord {
    UploadRecord {
        upload_id: Uuid::from_u128(number),
        size_bytes: 1,
        sha256: Some(digest("content")),
        created_time: AcceptedTime::new(DateTime::from_timestamp(seconds, 0).unwrap()),
        part_upload_id: None,
        request: Some(digest(request)),
        owner: None,
        caller: None,
    }
}

type Check<'a> = &'a mut dyn FnMut(&MemoryStore, &StoreUploads, [Option<Uuid>; 2]);
type Call<'a> = BoxFuture<'a, Option<Uuid>>;

fn create(replica: &StoreUploads, requested: UploadRecord) -> Call<'_> {
    async move { Some(replica.find_or_create(requested).await.unwrap().upload_id) }.boxed()
}

/// Runs one step of a call.
fn step(call: &mut Call<'_>) -> Poll<Option<Uuid>> {
    // All steps of all calls are one poll of the test's task and would exceed its cooperative budget.
    let mut call = std::pin::pin!(unconstrained(call));
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn alone(mut call: Call<'_>) -> Option<Uuid> {
    loop {
        if let Poll::Ready(result) = step(&mut call) {
            return result;
        }
    }
}

/// Runs two calls in every order of their steps, each time on a new store. Returns the number of orders.
fn in_every_order(
    replicas: &mut dyn FnMut() -> (Arc<MemoryStore>, [StoreUploads; 2]),
    calls: for<'a> fn(&'a [StoreUploads; 2]) -> [Call<'a>; 2],
    check: Check<'_>,
) -> usize {
    // The call of each step. After these steps, the first call runs to its end.
    let mut order: Vec<usize> = Vec::new();
    let mut count = 0;
    loop {
        let (memory, replicas) = replicas();
        let mut calls = calls(&replicas);
        let mut results = [None, None];
        let mut taken = Vec::new();
        while results.contains(&None) {
            let free = |call: usize, results: &[Option<_>; 2]| results[call].is_none();
            let mut call = order.get(taken.len()).copied().unwrap_or(0);
            if !free(call, &results) {
                call = 1 - call;
            }
            let has_choice = free(1 - call, &results);
            taken.push((call, has_choice));
            if let Poll::Ready(result) = step(&mut calls[call]) {
                results[call] = Some(result);
            }
        }
        drop(calls);
        check(&memory, &replicas[0], results.map(Option::unwrap));
        count += 1;
        // The next order changes the last step that the first call took instead of the second one.
        let last = taken.iter().rposition(|(call, has_choice)| *call == 0 && *has_choice);
        let Some(last) = last else { return count };
        order = taken[..last].iter().map(|(call, _)| *call).collect();
        order.push(1);
    }
}

fn is_aborted(memory: &MemoryStore, upload_id: Uuid) -> bool {
    memory.bytes(layout::upload_aborted(upload_id).as_str()).is_some()
}

#[tokio::test]
async fn concurrent_calls_of_one_request_get_one_upload() {
    for aborted in [0, 1, 3] {
        let orders = in_every_order(
            &mut || {
                let memory = store_in_steps();
                let replicas = [replica(&memory), replica(&memory)];
                for number in 0..aborted {
                    let created = requested(100 + number, "request", 0);
                    let upload_id = alone(create(&replicas[0], created.clone())).unwrap();
                    assert_eq!(upload_id, created.upload_id);
                    alone(abort(&replicas[0], upload_id));
                }
                (memory, replicas)
            },
            |replicas| {
                let call = |number: usize| {
                    create(&replicas[number], requested(number as u128, "request", 1))
                };
                [call(0), call(1)]
            },
            &mut |memory, replica, results| {
                let [Some(one), Some(other)] = results else { panic!("{results:?}") };
                assert_eq!(one, other);
                assert!(one.as_u128() < 2 && !is_aborted(memory, one));
                // The later call left no parts, and a repeated call finds the upload.
                assert_eq!(memory.unfinished().len(), 1);
                assert_eq!(alone(create(replica, requested(7, "request", 2))), Some(one));
            },
        );
        assert!(orders >= 20, "{orders}");
    }
}

#[tokio::test]
async fn concurrent_calls_of_two_requests_get_two_uploads() {
    let orders = in_every_order(
        &mut || {
            let memory = store_in_steps();
            let replicas = [replica(&memory), replica(&memory)];
            (memory, replicas)
        },
        |replicas| {
            [
                create(&replicas[0], requested(1, "one", 0)),
                create(&replicas[1], requested(2, "other", 0)),
            ]
        },
        &mut |memory, replica, results| {
            assert_eq!(results.map(|id| id.unwrap().as_u128()), [1, 2]);
            // The end of one upload does not affect the other one.
            alone(abort(replica, Uuid::from_u128(1)));
            assert_eq!(alone(create(replica, requested(8, "other", 1))), results[1]);
            assert_eq!(memory.unfinished().len(), 1);
        },
    );
    assert!(orders >= 20, "{orders}");
}

#[tokio::test]
async fn request_with_concurrently_aborted_upload_gets_another() {
    let orders = in_every_order(
        &mut || {
            let memory = store_in_steps();
            let replicas = [replica(&memory), replica(&memory)];
            assert!(alone(create(&replicas[0], requested(100, "request", 0))).is_some());
            (memory, replicas)
        },
        |replicas| {
            [
                create(&replicas[0], requested(1, "request", 1)),
                abort(&replicas[1], Uuid::from_u128(100)),
            ]
        },
        &mut |memory, replica, results| {
            let got = results[0].unwrap();
            assert!([1, 100].contains(&got.as_u128()));
            // The upload may have been aborted after it was found. The next call finds a usable one.
            let next = alone(create(replica, requested(2, "request", 2))).unwrap();
            assert!(!is_aborted(memory, next));
            assert!(got.as_u128() == 100 || next == got);
            // An hour later the upload has expired, and a new one is created.
            let later = alone(create(replica, requested(3, "request", 4000))).unwrap();
            assert_eq!(later.as_u128(), 3);
        },
    );
    assert!(orders >= 10, "{orders}");
}

fn abort(replica: &StoreUploads, upload_id: Uuid) -> Call<'_> {
    async move {
        let record: Result<_, UploadError> = replica.find(upload_id).await;
        replica.abort(&record.unwrap().unwrap(), "a test").await;
        None
    }
    .boxed()
}

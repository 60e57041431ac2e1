//! S3 servers whose listings break the rules: no key is missed without an error, and the probe names the problem.

use std::time::SystemTime;

use tara_export_store::{
    ListRequest, ProbeStatus, Store as _, StoreError, StoreErrorKind, s3::S3Store,
};
use tara_export_test_support::{ListingFaults, Operation, TestS3};

use crate::{
    backends::{environment, settings},
    contract::{key, payload},
};

/// A store on a server whose listings are broken in this way, with this number of keys.
async fn store_with(faults: ListingFaults, count: usize) -> (TestS3, S3Store, Vec<String>) {
    let server = TestS3::start().await;
    let settings = settings(&server.endpoint(), server.bucket());
    let environment = environment(server.access_key(), server.secret_key());
    let store = S3Store::from_sdk_config(settings, &environment);
    let mut keys: Vec<String> = (0..count)
        .map(|number| match number % 3 {
            0 => format!("list/{number:05}"),
            1 => format!("list/{number:05}/file"),
            _ => format!("list/{number:05}-file"),
        })
        .collect();
    for name in &keys {
        store.put_if_absent(&key(name), payload("x")).await.unwrap();
    }
    keys.sort_unstable();
    server.break_listings(faults);
    (server, store, keys)
}

/// All keys, page by page, each page after the last key of the previous one.
async fn pages(store: &S3Store, limit: usize) -> Result<Vec<String>, StoreError> {
    let (mut keys, mut start_after) = (Vec::new(), None);
    loop {
        let prefix = "list/".to_owned();
        let listing =
            store.list(ListRequest { prefix, start_after, delimited: false, limit }).await?;
        assert!(listing.keys.len() <= limit && listing.keys.is_sorted());
        keys.extend(listing.keys);
        match keys.last() {
            Some(last) if listing.more => start_after = Some(last.clone()),
            _ => return Ok(keys),
        }
    }
}

/// The names of all folders and keys, page by page.
async fn grouped(store: &S3Store, limit: usize) -> Vec<String> {
    let (mut names, mut start_after) = (Vec::new(), None);
    loop {
        let prefix = "list/".to_owned();
        let request = ListRequest { prefix, start_after, delimited: true, limit };
        let listing = store.list(request).await.unwrap();
        let mut page = [listing.folders, listing.keys].concat();
        page.sort_unstable();
        names.extend(page);
        match names.last() {
            Some(last) if listing.more => start_after = Some(last.clone()),
            _ => return names,
        }
    }
}

fn usable() -> [(ListingFaults, ProbeStatus, &'static str); 4] {
    let unordered = ListingFaults { unordered: true, ..ListingFaults::default() };
    let ignores_start_after =
        ListingFaults { ignores_start_after: true, ..ListingFaults::default() };
    [
        (ListingFaults::default(), ProbeStatus::Passed, "in order"),
        (unordered, ProbeStatus::Warning, "order of their bytes"),
        (ignores_start_after, ProbeStatus::Warning, "start-after"),
        (
            ListingFaults { unordered: true, ..ignores_start_after },
            ProbeStatus::Warning,
            "order of their bytes",
        ),
    ]
}

#[tokio::test]
async fn pages_of_unusable_listings_have_each_key_once() {
    for (faults, ..) in usable() {
        for (count, limit) in [(12, 1), (12, 5), (12, 50), (45, 7), (1100, 600)] {
            let (_server, store, expected) = store_with(faults, count).await;
            assert_eq!(pages(&store, limit).await.unwrap(), expected, "{faults:?} {count} {limit}");
        }
        let (_server, store, expected) = store_with(faults, 60).await;
        let mut expected: Vec<String> = expected
            .iter()
            .map(|key| {
                key.strip_suffix("file").filter(|key| key.ends_with('/')).unwrap_or(key).to_owned()
            })
            .collect();
        expected.dedup();
        for limit in [1, 7, 1000] {
            assert_eq!(grouped(&store, limit).await, expected, "{faults:?} {limit}");
        }
    }
}

/// A store of another process on the same server knows nothing about its order.
#[tokio::test]
async fn listing_continues_after_restart_without_missing_keys() {
    for (faults, ..) in usable() {
        for start in [0, 9, 39] {
            let (_server, store, expected) = store_with(faults, 40).await;
            let (mut keys, mut start_after) = (Vec::new(), expected[start].clone());
            loop {
                let request = ListRequest {
                    prefix: "list/".to_owned(),
                    start_after: Some(start_after),
                    delimited: false,
                    limit: 16,
                };
                let listing = store.list(request).await.unwrap();
                keys.extend(listing.keys);
                match keys.last() {
                    Some(last) if listing.more => start_after = last.clone(),
                    _ => break,
                }
            }
            assert_eq!(keys, expected[start + 1..], "{faults:?} {start}");
        }
    }
}

#[tokio::test]
async fn listing_that_can_not_be_continued_is_an_error() {
    let faults =
        ListingFaults { unordered: true, ignores_tokens: true, ..ListingFaults::default() };
    let (_server, store, _) = store_with(faults, 1100).await;
    let error = pages(&store, 100).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    assert!(
        error.to_string().contains("continuation tokens") && error.to_string().contains("check")
    );
}

#[tokio::test]
async fn ordered_listing_is_not_read_completely() {
    let (server, store, expected) = store_with(ListingFaults::default(), 60).await;
    server.reset_requests();
    assert_eq!(pages(&store, 20).await.unwrap(), expected);
    assert_eq!(server.requests_of(Operation::ListObjectsV2).len(), 3);
}

#[tokio::test]
async fn probe_names_the_problem_of_a_listing() {
    let ignores_tokens = ListingFaults { ignores_tokens: true, ..ListingFaults::default() };
    let useless = ListingFaults { unordered: true, ..ignores_tokens };
    let stale = ListingFaults { hides_since: Some(SystemTime::now()), ..ListingFaults::default() };
    let others = [
        (ignores_tokens, ProbeStatus::Warning, "ignores continuation tokens"),
        (useless, ProbeStatus::Failed, "ignores continuation tokens"),
        (stale, ProbeStatus::Failed, "just stored"),
    ];
    for (faults, status, text) in usable().into_iter().chain(others) {
        let (_server, store, _) = store_with(faults, 0).await;
        // The second probe finds the objects of the first.
        for _ in 0..2 {
            let rows = store.probe().await;
            let row = rows.iter().find(|row| row.check == "s3.list").unwrap();
            assert_eq!(row.status, status, "{faults:?} {row:?}");
            assert!(row.message.contains(text), "{faults:?} {row:?}");
            assert_eq!(row.hint.is_empty(), status == ProbeStatus::Passed, "{row:?}");
        }
    }
}

/// Only new objects are listed late: later probes notice it too.
#[tokio::test]
async fn every_probe_tries_a_new_object() {
    let (server, store, _) = store_with(ListingFaults::default(), 0).await;
    let status = async || {
        let rows = store.probe().await;
        rows.into_iter().find(|row| row.check == "s3.list").unwrap().status
    };
    assert_eq!(status().await, ProbeStatus::Passed);
    let hides_since = Some(SystemTime::now());
    server.break_listings(ListingFaults { hides_since, ..ListingFaults::default() });
    assert_eq!(status().await, ProbeStatus::Failed);
    server.break_listings(ListingFaults::default());
    for _ in 0..70 {
        assert_eq!(status().await, ProbeStatus::Passed);
    }
    let objects = server.objects();
    let count = objects.keys().filter(|key| key.contains("/probe/")).count();
    assert!(count < 80, "the number of probe objects is limited: {count}");
}

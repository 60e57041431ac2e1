//! S3 requests for a page of exports: they depend on the size of the page, not on its position in the catalogue.

use std::{collections::BTreeSet, ops::Range};

use chrono::{DateTime, TimeDelta, Utc};
use tara_export_client::proto::{Export, ListExportsRequest, ListExportsResponse};
use tara_export_test_support::{Operation, TestS3};

use crate::harness::{
    Client, Host, START,
    catalogue::Committed,
    s3::{is_of_uploads, store_of},
};

/// Puts bundles into S3 at this interval. Returns them newest first.
fn put_bundles(s3: &TestS3, count: u64, interval: TimeDelta) -> Vec<Committed> {
    put_numbers(s3, 0..count, START.parse().unwrap(), interval)
}

fn put_numbers(
    s3: &TestS3,
    numbers: Range<u64>,
    oldest: DateTime<Utc>,
    interval: TimeDelta,
) -> Vec<Committed> {
    let first = numbers.start;
    let mut bundles: Vec<Committed> = numbers
        .map(|number| {
            let time = oldest + interval * i32::try_from(number - first).unwrap();
            let reviewer = if number % 1_000 == 7 { "Grace" } else { "Ada" };
            Committed::new(number, time, reviewer)
        })
        .collect();
    for bundle in &bundles {
        for (key, content) in [bundle.index_entry(), bundle.manifest()] {
            s3.put_raw(format!("tara/{key}"), content);
        }
    }
    bundles.reverse();
    bundles
}

fn names(bundles: &[Committed]) -> Vec<String> {
    bundles.iter().map(Committed::name).collect()
}

fn shown(exports: &[Export]) -> Vec<String> {
    exports.iter().map(|export| export.name.clone()).collect()
}

/// The S3 requests of a call.
struct Cost {
    lists: usize,
    /// The objects that were read, in order.
    read: Vec<String>,
}

/// Requests a page. Returns it with its cost. Only lists and reads of single objects are allowed.
async fn page(
    s3: &TestS3,
    client: &mut Client,
    page_size: i32,
    filter: &str,
    page_token: &str,
) -> (ListExportsResponse, Cost) {
    s3.reset_requests();
    let request = ListExportsRequest {
        page_size,
        page_token: page_token.to_owned(),
        filter: filter.to_owned(),
    };
    let page = client.list_exports(request).await.unwrap().into_inner();
    let mut cost = Cost { lists: 0, read: Vec::new() };
    for request in s3.requests().iter().filter(|request| !is_of_uploads(request)) {
        match request.operation {
            Operation::ListObjectsV2 => cost.lists += 1,
            Operation::GetObject => cost.read.push(request.key.clone()),
            other => panic!("{other:?}"),
        }
    }
    assert!(cost.lists <= 4, "{} lists", cost.lists);
    let different: BTreeSet<&String> = cost.read.iter().collect();
    assert_eq!(different.len(), cost.read.len(), "nothing is read twice: {:?}", cost.read);
    (page, cost)
}

/// All matching exports in order, and all objects that were read for them.
struct Pages {
    names: Vec<String>,
    read: Vec<String>,
}

async fn pages(s3: &TestS3, client: &mut Client, page_size: i32, filter: &str) -> Pages {
    let (mut all, mut token) = (Pages { names: Vec::new(), read: Vec::new() }, String::new());
    for _ in 0..20 {
        let (page, cost) = page(s3, client, page_size, filter, &token).await;
        all.names.extend(shown(&page.exports));
        all.read.extend(cost.read);
        token = page.next_page_token;
        if token.is_empty() {
            return all;
        }
    }
    panic!("more than 20 pages");
}

#[tokio::test]
async fn page_costs_one_list_and_its_manifests_at_any_interval() {
    for interval in [TimeDelta::weeks(1), TimeDelta::milliseconds(360), TimeDelta::microseconds(1)]
    {
        let s3 = TestS3::start().await;
        let bundles = put_bundles(&s3, 503, interval);
        let mut server = Host::with_s3(store_of(&s3)).start().await;
        let client = &mut server.client;
        let mut token = String::new();
        let last = bundles.chunks(50).count() - 1;
        for (number, expected) in bundles.chunks(50).enumerate() {
            let (first_time, cost) = page(&s3, client, 0, "", &token).await;
            assert_eq!(shown(&first_time.exports), names(expected), "page {number}, {interval}");
            assert_eq!((cost.lists, cost.read.len()), (1, expected.len()), "page {number}");
            let (second_time, cost) = page(&s3, client, 0, "", &token).await;
            assert_eq!(second_time, first_time);
            assert_eq!((cost.lists, cost.read.len()), (1, 0), "page {number}, again");
            token = first_time.next_page_token;
            assert_eq!(token.is_empty(), number == last, "page {number}");
        }
    }
}

#[tokio::test]
async fn exports_of_one_microsecond_are_listed_and_read_once() {
    let s3 = TestS3::start().await;
    // More than one listing returns, and more than a page may scan.
    let together = put_bundles(&s3, 2_001, TimeDelta::zero());
    let before = START.parse::<DateTime<Utc>>().unwrap() - TimeDelta::hours(1);
    let older = put_numbers(&s3, 10_000..10_010, before, TimeDelta::seconds(1));
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    let all = pages(&s3, &mut server.client, 400, "").await;
    // Exports of the same time are ordered by name; the numbers descend.
    assert!(all.names == [names(&together), names(&older)].concat());
    assert_eq!(all.read.len(), together.len() + older.len());
    let graces = pages(&s3, &mut server.client, 50, "reviewer = Grace").await;
    let expected = [1_007, 7, 10_007].map(|number| Committed::new(number, before, "").name());
    assert_eq!((graces.names, graces.read.len()), (expected.to_vec(), 0));
}

#[tokio::test]
async fn time_filter_bounds_the_scan() {
    let s3 = TestS3::start().await;
    let interval = TimeDelta::hours(1);
    let bundles = put_bundles(&s3, 2_000, interval);
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    let client = &mut server.client;
    let (latest, earliest) = (&bundles[1_500].manifest, &bundles[1_519].manifest);
    let filter = format!(
        "accepted_time >= \"{}\" AND accepted_time <= \"{}\"",
        earliest.accepted_time, latest.accepted_time
    );
    let (twenty, cost) = page(&s3, client, 50, &filter, "").await;
    assert_eq!(shown(&twenty.exports), names(&bundles[1_500..1_520]));
    assert_eq!(twenty.next_page_token, "");
    // The first list of a server that starts in the middle also finds out whether the listing is ordered.
    assert_eq!((cost.lists, cost.read.len()), (2, 20));

    let (seven, cost) = page(&s3, client, 7, &filter, "").await;
    assert_eq!(shown(&seven.exports), names(&bundles[1_500..1_507]));
    assert_eq!((cost.lists, cost.read.len()), (1, 0));
    let (rest, cost) = page(&s3, client, 50, &filter, &seven.next_page_token).await;
    assert_eq!(shown(&rest.exports), names(&bundles[1_507..1_520]));
    assert_eq!((cost.lists, cost.read.len()), (1, 0));

    let nothing =
        "accepted_time > \"2026-11-01T00:00:00Z\" AND accepted_time < \"2026-11-01T00:00:00Z\"";
    let (empty, cost) = page(&s3, client, 50, nothing, "").await;
    assert_eq!((empty, cost.lists), (ListExportsResponse::default(), 0));
}

#[tokio::test]
async fn selective_filter_ends_pages_early_and_finds_all() {
    let s3 = TestS3::start().await;
    let bundles = put_bundles(&s3, 2_100, TimeDelta::seconds(1));
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    let (first, cost) = page(&s3, &mut server.client, 50, "reviewer = Grace", "").await;
    assert_eq!((first.exports.len(), cost.read.len()), (2, 2_000));
    assert!(!first.next_page_token.is_empty());
    let all = pages(&s3, &mut server.client, 50, "reviewer = Grace").await;
    let graces = bundles.iter().filter(|bundle| bundle.manifest.reviewer == "Grace");
    assert_eq!(all.names, graces.map(Committed::name).collect::<Vec<_>>());
    assert_eq!((all.names.len(), all.read.len()), (3, 100));
}

#[tokio::test]
async fn without_a_cache_each_page_reads_its_manifests() {
    let s3 = TestS3::start().await;
    let bundles = put_bundles(&s3, 60, TimeDelta::seconds(1));
    let mut server = Host::with_s3(store_of(&s3)).flags(&["--catalog-cache-size=0"]).start().await;
    for _ in 0..2 {
        let (first, cost) = page(&s3, &mut server.client, 50, "", "").await;
        assert_eq!(shown(&first.exports), names(&bundles[..50]));
        assert_eq!((cost.lists, cost.read.len()), (1, 50));
    }
}

#[tokio::test]
async fn small_cache_keeps_only_what_fits() {
    let s3 = TestS3::start().await;
    let bundles = put_bundles(&s3, 1_000, TimeDelta::seconds(1));
    let host = Host::with_s3(store_of(&s3)).flags(&["--catalog-cache-size=100KiB"]);
    let mut server = host.start().await;
    page(&s3, &mut server.client, 1_000, "", "").await;
    let (all, cost) = page(&s3, &mut server.client, 1_000, "", "").await;
    assert_eq!(shown(&all.exports), names(&bundles));
    // A manifest has about two kilobytes. The cache evicts with a delay, so the exact number varies, but most manifests
    // do not fit.
    assert!(cost.read.len() >= 500, "{} were read again", cost.read.len());
}

#[tokio::test]
async fn index_entries_without_manifests_cost_little() {
    let s3 = TestS3::start().await;
    let bundles = put_bundles(&s3, 500, TimeDelta::seconds(1));
    for bundle in bundles.iter().step_by(10) {
        assert!(s3.remove(&format!("tara/{}", bundle.manifest().0)));
    }
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    let expected: Vec<String> = bundles
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 10 != 0)
        .map(|(_, bundle)| bundle.name())
        .collect();
    let (first, cost) = page(&s3, &mut server.client, 50, "", "").await;
    assert_eq!(shown(&first.exports), expected[..50]);
    assert!((56..=100).contains(&cost.read.len()), "{}", cost.read.len());
    assert_eq!(cost.lists, 2);
}

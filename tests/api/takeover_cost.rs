//! The cost of a scan of the store's journal if entries cannot be deleted: only list requests.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tara_export_bundle::{ExportId, FolderBase, FolderName};
use tara_export_catalog::layout;
use tara_export_client::proto::export::State;
use tara_export_store::{ObjectKey, Store};
use tara_export_test_support::{Fault, FaultId, FaultRule, Operation, RecordedRequest, TestS3};
use uuid::Uuid;

use crate::{
    following::next,
    harness::{Host, START, catalogue::Committed, s3::store_of, until, waiting::until_known},
    requests::{id, name, request},
};

const FLAGS: [&str; 5] = [
    "--journal=store",
    "--s3-bucket-name=test-bucket",
    "--takeover-interval=300ms",
    "--takeover-age=15m",
    "--shutdown-timeout=0s",
];
/// Keys in one list response.
const PAGE: usize = 1_000;

fn full_key(key: &ObjectKey) -> String {
    format!("tara/{key}")
}

/// A committed export. Its id sorts before those of requests.
fn export(number: u32) -> Committed {
    let start: DateTime<Utc> = START.parse().unwrap();
    let time = start - TimeDelta::days(30) + TimeDelta::seconds(number.into());
    let mut export = Committed::new(number.into(), time, "Ada");
    let manifest = &mut export.manifest;
    let base = FolderBase::new(&manifest.accepted_time, &manifest.document_name);
    manifest.folder_name = FolderName::new(&base, 1);
    manifest.export_id = ExportId::new(Uuid::from_u128(number.into()));
    export
}

fn entry(export: &Committed) -> String {
    full_key(&layout::journal_entry(export.manifest.export_id, export.manifest.content_digest))
}

fn end_marker(export: &Committed) -> String {
    full_key(&layout::journal_end_marker(export.manifest.export_id, export.manifest.content_digest))
}

/// S3 with an entry of each export, and the fault that denies deletions.
async fn s3_with(exports: &[Committed]) -> (TestS3, FaultId) {
    let s3 = TestS3::start().await;
    let denial = s3.fail(FaultRule::new(Fault::ACCESS_DENIED).on(Operation::DeleteObject));
    // An hour before the tests' time.
    let start: DateTime<Utc> = START.parse().unwrap();
    s3.clock_skew(start - TimeDelta::hours(1) - Utc::now());
    for export in exports {
        s3.put_raw(entry(export), "an entry that is never read");
    }
    s3.clock_skew(TimeDelta::zero());
    (s3, denial)
}

fn commit(s3: &TestS3, exports: &[Committed]) {
    for export in exports {
        for (key, content) in [export.record(), export.manifest()] {
            s3.put_raw(full_key(&key), content);
        }
    }
}

/// Accepts an export on a machine that is then lost. The acceptance time is the tests' current time.
async fn accept_on_lost_machine(s3: &TestS3, number: u32) {
    let held = s3.fail(
        FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("comprehensive_report"),
    );
    let host = Host::with_s3(store_of(s3)).flags(&FLAGS[..2]).flags(&["--shutdown-timeout=0s"]);
    let mut server = host.start().await;
    let stream = server.client.start_export(request(number, "lost.docx")).await.unwrap();
    next(&mut stream.into_inner()).await;
    until("an artifact to be blocked", || s3.fault_hits(held) > 0).await;
    server.stop().await;
    s3.clear_fault(held);
    // The entry gets a time 50 minutes before the tests' time.
    let start: DateTime<Utc> = START.parse().unwrap();
    s3.clock_skew(start - TimeDelta::minutes(50) - Utc::now());
    let entries: Vec<(String, _)> = s3.objects().into_iter().collect();
    for (key, object) in entries {
        if key.contains("/journal/") && key.contains(&id(number)) {
            s3.put_raw(key, object.bytes);
        }
    }
    s3.clock_skew(TimeDelta::zero());
}

/// The requests of a replica for takeovers, without the probe and the list of uploads at startup.
fn requests(s3: &TestS3) -> Vec<RecordedRequest> {
    let mut requests = s3.requests();
    requests
        .retain(|request| !request.query.contains("uploads") && !request.key.contains("/probe/"));
    requests
}

fn lists(s3: &TestS3) -> usize {
    requests(s3).iter().filter(|request| request.operation == Operation::ListObjectsV2).count()
}

/// Waits for complete scans that only list. A scan that began before the last end marker was put may check an entry
/// once more.
async fn assert_scans_only_list(s3: &TestS3, names: usize) {
    let pages = names.div_ceil(PAGE);
    let mut other = Vec::new();
    for _ in 0..5 {
        s3.reset_requests();
        until("three scans", || lists(s3) >= 3 * pages).await;
        other = requests(s3);
        other.retain(|request| request.operation != Operation::ListObjectsV2);
        if other.is_empty() {
            return;
        }
    }
    panic!("{:?} and {} more", other[0], other.len() - 1);
}

#[tokio::test]
async fn scan_of_committed_entries_costs_its_list_pages() {
    let exports: Vec<Committed> = (0..2_500).map(export).collect();
    let (s3, _) = s3_with(&exports).await;
    // There is neither a record nor a bundle: only the end marker shows that the export has ended.
    for export in &exports {
        s3.put_raw(end_marker(export), "{}");
    }
    accept_on_lost_machine(&s3, 1).await;
    s3.reset_requests();
    let other = Host::with_s3(store_of(&s3)).flags(&FLAGS);
    let mut server = other.start().await;
    let taken_over = until_known(&mut server.client, &name(1)).await;
    assert_eq!(taken_over.state(), State::Committed);
    let ids: BTreeSet<String> =
        exports.iter().map(|export| export.manifest.export_id.to_string()).collect();
    for request in requests(&s3) {
        assert!(!ids.iter().any(|id| request.key.contains(id)), "{request:?}");
    }
    let end_markers = || s3.objects().keys().filter(|key| key.ends_with(".ended")).count();
    until("the end marker of the taken-over export", || end_markers() == exports.len() + 1).await;
    assert_scans_only_list(&s3, 2 * (exports.len() + 1)).await;
}

#[tokio::test]
async fn missing_end_markers_are_added_once_and_delay_no_takeover() {
    let exports: Vec<Committed> = (0..300).map(export).collect();
    let (s3, denial) = s3_with(&exports).await;
    commit(&s3, &exports);
    // Last in the list, and the youngest.
    accept_on_lost_machine(&s3, 1).await;
    s3.reset_requests();
    let other = Host::with_s3(store_of(&s3)).flags(&FLAGS);
    let mut server = other.start().await;
    let taken_over = until_known(&mut server.client, &name(1)).await;
    assert_eq!(taken_over.state(), State::Committed);
    until("all entries to be ended", || s3.fault_hits(denial) > exports.len()).await;
    let end_markers = || s3.objects().into_keys().filter(|key| key.ends_with(".ended")).collect();
    let mut found: BTreeSet<String> = end_markers();
    until("the last end markers", || {
        found = end_markers();
        found.len() > exports.len()
    })
    .await;
    assert!(exports.iter().all(|export| found.contains(&end_marker(export))));
    let records: Vec<String> = requests(&s3)
        .into_iter()
        .filter(|request| request.key.contains("/exports/"))
        .map(|request| request.key)
        .collect();
    let position = records.iter().position(|key| key.contains(&id(1))).unwrap();
    // One page lists them all.
    assert!(position < 32, "{position} others were checked first");
    let different: BTreeSet<&String> = records.iter().collect();
    assert_eq!(different.len(), exports.len() + 1);
    assert_scans_only_list(&s3, 2 * (exports.len() + 1)).await;
}

/// Prints the figures of docs/benchmarks.md.
#[tokio::test]
#[ignore = "a slow measurement"]
async fn measure_scan_of_100_000_committed_entries() {
    const ENTRIES: u32 = 100_000;
    const SAMPLE: u32 = 2_000;
    let exports: Vec<Committed> = (0..ENTRIES).map(export).collect();
    let (s3, _) = s3_with(&exports).await;
    commit(&s3, &exports[..SAMPLE as usize]);
    for export in &exports {
        s3.put_raw(end_marker(export), "{}");
    }
    let pages = 2 * (ENTRIES as usize).div_ceil(PAGE);
    let server = Host::with_s3(store_of(&s3)).flags(&FLAGS).start().await;
    while lists(&s3) < pages {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
    let requests = requests(&s3);
    let lists: Vec<_> = requests
        .iter()
        .filter(|request| request.operation == Operation::ListObjectsV2)
        .take(pages)
        .collect();
    let took = lists.last().unwrap().started - lists[0].started;
    let other = requests.iter().filter(|request| request.key.contains(".tara-export/")).count();
    println!(
        "{ENTRIES} entries with end markers: {} LIST, {other} other requests, {took:?}",
        lists.len()
    );

    // The six requests of the previous release, in sequence.
    let store = store_of(&s3);
    let start = std::time::Instant::now();
    for export in &exports[..SAMPLE as usize] {
        six_requests(store.as_ref(), export).await;
    }
    let took: Duration = start.elapsed() * (ENTRIES / SAMPLE);
    println!("the previous release: 100 LIST, {} other requests, {took:?}", 6 * ENTRIES);
}

async fn six_requests(store: &dyn Store, export: &Committed) {
    let manifest = &export.manifest;
    let entry = layout::journal_entry(manifest.export_id, manifest.content_digest);
    store.head(&entry).await.unwrap();
    for key in [layout::record(manifest.export_id), layout::record(manifest.export_id)] {
        store.get(&key).await.unwrap();
    }
    let claim = layout::folder_claim(&manifest.folder_name);
    let manifest = layout::manifest(&manifest.folder_name);
    let (_, manifest) = futures::join!(store.get(&claim), store.get(&manifest));
    manifest.unwrap();
    store.delete(&entry).await.unwrap_err();
}

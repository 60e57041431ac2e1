//! A large backlog at startup (guarantees, failure 5).

use std::{fs, time::Duration};

use bytes::Bytes;
use chrono::TimeDelta;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tara_export::export::{Journal, JournalLimits, Status};
use tara_export_bundle::{AcceptedExport, AcceptedTime, ExportId, FolderBase};
use tara_export_client::proto::{
    WatchExportRequest, document::Kind, export::State, export_event::Event,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use crate::{
    following::{kind, next, refused},
    harness::{
        Host,
        in_s3::committed_bundles,
        s3::store_of,
        waiting::{journal, read, status, until_status},
    },
    requests::{document, id, name, request},
    statuses::expect_status,
};

/// Three bodies of this size fit in request memory, with the other memory of each export.
const BODY_BYTES: usize = 750 * 1024;
const FLAGS: [&str; 5] = [
    "--max-request-size=1MiB",
    "--max-request-memory=2560KiB",
    "--backlog-concurrency=256",
    "--shutdown-timeout=0s",
    "--s3-retry-budget=10m",
];

/// An export with this document that a server accepted but did not finish. Its entry is in the journal.
async fn unfinished_export(host: &Host, s3: &TestS3, before: Vec<u8>) -> AcceptedExport {
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject));
    let server = host.start().await;
    let mut client = server.client.clone();
    let mut first = request(1, "a.docx");
    first.documents = vec![document(Kind::Before, before)];
    let caller = tokio::spawn(async move { client.start_export(first).await.map(drop) });
    while s3.fault_hits(held) == 0 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    drop(caller);
    let entry = journal(host).pop().unwrap();
    let entry = fs::read(host.data_dir().join(".tara-export/journal").join(entry)).unwrap();
    s3.clear_faults();
    AcceptedExport::decode(Bytes::from(entry)).unwrap()
}

/// The same content under another id, accepted later.
fn another(first: &AcceptedExport, number: u32) -> AcceptedExport {
    let export_id = ExportId::new(id(number).parse().unwrap());
    // One second apart: exports with the same second and name search for a free folder one by one.
    let seconds = TimeDelta::seconds(number.into());
    let accepted_time = AcceptedTime::new(first.accepted_time.as_datetime() + seconds);
    let folder_base = FolderBase::new(&accepted_time, "a.docx");
    AcceptedExport { export_id, accepted_time, folder_base, ..first.clone() }
}

/// Fills the journal of a host with `count` accepted exports.
async fn fill(host: &Host, s3: &TestS3, count: u32) {
    let first = unfinished_export(host, s3, vec![7; BODY_BYTES]).await;
    let limits = JournalLimits::NONE;
    let journal = Journal::open(host.data_dir(), limits).await.unwrap();
    let others = stream::iter(2..=count).map(|number| {
        let export = another(&first, number);
        let journal = journal.clone();
        async move { journal.record(&export).await.map(drop) }
    });
    others.buffer_unordered(64).try_collect::<()>().await.unwrap();
}

#[tokio::test]
async fn large_backlog_is_finished_in_bounded_memory() {
    const COUNT: u32 = 40;
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&FLAGS);
    fill(&host, &s3, COUNT).await;
    let held = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_ends_with(".docx");
    let held = s3.fail(held);
    let mut server = host.start().await;
    // Every export is known although no export is finished.
    let last = read(&mut server.client, &name(COUNT)).await;
    assert!(matches!(last.state(), State::Pending | State::Running), "{last:?}");
    let full = |_: &_| s3.fault_hits(held) == 3;
    let status = until_status(&server, "as many as fit in memory", full).await;
    assert_eq!(status.counts.started, u64::from(COUNT));
    assert_eq!((status.counts.running, status.journal.count), (3, u64::from(COUNT)));
    s3.clear_faults();
    let done = |status: &Status| status.counts.completed == u64::from(COUNT);
    until_status(&server, "the backlog's end", done).await;
    assert_eq!(committed_bundles(&s3).len(), COUNT as usize);
    // Documents in flight never exceed what fits in memory.
    let puts = s3.requests_of(Operation::PutObject);
    let mut times: Vec<(std::time::Instant, i32)> = puts
        .iter()
        .filter(|put| put.key.ends_with(".docx"))
        .flat_map(|put| {
            let end = put.finished.unwrap_or(put.started + Duration::from_nanos(1));
            [(put.started, 1), (end, -1)]
        })
        .collect();
    times.sort();
    let in_flight = times.iter().scan(0, |now, (_, change)| {
        *now += change;
        Some(*now)
    });
    assert!(in_flight.max().unwrap() <= 3);
}

/// More entries than the in-memory window, and than startup reads before the server is ready.
#[tokio::test]
async fn exports_not_in_memory_are_counted_and_found_by_id() {
    const COUNT: u32 = 12_000;
    let s3 = TestS3::start().await;
    let host =
        Host::with_s3(store_of(&s3)).flags(&["--shutdown-timeout=0s", "--s3-retry-budget=10m"]);
    let first = unfinished_export(&host, &s3, vec![7]).await;
    let folder = host.data_dir().join(".tara-export/journal");
    for number in 2..=COUNT {
        let export = another(&first, number);
        let name = format!("{}-{}.export", export.export_id, export.content_digest);
        fs::write(folder.join(name), export.encode().concat()).unwrap();
    }
    s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject));
    let mut server = host.start().await;
    let entries = u64::from(COUNT);
    // All entries count at once, and still do after the oldest are read.
    assert!(status(&server).await.counts.started >= entries);
    let oldest_are_read = |status: &Status| {
        let counts = status.counts;
        (1..entries).contains(&status.unread)
            && (counts.started, counts.pending + counts.running) == (entries, entries)
    };
    until_status(&server, "the oldest are read", oldest_are_read).await;

    let client = &mut server.client;
    assert_eq!(read(client, &name(COUNT)).await.state(), State::Pending);
    // The id is in use although the entry is not in memory.
    let status_of_other = refused(client, request(COUNT, "other.docx")).await;
    expect_status(&status_of_other, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let watched = WatchExportRequest { name: name(COUNT), ..WatchExportRequest::default() };
    let mut events = client.watch_export(watched).await.unwrap().into_inner();
    assert_eq!(kind(&next(&mut events).await), "accepted");
    // Repeating the request finds its entry and is not counted again.
    let mut again = request(COUNT - 1, "a.docx");
    again.documents = vec![document(Kind::Before, vec![7])];
    let mut events = client.start_export(again).await.unwrap().into_inner();
    let accepted = next(&mut events).await;
    assert!(matches!(accepted.event, Some(Event::Accepted(accepted)) if accepted.resumed));
    until_status(&server, "each is counted once", oldest_are_read).await;
    server.stop().await;
}

//! Failures row 5: a large backlog at the start.

use std::{fs, time::Duration};

use bytes::Bytes;
use chrono::TimeDelta;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tara_export::{
    bundle::{AcceptedExport, AcceptedTime, ExportId, FolderBase},
    export::{Journal, JournalLimits},
    proto::{document::Kind, export::State},
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    harness::{Host, s3::store_of},
    in_s3::committed_bundles,
    requests::{document, id, name, request},
    waiting::{journal, read, until_status},
};

/// Bodies of 750 KiB: three have room in memory, with what each export takes beside its documents.
const BODY_BYTES: usize = 750 * 1024;
const FLAGS: [&str; 5] = [
    "--max-request-size=1MiB",
    "--max-request-memory=2560KiB",
    "--backlog-concurrency=256",
    "--shutdown-timeout=0s",
    "--s3-retry-budget=10m",
];

/// Fills the journal of a machine as so many accepted exports would.
async fn fill(host: &Host, s3: &TestS3, count: u32) {
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject));
    let server = host.start().await;
    let mut client = server.client.clone();
    let mut first = request(1, "a.docx");
    first.documents = vec![document(Kind::Before, vec![7; BODY_BYTES])];
    let caller = tokio::spawn(async move { client.start_export(first).await.map(drop) });
    while s3.fault_hits(held) == 0 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    drop(caller);
    let entry = journal(host).pop().unwrap();
    let entry = fs::read(host.data_dir().join(".tara-export/journal").join(entry)).unwrap();
    let first = AcceptedExport::decode(Bytes::from(entry)).unwrap();
    let limits = JournalLimits { max_bytes: u64::MAX };
    let journal = Journal::open(host.data_dir(), limits).await.unwrap();
    let others = stream::iter(2..=count).map(|number| {
        let export_id = ExportId::new(id(number).parse().unwrap());
        // A second each: those of one second and name look for a free folder one after the other.
        let seconds = TimeDelta::seconds(number.into());
        let accepted_time = AcceptedTime::new(first.accepted_time.as_datetime() + seconds);
        let folder_base = FolderBase::new(&accepted_time, "a.docx");
        let export = AcceptedExport { export_id, accepted_time, folder_base, ..first.clone() };
        let journal = journal.clone();
        async move { journal.record(&export).await.map(drop) }
    });
    others.buffer_unordered(64).try_collect::<()>().await.unwrap();
    s3.clear_faults();
}

#[tokio::test]
async fn row_5_a_large_backlog_is_worked_off_in_bounded_memory_by_a_server_that_is_ready_at_once() {
    const COUNT: u32 = 40;
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&FLAGS);
    fill(&host, &s3, COUNT).await;
    let held = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_ends_with(".docx");
    let held = s3.fail(held);
    let mut server = host.start().await;
    // Nothing of it is done yet, and all of it is known.
    let last = read(&mut server.client, &name(COUNT)).await;
    assert!(matches!(last.state(), State::Pending | State::Running), "{last:?}");
    let full = |_: &_| s3.fault_hits(held) == 3;
    let status = until_status(&server, "as many as have room", full).await;
    assert_eq!(status.counts.started, u64::from(COUNT));
    assert_eq!((status.counts.running, status.journal.count), (3, u64::from(COUNT)));
    s3.clear_faults();
    let done = |status: &tara_export::export::Status| status.counts.completed == u64::from(COUNT);
    until_status(&server, "the backlog's end", done).await;
    assert_eq!(committed_bundles(&s3).len(), COUNT as usize);
    // Never were there more documents on their way than have room.
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
    let most = times.iter().scan(0, |now, (_, change)| {
        *now += change;
        Some(*now)
    });
    assert!(most.max().unwrap() <= 3);
}

//! A request that is repeated while its bundle is synced from the local store to S3.

use std::fs;

use tara_export_client::proto::export::State;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use crate::{
    following::{committed, refused},
    harness::{
        Host,
        in_s3::check_in_s3,
        s3::store_of,
        waiting::{status, until_journal_is_empty, until_state, until_status},
    },
    requests::{id, name, request},
    statuses::expect_status,
};

#[tokio::test]
async fn retry_during_sync_starts_no_second_run() {
    let s3 = TestS3::start().await;
    let flags = ["--s3-outage-pause=10ms", "--accept-timeout=100ms"];
    let host = Host::with_s3(store_of(&s3)).flags(&flags);
    let mut server = host.start().await;
    s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(local.state(), State::FellBack);
    server.stop().await;

    let mut server = host.start().await;
    // The state for a moment after S3 has the bundle: the local copy is removed, and the export is still in
    // the journal.
    let record = host.data_dir().join(format!(".tara-export/exports/{}.json", id(1)));
    let content = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    let status = refused(&mut server.client, request(1, "a.docx")).await;
    expect_status(&status, Code::Unavailable, "EXPORT_MOVING");
    assert!(status.message().contains("accepted before"), "{}", status.message());
    fs::write(&record, content).unwrap();

    s3.clear_faults();
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    check_in_s3(&s3, &export);
    until_journal_is_empty(&host).await;
    let settled = |counts: tara_export::export::Counts| counts.completed == 1;
    let status =
        until_status(&server, "the end of the export", |status| settled(status.counts)).await;
    assert_eq!((status.counts.started, status.counts.quarantined), (1, 0));
}

#[tokio::test]
async fn retry_during_sync_returns_the_bundle_in_s3() {
    let s3 = TestS3::start().await;
    let flags = ["--s3-outage-pause=10ms"];
    let host = Host::with_s3(store_of(&s3)).flags(&flags);
    let mut server = host.start().await;
    let denied = s3.fail(FaultRule::new(Fault::ACCESS_DENIED).on(Operation::PutObject));
    committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;
    // S3 accepts the bundle but refuses the check.
    s3.clear_fault(denied);
    s3.fail(FaultRule::new(Fault::ACCESS_DENIED).on(Operation::HeadObject));
    let mut server = host.start().await;
    until_state(&mut server.client, &name(1), State::Committed).await;
    fs::remove_file(host.data_dir().join(format!(".tara-export/exports/{}.json", id(1)))).unwrap();
    check_in_s3(&s3, &committed(&mut server.client, request(1, "a.docx")).await);
    s3.clear_faults();
    until_journal_is_empty(&host).await;
}

#[tokio::test]
async fn retry_of_a_fallback_is_counted_once() {
    let s3 = TestS3::start().await;
    let flags = ["--s3-outage-pause=10ms"];
    let host = Host::with_s3(store_of(&s3)).flags(&flags);
    let mut server = host.start().await;
    s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;

    let mut server = host.start().await;
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(again.state(), State::FellBack);
    let counts = status(&server).await.counts;
    assert_eq!((counts.started, counts.fell_back), (1, 1));
    s3.clear_faults();
    let status =
        until_status(&server, "the end of the export", |status| status.counts.completed == 1).await;
    assert_eq!((status.counts.started, status.counts.fell_back), (1, 0));
}

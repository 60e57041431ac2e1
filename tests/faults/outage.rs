//! S3 that is unavailable, refuses requests or stays silent (guarantees, failures 1, 4 and 6).

use std::fs;

use chrono::TimeDelta;
use tara_export_client::proto::{Destination, export::State, export_event::Event};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    bundles,
    following::{committed, next_where, watch},
    harness::{
        Host,
        in_s3::{check_in_s3, committed_bundles, objects},
        s3::store_of,
        waiting::{journal, read, status, until_journal_is_empty, until_state, until_status},
    },
    requests::{name, request, s3_or_nothing},
};

const QUICK: [&str; 2] = ["--s3-retry-budget=300ms", "--s3-outage-pause=10ms"];

#[tokio::test]
async fn outage_reports_no_export_in_s3_and_a_growing_age() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK);
    let mut server = host.start().await;
    let down = s3.fail(FaultRule::new(Fault::SERVICE_UNAVAILABLE));
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!((local.state(), local.stored_in()), (State::FellBack, Destination::Local));
    for days in 1..=3 {
        // The upload is retried, also after a restart.
        let hits = s3.fault_hits(down);
        server.stop().await;
        server = host.start().await;
        let is_retried = |_: &_| s3.fault_hits(down) > hits;
        until_status(&server, "another attempt", is_retried).await;
        host.clock.advance(TimeDelta::days(1));
        let status = status(&server).await;
        assert_eq!(status.oldest_unsynced_age.unwrap().as_secs(), days * 24 * 3600);
        assert_eq!((status.counts.fell_back, status.counts.completed), (1, 0));
        let export = read(&mut server.client, &name(1)).await;
        assert_eq!((export.state(), export.stored_in()), (State::FellBack, Destination::Local));
        bundles::verify(&host.folder(&local.folder_name));
        assert_eq!(journal(&host).len(), 1);
        assert!(objects(&s3).is_empty());
    }
    s3.clear_faults();
    server.stop().await;
    // With a retry budget that is long enough for a busy machine.
    let server = host.start_with(&["--s3-retry-budget=60s"]).await;
    until_status(&server, "an empty backlog", |status| status.oldest_unsynced_age.is_none()).await;
    assert_eq!(committed_bundles(&s3).len(), 1);
}

#[tokio::test]
async fn refused_bundle_is_kept_and_synced_later() {
    for fault in [Fault::ACCESS_DENIED, Fault::EXPIRED_TOKEN, Fault::NO_SUCH_BUCKET] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3)).flags(&QUICK[1..]);
        let mut server = host.start().await;
        let refusal = s3.fail(FaultRule::new(fault.clone()));
        let local = committed(&mut server.client, request(1, "a.docx")).await;
        assert_eq!(local.state(), State::FellBack, "{fault:?}");
        let before = bundles::verify(&host.folder(&local.folder_name));
        let hits = s3.fault_hits(refusal);
        until_status(&server, "a refused sync", |_| s3.fault_hits(refusal) > hits).await;
        s3.clear_faults();
        let export = until_state(&mut server.client, &name(1), State::Committed).await;
        assert_eq!(check_in_s3(&s3, &export), before);
        until_journal_is_empty(&host).await;
        assert!(bundles::files(&host.folder(&local.folder_name)).is_empty());
    }
}

#[tokio::test]
async fn lost_manifest_response_without_fallback_never_fails() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK);
    let mut server = host.start().await;
    let rule = FaultRule::new(Fault::ResetAfter).on(Operation::PutObject);
    s3.fail(rule.key_ends_with("manifest.json").times(1));
    let rule = FaultRule::new(Fault::SERVICE_UNAVAILABLE);
    s3.fail(rule.key_contains("manifest.json").after(1));
    let start = server.client.start_export(s3_or_nothing(1, "a.docx")).await.unwrap();
    let mut stream = start.into_inner();
    until_state(&mut server.client, &name(1), State::Pending).await;
    s3.clear_faults();
    next_where(&mut stream, |event| matches!(event, Event::Completed(_))).await;
    check_in_s3(&s3, &read(&mut server.client, &name(1)).await);
}

#[tokio::test]
async fn export_waits_for_s3_if_its_local_record_conflicts() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK);
    let mut server = host.start().await;
    let mut first = request(1, "first.docx");
    first.set_destination(Destination::Local);
    let local = committed(&mut server.client, first).await;
    server.stop().await;
    // The bundle is removed, and its record is not.
    fs::remove_dir_all(host.folder(&local.folder_name)).unwrap();

    s3.fail(FaultRule::new(Fault::SERVICE_UNAVAILABLE));
    let mut server = host.start().await;
    let _stream = server.client.start_export(request(1, "second.docx")).await.unwrap();
    until_state(&mut server.client, &name(1), State::Pending).await;
    s3.clear_faults();
    let export = watch(&mut server.client, &name(1)).await.completed();
    assert_eq!(check_in_s3(&s3, &export).document_name, "second.docx");
}

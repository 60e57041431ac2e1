//! Exports that have ended are not taken over, whether journal entries can be deleted from the store or not.

use std::path::Path;

use chrono::TimeDelta;
use tara_export_client::proto::{
    Document, S3Source, StartExportRequest,
    accepted::Durability,
    document::{self, Source},
    export::State,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use crate::{
    fake_s3::{FakeS3, Mode},
    following::{accepted, committed, follow, next, refused},
    harness::{Host, s3::store_of, until, waiting::until_known},
    requests::{name, request, s3_or_nothing},
    statuses::expect_status,
    store_journal::{STORE_JOURNAL, entries_of, until_no_entries},
};

#[tokio::test]
async fn entry_that_cannot_be_deleted_gets_an_end_marker() {
    let s3 = FakeS3::new(Mode::Works);
    s3.deny_deletions();
    let host = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL[..2]);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    until("the end marker", || entries_of(&s3, 1).len() == 2).await;
    let [entry, end_marker] = &entries_of(&s3, 1)[..] else {
        panic!("an entry and its end marker")
    };
    assert_eq!(end_marker, Path::new(&format!("{}.ended", entry.display())));
    // An export that was never in the store's journal gets no end marker.
    committed(&mut server.client, s3_or_nothing(2, "b.docx")).await;
    server.stop().await;
    assert!(entries_of(&s3, 2).is_empty());
}

#[tokio::test]
async fn refused_export_leaves_nothing_to_take_over() {
    for may_delete in [true, false] {
        let s3 = FakeS3::new(Mode::Works);
        if !may_delete {
            s3.deny_deletions();
        }
        let owner = Host::with_s3(s3.clone());
        committed(&mut owner.start().await.client, request(1, "first.docx")).await;
        let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL[..2]);
        let mut server = other.start().await;
        let status = refused(&mut server.client, request(1, "second.docx")).await;
        expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
        // This is done before the caller gets the response.
        assert_eq!(entries_of(&s3, 1).len(), if may_delete { 0 } else { 2 });
    }
}

/// The export is in the journal, on disk and in the store, so it can no longer be refused.
#[tokio::test]
async fn export_whose_claim_panics_is_accepted() {
    let s3 = FakeS3::new(Mode::PanicsAtRecords);
    let host = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL).flags(&["--s3-outage-pause=10ms"]);
    let mut server = host.start().await;
    let mut stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    let first = accepted(next(&mut stream).await.event);
    assert_eq!(first.durability(), Durability::LocalDisk);
    s3.set(Mode::Works);
    assert_eq!(follow(stream).await.completed().state(), State::Committed);
    until_no_entries(&s3).await;
}

/// A request with one document, which is a source.
fn request_with_source(number: u32, uri: &str) -> StartExportRequest {
    let source = Source::S3(S3Source { uri: uri.to_owned(), ..S3Source::default() });
    let kind = document::Kind::Before.into();
    let documents = vec![Document { kind, source: Some(source), ..Document::default() }];
    StartExportRequest { documents, ..request(number, "source.docx") }
}

fn end_markers(s3: &TestS3) -> Vec<(String, String)> {
    let objects = s3.objects().into_iter();
    objects
        .filter(|(key, _)| key.ends_with(".ended"))
        .map(|(key, object)| (key, String::from_utf8(object.bytes.to_vec()).unwrap()))
        .collect()
}

fn scans(s3: &TestS3) -> usize {
    let lists = s3.requests_of(Operation::ListObjectsV2);
    lists.iter().filter(|request| request.query.contains("journal%2F")).count()
}

#[tokio::test]
async fn failed_export_is_not_taken_over() {
    const SOURCE: &str = "docs/a.docx";
    for may_delete in [true, false] {
        let s3 = TestS3::start().await;
        if !may_delete {
            s3.fail(FaultRule::new(Fault::ACCESS_DENIED).on(Operation::DeleteObject));
        }
        let flags = [
            "--journal=store",
            "--s3-bucket-name=test-bucket",
            "--s3-sources=s3://test-bucket/docs/",
            "--loss-confirmation=1s",
            "--takeover-interval=100ms",
            "--takeover-age=0ms",
        ];
        s3.put_raw(SOURCE, "as it was");
        let host = Host::with_s3(store_of(&s3)).flags(&flags[..4]);
        let mut server = host.start().await;
        let held = s3.fail(
            FaultRule::new(Fault::Stall).on(Operation::GetObject).key_ends_with(SOURCE).times(1),
        );
        let uri = format!("s3://test-bucket/{SOURCE}");
        let stream = server.client.start_export(request_with_source(1, &uri)).await.unwrap();
        let mut stream = stream.into_inner();
        let first = accepted(next(&mut stream).await.event);
        assert_eq!(first.durability(), Durability::Store);
        let mut objects = s3.objects().into_iter();
        let (key, entry) = objects.find(|(key, _)| key.contains("/journal/")).unwrap();
        until("the source to be requested", || s3.fault_hits(held) == 1).await;
        assert!(s3.remove(SOURCE));
        s3.clear_fault(held);
        assert_eq!(follow(stream).await.failed().0.reason, "SOURCE_LOST");
        let [(marker_key, end_marker)] = &end_markers(&s3)[..] else {
            panic!("{:?}", end_markers(&s3))
        };
        assert_eq!(marker_key, &format!("{key}.ended"));
        assert!(end_marker.contains("failed"), "{end_marker}");
        server.stop().await;
        assert_eq!(s3.objects().contains_key(&key), !may_delete);

        // The source is back, and so is the entry, as if a delayed put of it had taken effect.
        s3.put_raw(SOURCE, "as it was");
        s3.put_raw(key, entry.bytes);
        let other = Host::with_s3(store_of(&s3)).flags(&flags);
        other.clock.advance(TimeDelta::hours(1));
        s3.reset_requests();
        let server = other.start().await;
        until("some scans", || scans(&s3) > 3).await;
        server.stop().await;
        let manifests = s3.objects().into_keys().filter(|key| key.ends_with("manifest.json"));
        assert_eq!(manifests.count(), 0);
    }
}

#[tokio::test]
async fn taken_over_export_whose_entry_stays_gets_an_end_marker() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    s3.deny_deletions();
    let lost = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let mut server = lost.start().await;
    let stream = server.client.start_export(request(1, "a.docx")).await.unwrap();
    next(&mut stream.into_inner()).await;
    server.stop().await;
    drop(lost);
    s3.set(Mode::Works);
    let other = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    other.clock.advance(TimeDelta::hours(1));
    let mut server = other.start().await;
    assert_eq!(until_known(&mut server.client, &name(1)).await.state(), State::Committed);
    until("the end marker", || entries_of(&s3, 1).len() == 2).await;
}

//! Exports to an S3 server in memory through the real client.

use tara_export_client::proto::{Destination, export::State, get_report_request::View};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use crate::{
    bundles,
    following::{committed, export, refused},
    harness::{
        Host, START_PREFIX,
        in_s3::{assert_in_s3, verified_files},
        s3::store_of,
    },
    reading::{archive, artifact, report},
    requests::{id, name, request, s3_or_nothing},
    statuses::expect_status,
};

#[tokio::test]
async fn bundle_in_s3_is_complete_and_can_be_read() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let followed = export(&mut server.client, request(1, "incident report.docx")).await;
    let export = followed.completed();
    assert_in_s3(&s3, &export);
    assert_eq!(export.folder_name, format!("{START_PREFIX}incident_report"));
    server.stop().await;
    // Only the receipt is on this disk.
    assert_eq!(host.files(), [format!(".tara-export/receipts/{}.json", id(1))]);
    let mut server = host.start().await;
    let kinds = followed.kinds();
    assert_eq!(kinds[kinds.len() - 2..], ["stored manifest.json", "completed"]);

    for (path, content) in verified_files(&s3, &export) {
        let (_, read) = artifact(&mut server.client, &name(1), &path, 0).await.unwrap();
        assert!(read == content, "{path}");
    }
    report(&mut server.client, &name(1), View::Structured).await.unwrap();
    archive(&mut server.client, &name(1)).await.unwrap();
}

#[tokio::test]
async fn same_request_at_two_replicas_makes_one_bundle() {
    let s3 = TestS3::start().await;
    let (one, other) = (Host::with_s3(store_of(&s3)), Host::with_s3(store_of(&s3)));
    // Their clocks differ: one acceptance time wins.
    other.clock.advance(chrono::TimeDelta::seconds(5));
    let (mut one, mut other) = (one.start().await, other.start().await);
    let (first, second) = futures::join!(
        committed(&mut one.client, request(1, "incident report.docx")),
        committed(&mut other.client, request(1, "incident report.docx")),
    );
    assert_eq!(first.folder_name, second.folder_name);
    assert_eq!(first.manifest_sha256, second.manifest_sha256);
    assert_in_s3(&s3, &first);
    let manifests = s3.objects().into_keys().filter(|key| key.ends_with("/manifest.json"));
    assert_eq!(manifests.count(), 1);
}

#[tokio::test]
async fn two_replicas_with_the_same_second_and_name_make_two_bundles() {
    let s3 = TestS3::start().await;
    let (one, other) = (Host::with_s3(store_of(&s3)), Host::with_s3(store_of(&s3)));
    let (mut one, mut other) = (one.start().await, other.start().await);
    let (first, second) = futures::join!(
        committed(&mut one.client, request(1, "incident report.docx")),
        committed(&mut other.client, request(2, "incident report.docx")),
    );
    assert_ne!(first.folder_name, second.folder_name);
    assert_in_s3(&s3, &first);
    assert_in_s3(&s3, &second);
}

#[tokio::test]
async fn slow_down_and_connection_reset_are_retried() {
    for fault in [Fault::Respond { status: 503, code: "SlowDown" }, Fault::ResetBefore] {
        let s3 = TestS3::start().await;
        s3.fail(FaultRule::new(fault).on(Operation::PutObject).key_ends_with(".docx").times(2));
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        let followed = export(&mut server.client, request(1, "incident report.docx")).await;
        assert!(followed.kinds().iter().any(|kind| kind.starts_with("retrying documents/")));
        assert_in_s3(&s3, &followed.completed());
    }
}

#[tokio::test]
async fn lost_response_to_a_put_is_no_conflict() {
    for key in ["/exports/", "/folders/", "/index/", ".docx", "manifest.json"] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        let rule = FaultRule::new(Fault::ResetAfter).on(Operation::PutObject);
        let fault = s3.fail(rule.key_contains(key).times(1));
        let export = committed(&mut server.client, request(1, "incident report.docx")).await;
        assert_eq!(s3.fault_hits(fault), 1, "{key}");
        assert_eq!(export.folder_name, format!("{START_PREFIX}incident_report"), "{key}");
        assert_in_s3(&s3, &export);
    }
}

#[tokio::test]
async fn refusal_by_s3_falls_back_at_once_or_fails_with_its_reason() {
    for (status, code, reason) in
        [(403, "AccessDenied", "STORE_DENIED"), (404, "NoSuchBucket", "STORE_MISCONFIGURED")]
    {
        let s3 = TestS3::start().await;
        s3.fail(FaultRule::new(Fault::Respond { status, code }).on(Operation::PutObject));
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        let followed = export(&mut server.client, request(1, "incident report.docx")).await;
        assert_eq!(followed.kinds()[..2], ["accepted", "fell_back"]);
        let export = followed.completed();
        assert_eq!((export.state(), export.stored_in()), (State::FellBack, Destination::Local));
        bundles::verify(&host.folder(&export.folder_name));
        let status = refused(&mut server.client, s3_or_nothing(2, "incident report.docx")).await;
        expect_status(&status, Code::FailedPrecondition, reason);
    }
}

#[tokio::test]
async fn s3_that_ignores_conditions_gets_no_bundle() {
    let s3 = TestS3::builder().ignore_conditions().start().await.unwrap();
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let status = refused(&mut server.client, s3_or_nothing(1, "incident report.docx")).await;
    expect_status(&status, Code::FailedPrecondition, "STORE_UNSAFE");
    assert!(status.message().contains("ALLOW_UNSAFE_STORE"), "{}", status.message());
    let export = committed(&mut server.client, request(2, "incident report.docx")).await;
    assert_eq!(export.state(), State::FellBack);

    let host = Host::with_s3(store_of(&s3)).flags(&["--allow-unsafe-store"]);
    let mut server = host.start().await;
    assert_in_s3(&s3, &committed(&mut server.client, request(3, "incident report.docx")).await);
}

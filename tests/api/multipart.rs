//! Multipart uploads of large documents: failures, and that no parts remain.

use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use tara_export_client::proto::{
    Destination, StartExportRequest, document::Kind, export::State, export_event::Event,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use crate::{
    bundles,
    following::{committed, export, follow, next_where},
    harness::{
        Host,
        in_s3::{assert_in_s3, verified_files},
        s3::store_of,
        until,
        uploads::{PART, QUICK_WITH_LARGE, bytes, naming, uploaded},
        waiting::until_state,
    },
    requests::{document, name, request, s3_or_nothing},
    statuses::expect_status,
};

const DOCUMENT: &str = "documents/before_incident_report.docx";

/// The smallest inline document that is sent to S3 in parts.
fn large() -> Bytes {
    bytes(2 * PART, 1)
}

/// A request with such a document.
fn large_request(number: u32) -> StartExportRequest {
    let mut request = request(number, "incident report.docx");
    request.documents[0] = document(Kind::Before, large().to_vec());
    request
}

/// The number of times that each part was sent.
fn parts_sent(s3: &TestS3) -> BTreeMap<String, usize> {
    let mut sent = BTreeMap::new();
    for part in s3.requests_of(Operation::UploadPart) {
        let number = part.query.split('&').find(|pair| pair.starts_with("partNumber="));
        *sent.entry(number.unwrap().to_owned()).or_default() += 1;
    }
    sent
}

fn once_each() -> BTreeMap<String, usize> {
    BTreeMap::from([("partNumber=1".to_owned(), 1), ("partNumber=2".to_owned(), 1)])
}

fn multipart_records(host: &Host) -> usize {
    host.files().iter().filter(|file| file.starts_with(".tara-export/parts/")).count()
}

#[tokio::test]
async fn large_document_becomes_visible_after_all_parts() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let export = committed(&mut server.client, large_request(1)).await;
    assert_in_s3(&s3, &export);
    assert!(verified_files(&s3, &export)[DOCUMENT] == large());
    assert_eq!(parts_sent(&s3), once_each());
    let parts = s3.requests_of(Operation::UploadPart);
    assert!(parts.iter().all(|part| part.header("x-amz-checksum-crc64nvme").is_some()));
    let puts = s3.requests_of(Operation::PutObject);
    assert!(puts.iter().all(|put| !put.key.ends_with(DOCUMENT)));
    let completions = s3.requests_of(Operation::CompleteMultipartUpload);
    let [completion] = completions.as_slice() else { panic!("{completions:?}") };
    assert_eq!(completion.header("if-none-match"), Some("*"));
    assert!(completion.header("x-amz-checksum-crc64nvme").is_some());
    assert_eq!(completion.header("x-amz-mp-object-size"), Some("16777216"));
    assert_eq!((s3.open_uploads(), multipart_records(&host)), (0, 0));
}

#[tokio::test]
async fn completion_with_an_error_in_a_200_body_is_retried() {
    for (fault, times) in [
        (Fault::OkWithError { code: "InternalError" }, 2),
        (Fault::OkWithError { code: "SlowDown" }, 1),
        (Fault::TruncateResponse, 1),
    ] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        let rule = FaultRule::new(fault.clone()).on(Operation::CompleteMultipartUpload);
        let rule = s3.fail(rule.times(times));
        let export = committed(&mut server.client, large_request(1)).await;
        assert_eq!(s3.fault_hits(rule), times);
        assert_in_s3(&s3, &export);
        assert_eq!(parts_sent(&s3), once_each(), "{fault:?}");
        assert_eq!((s3.open_uploads(), multipart_records(&host)), (0, 0));
    }
}

#[tokio::test]
async fn copy_with_an_error_in_a_200_body_is_retried() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let content = bytes(PART + 1, 1);
    let upload = uploaded(&mut server.client, 1, &content).await.name;
    let error = FaultRule::new(Fault::OkWithError { code: "InternalError" });
    let copies = s3.fail(error.clone().on(Operation::UploadPartCopy).times(1));
    let completions = s3.fail(error.on(Operation::CompleteMultipartUpload).times(1));
    let export = committed(&mut server.client, naming(1, &upload)).await;
    assert_eq!((s3.fault_hits(copies), s3.fault_hits(completions)), (1, 1));
    assert_in_s3(&s3, &export);
    assert!(verified_files(&s3, &export)[DOCUMENT] == content);
    assert_eq!(s3.requests_of(Operation::UploadPartCopy).len(), 3);
    assert_eq!((s3.open_uploads(), multipart_records(&host)), (0, 0));
}

#[tokio::test]
async fn upload_that_never_completes_is_aborted_and_falls_back() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    let rule = FaultRule::new(Fault::OkWithError { code: "InternalError" });
    let fault = s3.fail(rule.on(Operation::CompleteMultipartUpload));
    let fallback = committed(&mut server.client, large_request(1)).await;
    assert_eq!((fallback.state(), fallback.stored_in()), (State::FellBack, Destination::Local));
    bundles::verify(&host.folder(&fallback.folder_name));
    s3.clear_fault(fault);
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
    until("no parts to remain", || (s3.open_uploads(), multipart_records(&host)) == (0, 0)).await;
}

#[tokio::test]
async fn lost_response_to_a_completion_is_success() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let content = bytes(PART + 1, 2);
    let upload = uploaded(&mut server.client, 1, &content).await.name;
    s3.reset_requests();
    // With sent parts and with copied parts.
    for (number, request) in [(1, large_request(1)), (2, naming(2, &upload))] {
        let rule = FaultRule::new(Fault::ResetAfter).on(Operation::CompleteMultipartUpload);
        let fault = s3.fail(rule.times(1));
        let export = committed(&mut server.client, request).await;
        assert_eq!(s3.fault_hits(fault), 1);
        assert_in_s3(&s3, &export);
        s3.clear_fault(fault);
        let begun = s3.requests_of(Operation::CreateMultipartUpload).len();
        assert_eq!(begun, number, "nothing is sent again");
    }
    assert_eq!(parts_sent(&s3), once_each());
    assert_eq!((s3.open_uploads(), multipart_records(&host)), (0, 0));
}

#[tokio::test]
async fn lost_response_to_the_completion_of_an_upload_is_success() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let rule = FaultRule::new(Fault::ResetAfter).on(Operation::CompleteMultipartUpload);
    s3.fail(rule.times(1));
    let upload = uploaded(&mut server.client, 1, &bytes(PART + 1, 1)).await.name;
    assert_eq!(s3.open_uploads(), 0);
    assert_in_s3(&s3, &committed(&mut server.client, naming(1, &upload)).await);
}

#[tokio::test]
async fn only_the_failed_part_is_sent_again() {
    for fault in [Fault::SLOW_DOWN, Fault::ResetBefore, Fault::ResetAfter] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        let rule = s3.fail(FaultRule::new(fault).on(Operation::UploadPart).times(1));
        let followed = export(&mut server.client, large_request(1)).await;
        assert_eq!(s3.fault_hits(rule), 1);
        let retrying = format!("retrying {DOCUMENT}");
        assert_eq!(followed.kinds().iter().filter(|kind| **kind == retrying).count(), 1);
        assert_in_s3(&s3, &followed.completed());
        let mut sent: Vec<usize> = parts_sent(&s3).into_values().collect();
        sent.sort_unstable();
        assert_eq!(sent, [1, 2]);
        assert_eq!((s3.open_uploads(), multipart_records(&host)), (0, 0));
    }
}

/// Neither parts nor copies replace an object that was put in the meantime.
#[tokio::test]
async fn foreign_object_that_appears_during_an_upload_stays() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    let upload = uploaded(&mut server.client, 1, &bytes(PART + 1, 2)).await.name;
    for (operation, request) in
        [(Operation::UploadPart, large_request(1)), (Operation::UploadPartCopy, naming(2, &upload))]
    {
        let held = s3.fail(FaultRule::new(Fault::Stall).on(operation).key_ends_with(DOCUMENT));
        let stream = server.client.start_export(request).await.unwrap().into_inner();
        until("a part to be in flight", || s3.fault_hits(held) > 0).await;
        let parts = s3.requests_of(operation);
        let key = &parts.iter().find(|part| part.key.ends_with(DOCUMENT)).unwrap().key;
        s3.put_raw(key, &b"a foreign object"[..]);
        s3.clear_fault(held);
        let export = follow(stream).await.completed();
        assert_eq!(s3.object(key).unwrap().bytes, &b"a foreign object"[..]);
        assert!(!key.contains(&format!("/{}/", export.folder_name)), "{key}: {export:?}");
        assert_in_s3(&s3, &export);
        until("no parts to remain", || (s3.open_uploads(), multipart_records(&host)) == (0, 0))
            .await;
    }
}

#[tokio::test]
async fn aborted_multipart_upload_is_started_again() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let rule = FaultRule::new(Fault::respond(404, "NoSuchUpload")).on(Operation::UploadPart);
    s3.fail(rule.times(1));
    let export = committed(&mut server.client, large_request(1)).await;
    assert_in_s3(&s3, &export);
    assert_eq!((s3.open_uploads(), multipart_records(&host)), (0, 0));
}

#[tokio::test]
async fn refused_parts_fall_back_or_fail_and_leave_no_parts() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    let rule = FaultRule::new(Fault::ACCESS_DENIED).on(Operation::UploadPart);
    let fault = s3.fail(rule.after(1));
    let mut without_fallback = s3_or_nothing(2, "incident report.docx");
    without_fallback.documents = large_request(2).documents;
    let failed = export(&mut server.client, without_fallback).await;
    assert_eq!(failed.failed().0.reason, "STORE_DENIED");
    assert_eq!((s3.open_uploads(), multipart_records(&host)), (0, 0));
    let fallback = committed(&mut server.client, large_request(1)).await;
    assert_eq!((fallback.state(), fallback.stored_in()), (State::FellBack, Destination::Local));
    bundles::verify(&host.folder(&fallback.folder_name));
    s3.clear_fault(fault);
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
    until("no parts to remain", || (s3.open_uploads(), multipart_records(&host)) == (0, 0)).await;
}

#[tokio::test]
async fn upload_that_s3_reports_corrupt_is_not_committed() {
    for code in ["BadDigest", "InvalidPart"] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
        let mut server = host.start().await;
        let rule = FaultRule::new(Fault::respond(400, code));
        let fault = s3.fail(rule.on(Operation::CompleteMultipartUpload));
        let fallback = committed(&mut server.client, large_request(1)).await;
        assert_eq!(
            (fallback.state(), fallback.state_reason.as_str()),
            (State::FellBack, "DATA_LOSS")
        );
        assert!(s3.objects().keys().all(|key| !key.ends_with("manifest.json")));
        bundles::verify(&host.folder(&fallback.folder_name));
        s3.clear_fault(fault);
        let export = until_state(&mut server.client, &name(1), State::Committed).await;
        assert_in_s3(&s3, &export);
    }
}

/// If the server keeps no checksums, the stored object is read once to verify it.
#[tokio::test]
async fn object_is_read_once_when_s3_keeps_no_checksums() {
    let s3 = TestS3::builder().ignore_checksums().start().await.unwrap();
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let reads_of = |key: &str| {
        let reads = s3.requests_of(Operation::GetObject).into_iter();
        reads.filter(|read| read.key.ends_with(key)).count()
    };
    let content = bytes(PART + 1, 2);
    let upload = uploaded(&mut server.client, 1, &content).await.name;
    assert_eq!(reads_of("/document"), 1);
    assert_in_s3(&s3, &committed(&mut server.client, large_request(1)).await);
    assert_eq!(reads_of(DOCUMENT), 1);
    // A copy has the ETag of its source, which was verified.
    let export = committed(&mut server.client, naming(2, &upload)).await;
    assert!(verified_files(&s3, &export)[DOCUMENT] == content);
    assert_eq!((reads_of("/document"), reads_of(DOCUMENT)), (1, 1));
}

#[tokio::test]
async fn document_damaged_on_disk_is_not_committed() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    s3.stop();
    let upload = uploaded(&mut server.client, 1, &bytes(PART + 1, 1)).await;
    assert_eq!(upload.replica, "replica-1");
    s3.restart().await.unwrap();
    let held = FaultRule::new(Fault::Stall).on(Operation::CreateMultipartUpload);
    let held = s3.fail(held);
    let stream = server.client.start_export(naming(1, &upload.name)).await.unwrap();
    until("the document to be sent", || s3.fault_hits(held) == 1).await;
    let file = host.files().into_iter().find(|file| file.ends_with(".before")).unwrap();
    let path = host.data_dir().join(file);
    let mut damaged = fs::read(&path).unwrap();
    damaged[PART] ^= 1;
    fs::write(&path, damaged).unwrap();
    s3.clear_fault(held);
    let (failed, status) = follow(stream.into_inner()).await.failed();
    assert_eq!(failed.reason, "SOURCE_LOST");
    expect_status(&status, Code::FailedPrecondition, "SOURCE_LOST");
    assert!(s3.objects().keys().all(|key| !key.ends_with("manifest.json")));
    until("no parts to remain", || (s3.open_uploads(), multipart_records(&host)) == (0, 0)).await;
}

#[tokio::test]
async fn parts_of_a_dead_process_are_aborted_by_the_next() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::UploadPart).after(1));
    let stream = server.client.start_export(large_request(1)).await.unwrap();
    until("a part to be sent", || s3.fault_hits(held) == 1).await;
    server.stop().await;
    drop(stream);
    assert_eq!((s3.open_uploads(), multipart_records(&host)), (1, 1));
    s3.clear_fault(held);
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
    until("no parts to remain", || (s3.open_uploads(), multipart_records(&host)) == (0, 0)).await;
}

#[tokio::test]
async fn failed_abort_is_repeated_while_the_server_runs() {
    let s3 = TestS3::start().await;
    let flags = [&QUICK_WITH_LARGE[..], &["--retention-interval=100ms"]].concat();
    let host = Host::with_s3(store_of(&s3)).flags(&flags);
    let mut server = host.start().await;
    let denied = FaultRule::new(Fault::ACCESS_DENIED);
    s3.fail(denied.clone().on(Operation::UploadPart));
    s3.fail(denied.on(Operation::AbortMultipartUpload));
    let export = committed(&mut server.client, large_request(1)).await;
    assert_eq!(export.state(), State::FellBack);
    assert!(s3.open_uploads() > 0 && multipart_records(&host) > 0);
    s3.clear_faults();
    until("no parts to remain", || (s3.open_uploads(), multipart_records(&host)) == (0, 0)).await;
    assert_in_s3(&s3, &until_state(&mut server.client, &name(1), State::Committed).await);
}

#[tokio::test]
async fn stream_sends_heartbeats_during_a_slow_copy() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--heartbeat-interval=100ms"]);
    let mut server = host.start().await;
    let upload = uploaded(&mut server.client, 1, &bytes(1000, 1)).await.name;
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::UploadPartCopy));
    let stream = server.client.start_export(naming(1, &upload)).await.unwrap();
    let mut stream = stream.into_inner();
    until("the copy to be requested", || s3.fault_hits(held) == 1).await;
    for _ in 0..2 {
        next_where(&mut stream, |event| matches!(event, Event::Heartbeat(_))).await;
    }
    s3.clear_fault(held);
    assert_in_s3(&s3, &follow(stream).await.completed());
}

//! Failures rows 9 and 12, design section 6: answers that are lost, broken off, late, or that lie.

use std::time::Duration;

use tara_export::proto::export::State;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    following::{committed, export},
    harness::{Host, START_PREFIX, s3::store_of},
    in_s3::{check_in_s3, committed_bundles, impatient_store_of},
    requests::{name, request},
    waiting::{read, until_journal_is_empty},
};

/// One key of each kind that an export puts.
const KEYS: [&str; 6] =
    ["/exports/", "/folders/", "/index/", ".docx", "readable_report.txt", "manifest.json"];

/// Exports under a rule that must have acted, and checks that the bundle is in S3 and whole.
async fn outlived(rule: FaultRule, what: &str) {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(impatient_store_of(&s3, Duration::from_millis(200)));
    let mut server = host.start().await;
    let fault = s3.fail(rule);
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert!(s3.fault_hits(fault) > 0, "{what} was never met");
    check_in_s3(&s3, &export);
    until_journal_is_empty(&host).await;
}

fn put(fault: Fault, key: &str) -> FaultRule {
    FaultRule::new(fault).on(Operation::PutObject).key_contains(key)
}

#[tokio::test]
async fn row_9_a_200_with_an_error_in_its_body_is_a_failure() {
    for key in KEYS {
        outlived(put(Fault::OkWithError { code: "InternalError" }, key).times(2), key).await;
    }
}

#[tokio::test]
async fn row_9_an_error_in_place_of_an_object_is_not_taken_for_a_strangers_object() {
    for (operation, key, after) in
        [(Operation::HeadObject, ".docx", 0), (Operation::GetObject, "manifest.json", 1)]
    {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        // It is there, and the answer is lost; so it is looked at.
        s3.fail(put(Fault::ResetAfter, key).times(1));
        let error = Fault::OkWithError { code: "InternalError" };
        let rule = FaultRule::new(error).on(operation).key_contains(key);
        let error = s3.fail(rule.after(after).times(1));
        let export = committed(&mut server.client, request(1, "incident report.docx")).await;
        assert_eq!(s3.fault_hits(error), 1);
        check_in_s3(&s3, &export);
        assert_eq!(export.folder_name, format!("{START_PREFIX}incident_report"), "{key}");
        assert_eq!(committed_bundles(&s3).len(), 1);
    }
}

#[tokio::test]
async fn row_12_a_409_is_tried_again() {
    for key in KEYS {
        outlived(put(Fault::CONDITIONAL_REQUEST_CONFLICT, key).times(2), key).await;
    }
}

#[tokio::test]
async fn row_12_a_lost_answer_and_then_a_lost_412_are_no_conflict() {
    for key in KEYS {
        outlived(put(Fault::ResetAfter, key).times(2), key).await;
    }
}

#[tokio::test]
async fn row_12_a_put_that_takes_effect_after_it_was_given_up_is_no_conflict() {
    for key in KEYS {
        outlived(put(Fault::Delay(Duration::from_millis(400)), key).times(1), key).await;
    }
}

#[tokio::test]
async fn a_truncated_answer_to_a_read_is_a_failure() {
    // An answer to the record's put is lost, so that the record is read, and that answer breaks off.
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    s3.fail(put(Fault::ResetAfter, "/exports/").times(1));
    let reads = FaultRule::new(Fault::TruncateAnswer).on(Operation::GetObject);
    let truncated = s3.fail(reads.key_contains("/exports/").times(1));
    check_in_s3(&s3, &committed(&mut server.client, request(1, "a.docx")).await);
    assert_eq!(s3.fault_hits(truncated), 1);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up_and_asked_for_again() {
    for key in KEYS {
        outlived(put(Fault::Stall, key).times(1), key).await;
    }
}

#[tokio::test]
async fn an_export_that_moves_from_disk_to_s3_while_it_is_looked_for_is_found() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;
    let mut server = host.start().await;
    // S3 is asked before the bundle comes there, the local store after it has gone.
    let early = FaultRule::new(Fault::respond(404, "NoSuchKey")).on(Operation::GetObject);
    let early = s3.fail(early.key_contains("/exports/").times(1));
    assert_eq!(read(&mut server.client, &name(1)).await.state(), State::Committed);
    assert_eq!(s3.fault_hits(early), 1);
}

#[tokio::test]
async fn retries_are_told() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    s3.fail(put(Fault::CONDITIONAL_REQUEST_CONFLICT, "manifest.json").times(1));
    let followed = export(&mut server.client, request(1, "a.docx")).await;
    assert!(followed.kinds().contains(&"retrying manifest.json".to_owned()));
}

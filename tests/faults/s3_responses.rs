//! S3 responses that are lost, truncated, late or wrong (guarantees, failures 9 and 12).

use std::time::Duration;

use tara_export_client::proto::export::State;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::{
    following::{committed, export},
    harness::{
        Host, START_PREFIX,
        in_s3::{check_in_s3, committed_bundles, store_with_read_timeout},
        s3::store_of,
        waiting::{read, until_journal_is_empty},
    },
    requests::{name, request},
};

/// One key of each kind that an export writes.
const KEYS: [&str; 6] =
    ["/exports/", "/folders/", "/index/", ".docx", "readable_report.txt", "manifest.json"];

/// Exports under a fault rule. Asserts that the rule was applied and that the complete bundle is in S3.
async fn expect_tolerated(rule: FaultRule, what: &str) {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_with_read_timeout(&s3, Duration::from_millis(200)));
    let mut server = host.start().await;
    let fault = s3.fail(rule);
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert!(s3.fault_hits(fault) > 0, "the fault for {what} was not applied");
    check_in_s3(&s3, &export);
    until_journal_is_empty(&host).await;
}

fn put(fault: Fault, key: &str) -> FaultRule {
    FaultRule::new(fault).on(Operation::PutObject).key_contains(key)
}

#[tokio::test]
async fn error_in_a_200_body_is_retried() {
    for key in KEYS {
        expect_tolerated(put(Fault::OkWithError { code: "InternalError" }, key).times(2), key)
            .await;
    }
}

#[tokio::test]
async fn error_body_is_not_mistaken_for_a_foreign_object() {
    for (operation, key, after) in
        [(Operation::HeadObject, ".docx", 0), (Operation::GetObject, "manifest.json", 1)]
    {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        // The object is stored and the response is lost, so the server checks the object.
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
async fn conflict_409_is_retried() {
    for key in KEYS {
        expect_tolerated(put(Fault::CONDITIONAL_REQUEST_CONFLICT, key).times(2), key).await;
    }
}

#[tokio::test]
async fn lost_response_then_lost_412_is_no_conflict() {
    for key in KEYS {
        expect_tolerated(put(Fault::ResetAfter, key).times(2), key).await;
    }
}

#[tokio::test]
async fn put_that_succeeds_after_its_timeout_is_no_conflict() {
    for key in KEYS {
        expect_tolerated(put(Fault::Delay(Duration::from_millis(400)), key).times(1), key).await;
    }
}

#[tokio::test]
async fn truncated_read_response_is_retried() {
    // The response to the record's put is lost, so the record is read, and that response is truncated.
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    s3.fail(put(Fault::ResetAfter, "/exports/").times(1));
    let reads = FaultRule::new(Fault::TruncateResponse).on(Operation::GetObject);
    let truncated = s3.fail(reads.key_contains("/exports/").times(1));
    check_in_s3(&s3, &committed(&mut server.client, request(1, "a.docx")).await);
    assert_eq!(s3.fault_hits(truncated), 1);
}

#[tokio::test]
async fn request_without_a_response_times_out_and_is_retried() {
    for key in KEYS {
        expect_tolerated(put(Fault::Stall, key).times(1), key).await;
    }
}

#[tokio::test]
async fn export_synced_during_a_lookup_is_found() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;
    let mut server = host.start().await;
    // S3 is read before the bundle arrives there, the local store after the bundle is removed.
    let stale_lookup = FaultRule::new(Fault::respond(404, "NoSuchKey")).on(Operation::GetObject);
    let stale_lookup = s3.fail(stale_lookup.key_contains("/exports/").times(1));
    assert_eq!(read(&mut server.client, &name(1)).await.state(), State::Committed);
    assert_eq!(s3.fault_hits(stale_lookup), 1);
}

#[tokio::test]
async fn retries_are_sent_as_events() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    s3.fail(put(Fault::CONDITIONAL_REQUEST_CONFLICT, "manifest.json").times(1));
    let followed = export(&mut server.client, request(1, "a.docx")).await;
    assert!(followed.kinds().contains(&"retrying manifest.json".to_owned()));
}

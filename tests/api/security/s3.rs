//! The settings for the bucket's owner and Object Lock, in the requests that S3 receives.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tara_export_client::proto::export::State;
use tara_export_store::{
    Store,
    s3::{ObjectLock, ObjectLockMode, S3Settings},
};
use tara_export_test_support::{Operation, RecordedRequest, TestS3};

use crate::{
    following::committed,
    harness::{
        Host,
        s3::{settings, store_with},
        uploads::{bytes, named, uploaded},
    },
    requests::request,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn locked_store(s3: &TestS3) -> std::sync::Arc<dyn Store> {
    let settings = S3Settings {
        expected_bucket_owner: Some("111122223333".to_owned()),
        object_lock: Some(ObjectLock {
            mode: ObjectLockMode::Compliance,
            retention: DAY * 3650,
            except_prefix: ".tara-export/".to_owned(),
        }),
        ..settings(&s3.endpoint(), s3.bucket())
    };
    let credentials =
        aws_sdk_s3::config::Credentials::new(s3.access_key(), s3.secret_key(), None, None, "test");
    store_with(settings, credentials)
}

#[tokio::test]
async fn requests_name_the_owner_and_bundle_objects_are_locked() {
    let s3 = TestS3::builder().object_lock().start().await.unwrap();
    let host = Host::with_s3(locked_store(&s3));
    let mut server = host.start().await;
    // Small files, and a large one that is sent in parts and copied inside S3.
    let content = bytes(9 * 1024 * 1024, 1);
    let upload = uploaded(&mut server.client, 7, &content).await;
    let mut request = request(1, "incident report.docx");
    request.documents[0] = named(tara_export_client::proto::document::Kind::Before, &upload.name);
    let export = committed(&mut server.client, request).await;

    let requests = s3.requests();
    for request in &requests {
        assert_eq!(
            request.header("x-amz-expected-bucket-owner"),
            Some("111122223333"),
            "{request:?}"
        );
    }
    let until = |request: &RecordedRequest| -> Option<DateTime<Utc>> {
        let mode = request.header("x-amz-object-lock-mode");
        let until = request.header("x-amz-object-lock-retain-until-date");
        assert_eq!(mode.is_some(), until.is_some());
        assert!(mode.is_none_or(|mode| mode == "COMPLIANCE"));
        until.map(|until| until.parse().unwrap())
    };
    let is_creation = |request: &&RecordedRequest| {
        [Operation::PutObject, Operation::CreateMultipartUpload].contains(&request.operation)
    };
    let (mut objects, mut records) = (0, 0);
    for request in requests.iter().filter(is_creation) {
        let key = request.key.as_str();
        if key.contains(&export.folder_name) && !key.contains(".tara-export/") {
            let years = (until(request).expect("a lock") - Utc::now()).num_days();
            assert!((3649..=3650).contains(&years), "{years}");
            objects += 1;
        } else {
            assert_eq!(until(request), None, "{key}");
            records += 1;
        }
    }
    assert!(objects > 10 && records > 3, "{objects} objects, {records} records");
}

/// Nothing is stored without the requested lock.
#[tokio::test]
async fn bucket_without_object_lock_gets_no_bundle() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(locked_store(&s3));
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(local.state(), State::FellBack);
    assert!(s3.objects().keys().all(|key| key.contains(".tara-export/")));
}

#[tokio::test]
async fn download_link_needs_no_extra_header() {
    let s3 = TestS3::builder().object_lock().start().await.unwrap();
    let host = Host::with_s3(locked_store(&s3));
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    let request = tara_export_client::proto::CreateDownloadLinkRequest {
        name: export.name,
        path: "readable_report.txt".to_owned(),
        ..Default::default()
    };
    let link = server.client.create_download_link(request).await.unwrap().into_inner().uri;
    assert!(
        link.contains("X-Amz-SignedHeaders=host&") || link.ends_with("X-Amz-SignedHeaders=host"),
        "{link}"
    );
    let (status, _, body) = crate::harness::http::get(&link).await;
    assert_eq!(status, 200);
    assert!(body.starts_with(b"DOCUMENT REVIEW REPORT"));
}

//! Removal of expired receipts, failure records and uploads, and the responses afterwards.

use std::fs;

use bytes::Bytes;
use chrono::TimeDelta;
use tara_export_client::proto::{document::Kind, export::State};
use tonic::Code;

use crate::{
    fake_s3::{FakeS3, Mode},
    following::{committed, export, follow, refused},
    harness::{
        Host, TestServer, receipt, until,
        uploads::{create, naming, uploaded},
        waiting::read,
    },
    requests::{document, id, name, request, s3_or_nothing},
    statuses::expect_status,
};

/// The circuit breaker never skips S3, so the next export without fallback is accepted.
const QUICK: [&str; 3] = ["--s3-retry-budget=2s", "--s3-outage-pause=0ms", "--shutdown-timeout=0s"];
const RETENTION_INTERVAL: &str = "--retention-interval=100ms";

fn failure_record(number: u32) -> String {
    format!(".tara-export/failed/{}.json", id(number))
}

/// Accepts an export and makes it fail.
async fn accept_and_fail(server: &mut TestServer, s3: &FakeS3, number: u32) {
    let held = s3.held();
    s3.set(Mode::HoldsArtifacts);
    let stream = server.client.start_export(s3_or_nothing(number, "a.docx")).await.unwrap();
    s3.until_held(held + 1).await;
    s3.set(Mode::Down);
    follow(stream.into_inner()).await.failed();
    s3.set(Mode::Works);
}

#[tokio::test]
async fn expired_files_are_removed_while_the_server_runs() {
    let s3 = FakeS3::new(Mode::Works);
    let retention = [
        "--receipt-retention=1h",
        "--upload-retention=2h",
        "--failure-retention=3h",
        RETENTION_INTERVAL,
    ];
    let host = Host::with_s3(s3.clone()).flags(&QUICK).flags(&retention);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    accept_and_fail(&mut server, &s3, 2).await;
    // This S3 does not support parts, so the upload is on disk.
    create(&mut server.client, 3, 1000, "").await.unwrap();
    let has = |name: &str| host.files().iter().any(|file| file.contains(name));
    until("the receipt to be written", || has(&receipt(1))).await;
    assert!(has(&failure_record(2)) && has("/uploads/"), "{:?}", host.files());

    host.clock.advance(TimeDelta::minutes(61));
    until("the receipt to be removed", || !has(&receipt(1))).await;
    assert!(has(&failure_record(2)) && has("/uploads/"), "{:?}", host.files());
    host.clock.advance(TimeDelta::minutes(60));
    until("the upload to be removed", || !has("/uploads/")).await;
    assert!(has(&failure_record(2)), "{:?}", host.files());
    host.clock.advance(TimeDelta::minutes(60));
    until("the failure record to be removed", || !has(&failure_record(2))).await;
}

#[tokio::test]
async fn failed_id_is_free_only_after_its_retention() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone())
        .flags(&QUICK)
        .flags(&["--failure-retention=1h", RETENTION_INTERVAL]);
    let mut server = host.start().await;
    accept_and_fail(&mut server, &s3, 1).await;
    server.stop().await;

    host.clock.advance(TimeDelta::minutes(60));
    let mut server = host.start().await;
    export(&mut server.client, s3_or_nothing(1, "a.docx")).await.failed();
    assert_eq!(read(&mut server.client, &name(1)).await.state(), State::Failed);
    server.stop().await;

    host.clock.advance(TimeDelta::minutes(1));
    let mut server = host.start().await;
    until("the failure record to be removed", || !host.files().contains(&failure_record(1))).await;
    let bundle = committed(&mut server.client, s3_or_nothing(1, "a.docx")).await;
    assert_eq!(bundle.name, name(1));
}

#[tokio::test]
async fn too_many_failures_refuse_exports_without_fallback() {
    let s3 = FakeS3::new(Mode::Works);
    let limits = ["--max-failure-records=2", "--failure-retention=1h", RETENTION_INTERVAL];
    let host = Host::with_s3(s3.clone()).flags(&QUICK).flags(&limits);
    let mut server = host.start().await;
    for number in 1..=2 {
        accept_and_fail(&mut server, &s3, number).await;
    }
    let status = refused(&mut server.client, s3_or_nothing(3, "a.docx")).await;
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    assert!(status.message().contains("MAX_FAILURE_RECORDS"), "{}", status.message());
    assert!(!host.files().iter().any(|file| file.contains(&id(3).to_string())));
    // Previous failures and other exports are not affected.
    export(&mut server.client, s3_or_nothing(1, "a.docx")).await.failed();
    committed(&mut server.client, request(4, "a.docx")).await;

    // The same after a restart, once the folders are scanned: failure records first, then receipts.
    server.stop().await;
    let last = host.data_dir().join(receipt(9));
    fs::write(&last, "damaged").unwrap();
    let mut server = host.start().await;
    until("the receipts to be scanned", || !last.exists()).await;
    let status = refused(&mut server.client, s3_or_nothing(3, "a.docx")).await;
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    host.clock.advance(TimeDelta::minutes(61));
    until("the failure records to be removed", || !host.files().contains(&failure_record(2))).await;
    committed(&mut server.client, s3_or_nothing(3, "a.docx")).await;
}

#[tokio::test]
async fn refused_export_leaves_no_document() {
    let host = Host::new().flags(&["--max-journal-bytes=1MiB"]);
    let mut server = host.start().await;
    let upload = uploaded(&mut server.client, 1, &Bytes::from_static(b"content")).await;
    let mut too_large = naming(1, &upload.name);
    too_large.documents[1] = document(Kind::After, vec![7; 2 << 20]);
    let status = refused(&mut server.client, too_large).await;
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    let mut left = host.files();
    left.retain(|file| file.starts_with(".tara-export/journal/"));
    assert_eq!(left, [] as [String; 0]);
    committed(&mut server.client, naming(2, &upload.name)).await;
}

#[tokio::test]
async fn temporary_upload_files_are_removed_at_startup() {
    let host = Host::new();
    let folder = host.data_dir().join(".tara-export/uploads/tmp");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(".tmpAbCdEf"), "half a record").unwrap();
    let mut server = host.start().await;
    assert!(!folder.join(".tmpAbCdEf").exists());
    uploaded(&mut server.client, 1, &Bytes::from_static(b"content")).await;
}

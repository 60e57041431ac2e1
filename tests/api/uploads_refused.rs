//! Refused uploads: they cannot be created, continued or named by an export, and leave no data.

use bytes::Bytes;
use chrono::TimeDelta;
use futures::{StreamExt as _, stream};
use tara_export_client::proto::{UploadDocumentRequest, document::Kind};
use tara_export_test_support::{Operation, TestS3};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    following::{committed, refused},
    harness::{
        Client, Host,
        in_s3::assert_in_s3,
        s3::store_of,
        uploads::{
            PART, bytes, chunk, create, get, messages, named, naming, send, sha256, uploaded,
        },
        within,
    },
    requests::request,
    statuses::{expect_invalid, expect_status, violations},
};

/// The keys of S3 that belong to exports.
fn export_keys(s3: &TestS3) -> Vec<String> {
    let keys = s3.objects().into_keys();
    let others = ["/uploads/", "/probe/", "/.tara-export/store.json"];
    keys.filter(|key| !others.iter().any(|other| key.contains(other))).collect()
}

#[tokio::test]
async fn invalid_upload_request_is_refused_naming_each_field() {
    let host = Host::new().flags(&["--max-document-size=1MiB"]);
    let mut server = host.start().await;
    let client = &mut server.client;
    let status = create(client, 1, (1 << 20) + 1, "").await.unwrap_err();
    assert!(expect_invalid(&status, "size_bytes").contains("MAX_DOCUMENT_SIZE"));
    let status = create(client, 1, 1, "ABC").await.unwrap_err();
    expect_invalid(&status, "sha256");
    let all_wrong = tara_export_client::proto::CreateUploadRequest {
        request_id: "x".to_owned(),
        size_bytes: -1,
        sha256: "0".repeat(63),
    };
    let status = client.create_upload(all_wrong).await.unwrap_err();
    let fields: Vec<String> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["request_id", "size_bytes", "sha256"]);
    for name in ["", "uploads/", "uploads/x", "exports/6f1c7a52-3b0e-4c59-9d7e-000000000001"] {
        expect_invalid(&get(client, name).await.unwrap_err(), "name");
        expect_invalid(&chunk(client, name, 0, Bytes::new(), false).await.unwrap_err(), "name");
        expect_invalid(&send(client, name, &Bytes::new(), 0).await.unwrap_err(), "name");
        let status = refused(client, naming(1, name)).await;
        expect_invalid(&status, "documents[0].upload");
    }
    let empty = client.upload_document(stream::empty().boxed()).await.unwrap_err();
    expect_invalid(&empty, "name");
    let name = create(client, 1, 1, "").await.unwrap().name;
    let negative = UploadDocumentRequest { name, offset: -1, ..Default::default() };
    let status = client.upload_document(stream::iter([negative]).boxed()).await.unwrap_err();
    expect_invalid(&status, "offset");
}

#[tokio::test]
async fn more_or_fewer_bytes_than_announced_are_refused() {
    for s3 in [None, Some(TestS3::start().await)] {
        let host = s3.as_ref().map_or_else(Host::new, |s3| Host::with_s3(store_of(s3)));
        let mut server = host.start().await;
        for (number, size) in [(1, 999), (2, 1001)] {
            let name = create(&mut server.client, number, 1000, "").await.unwrap().name;
            let status = send(&mut server.client, &name, &bytes(size, 1), 0).await.unwrap_err();
            let description = expect_invalid(&status, "data");
            assert!(
                description.contains("1000") && description.contains(&size.to_string()),
                "{description}"
            );
            // Committed bytes on disk stay.
            let committed = get(&mut server.client, &name).await.unwrap().committed_size_bytes;
            assert!(committed <= 999);
        }
    }
}

#[tokio::test]
async fn silent_stream_is_ended_and_committed_bytes_stay() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--upload-idle-timeout=300ms"]);
    let mut server = host.start().await;
    let content = bytes(2 * PART, 1);
    let name = create(&mut server.client, 1, content.len(), "").await.unwrap().name;
    let some = messages(&name, &content, 0, true).into_iter().take(PART / (1 << 20) + 1);
    let silent = stream::iter(some).chain(stream::pending()).boxed();
    let status = within("the server's idle timeout", server.client.upload_document(silent));
    let status = status.await.unwrap_err();
    expect_status(&status, Code::Unavailable, "UPLOAD_INTERRUPTED");
    assert!(status.message().contains("300ms"), "{status:?}");
    let upload = send(&mut server.client, &name, &content, PART).await.unwrap();
    assert_eq!(upload.sha256, sha256(&content));
}

#[tokio::test]
async fn content_with_a_wrong_digest_is_aborted_and_can_be_sent_again() {
    for s3 in [None, Some(TestS3::start().await)] {
        let host = s3.as_ref().map_or_else(Host::new, |s3| Host::with_s3(store_of(s3)));
        let mut server = host.start().await;
        let client = &mut server.client;
        let (announced, other) = (bytes(1000, 1), bytes(1000, 2));
        let digest = sha256(&announced);
        for number in 1..=2 {
            let name = create(client, number, 1000, &digest).await.unwrap().name;
            let status = send(client, &name, &other, 0).await.unwrap_err();
            expect_status(&status, Code::Aborted, "UPLOAD_ABORTED");
            if let Some(s3) = &s3 {
                assert_eq!(s3.open_uploads(), 0);
                assert_eq!(s3.requests_of(Operation::CompleteMultipartUpload).len(), 0);
            }
            let status = get(client, &name).await.unwrap_err();
            expect_status(&status, Code::NotFound, "UPLOAD_NOT_FOUND");
        }
        let name = create(client, 3, 1000, &digest).await.unwrap().name;
        let upload = send(client, &name, &announced, 0).await.unwrap();
        assert_eq!(upload.sha256, digest);
        committed(client, naming(1, &name)).await;
    }
}

/// Checks that a document is refused with its field, and that nothing is stored.
async fn expect_refused(
    client: &mut Client,
    host: &Host,
    s3: &TestS3,
    upload: &str,
    code: Code,
    reason: &str,
) -> Status {
    let mut export_request = request(1, "incident report.docx");
    export_request.documents[1] = named(Kind::After, upload);
    let status = refused(client, export_request).await;
    let info = expect_status(&status, code, reason);
    assert_eq!(info.metadata["field"], "documents[1].upload");
    assert!(export_keys(s3).is_empty(), "{:?}", export_keys(s3));
    let files = host.files();
    assert!(files.is_empty(), "{files:?}");
    status
}

#[tokio::test]
async fn only_finished_and_unexpired_uploads_can_be_exported() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--upload-retention=1h"]);
    let mut server = host.start().await;
    let client = &mut server.client;
    let content = bytes(PART, 1);

    let unknown = "uploads/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
    let not_found = (Code::NotFound, "UPLOAD_NOT_FOUND");
    expect_refused(client, &host, &s3, unknown, not_found.0, not_found.1).await;

    let unfinished = create(client, 1, 2 * PART, "").await.unwrap().name;
    chunk(client, &unfinished, 0, content.clone(), false).await.unwrap();
    let code = Code::FailedPrecondition;
    let status = expect_refused(client, &host, &s3, &unfinished, code, "UPLOAD_NOT_FINISHED").await;
    assert!(status.message().contains(&format!("{PART} of {}", 2 * PART)), "{status:?}");

    let finished = uploaded(client, 2, &content).await;
    host.clock.advance(TimeDelta::minutes(59));
    get(client, &finished.name).await.unwrap();
    host.clock.advance(TimeDelta::minutes(2));
    let status = get(client, &finished.name).await.unwrap_err();
    expect_status(&status, Code::NotFound, "UPLOAD_NOT_FOUND");
    expect_refused(client, &host, &s3, &finished.name, not_found.0, not_found.1).await;
    // The next start aborts unfinished uploads; finished ones are left to the bucket's lifecycle rules.
    assert_eq!(s3.open_uploads(), 1);
    server.stop().await;
    let _server = host.start().await;
    crate::harness::until("the expired upload to be aborted", || s3.open_uploads() == 0).await;
}

#[tokio::test]
async fn wrong_digest_of_an_upload_is_refused() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let content = bytes(1000, 1);
    let upload = uploaded(&mut server.client, 1, &content).await.name;
    let mut export_request = naming(1, &upload);
    export_request.documents[0].sha256 = sha256(b"other");
    let status = refused(&mut server.client, export_request.clone()).await;
    let description = expect_invalid(&status, "documents[0].sha256");
    assert!(description.contains(&sha256(&content)), "{description}");
    assert!(status.get_error_details().bad_request().is_some());
    export_request.documents[0].sha256 = sha256(&content);
    assert_in_s3(&s3, &committed(&mut server.client, export_request).await);
}

#[tokio::test]
async fn local_uploads_are_limited_and_freed_when_they_expire() {
    let host = Host::new().flags(&["--max-local-uploads=1MiB", "--upload-retention=1h"]);
    let mut server = host.start().await;
    let first = create(&mut server.client, 1, 600_000, "").await.unwrap().name;
    let status = create(&mut server.client, 2, 600_000, "").await.unwrap_err();
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    assert!(status.message().contains("MAX_LOCAL_UPLOADS"), "{}", status.message());
    send(&mut server.client, &first, &bytes(600_000, 1), 0).await.unwrap();
    server.stop().await;

    host.clock.advance(TimeDelta::hours(2));
    let mut server = host.start().await;
    let is_gone = || host.files().iter().all(|file| !file.contains("/uploads/"));
    crate::harness::until("the expired upload to be removed", is_gone).await;
    create(&mut server.client, 2, 600_000, "").await.unwrap();
}

#[tokio::test]
async fn concurrent_empty_uploads_count_towards_the_limit() {
    let host = Host::new().flags(&["--max-local-uploads=1MiB"]);
    let server = host.start().await;
    let creations = (1..=40).map(|number| {
        let mut client = server.client.clone();
        async move { (number, create(&mut client, number, 0, "").await) }
    });
    let results = futures::future::join_all(creations).await;
    let (created, refused): (Vec<_>, Vec<_>) =
        results.into_iter().partition(|(_, result)| result.is_ok());
    assert_eq!((created.len(), refused.len()), (4, 36));
    for status in refused.into_iter().filter_map(|(_, refused)| refused.err()) {
        expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    }
    // An existing upload can be requested again, but not with another size.
    let (number, upload) = created.into_iter().next().unwrap();
    let name = upload.unwrap().name;
    assert_eq!(create(&mut server.client.clone(), number, 0, "").await.unwrap().name, name);
    let status = create(&mut server.client.clone(), number, 1, "").await.unwrap_err();
    expect_status(&status, Code::AlreadyExists, "UPLOAD_ID_REUSED");
}

#[tokio::test]
async fn damaged_upload_does_not_block_others() {
    let host = Host::new().flags(&["--upload-retention=1h"]);
    let mut server = host.start().await;
    let content = bytes(1000, 1);
    let damaged = create(&mut server.client, 1, 1000, &sha256(&content)).await.unwrap().name;
    let other = create(&mut server.client, 2, 7, "").await.unwrap().name;
    let folder = |name: &str| host.data_dir().join(".tara-export").join(name);
    std::fs::write(folder(&damaged).join("upload.json"), b"{").unwrap();
    let status = get(&mut server.client, &damaged).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    // The same content gets another upload.
    let name = create(&mut server.client, 1, 1000, &sha256(&content)).await.unwrap().name;
    assert_ne!(name, damaged);
    let upload = send(&mut server.client, &name, &content, 0).await.unwrap();
    assert_eq!(upload.sha256, sha256(&content));
    server.stop().await;

    host.clock.advance(TimeDelta::hours(2));
    let _server = host.start().await;
    let is_gone = || !folder(&other).exists() && !folder(&name).exists();
    crate::harness::until("the expired uploads to be removed", is_gone).await;
    assert!(folder(&damaged).join("upload.json").exists());
}

//! S3 sources: which locations are allowed, and what happens when a source changes.

use bytes::Bytes;
use tara_export_bundle::Manifest;
use tara_export_client::proto::{
    Destination, Document, ListExportsRequest, S3Source, StartExportRequest,
    document::{Kind, Source},
    export::State,
};
use tara_export_digest::Sha256;
use tara_export_store::{ObjectKey, Payload};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use crate::{
    bundles,
    following::{committed, export, follow, refused, watch},
    harness::{
        Host,
        in_s3::{assert_in_s3, verified_files},
        s3::store_of,
        until,
        uploads::{PART, QUICK_WITH_LARGE, bytes, sha256},
        waiting::{read, until_state},
    },
    requests::{name, request},
    statuses::{expect_invalid, expect_status},
};

const DOCUMENT: &str = "documents/before_incident_report.docx";
/// A source in an allowed location. Its key has characters that a header must not have.
const KEY: &str = "docs/2026/bericht №1 +%&?.docx";
const SOURCES: &str = "--s3-sources=s3://test-bucket/docs/,s3://incoming";

async fn s3() -> TestS3 {
    TestS3::builder().extra_bucket("incoming").start().await.unwrap()
}

fn host(s3: &TestS3) -> Host {
    Host::with_s3(store_of(s3)).flags(&[SOURCES, "--loss-confirmation=1s"]).flags(&QUICK_WITH_LARGE)
}

/// A request whose `before` document is a source.
fn request_with_source(number: u32, uri: &str) -> StartExportRequest {
    let mut request = request(number, "incident report.docx");
    let source = S3Source { uri: uri.to_owned(), ..S3Source::default() };
    request.documents[0] = Document {
        kind: Kind::Before.into(),
        source: Some(Source::S3(source)),
        ..Document::default()
    };
    request
}

fn uri(key: &str) -> String {
    format!("s3://test-bucket/{key}")
}

fn request_with_digest(number: u32, uri: &str, sha256: String) -> StartExportRequest {
    let mut request = request_with_source(number, uri);
    request.documents[0].sha256 = sha256;
    request
}

/// Checks that S3 has no manifest and no unfinished multipart upload.
fn assert_nothing_committed(s3: &TestS3) {
    assert!(s3.objects().keys().all(|key| !key.ends_with("/manifest.json")));
    assert_eq!(s3.open_uploads(), 0);
}

#[tokio::test]
async fn allowed_source_is_copied_and_read_once() {
    for (number, size) in [(1, 0), (2, 1), (3, PART + 1)] {
        let s3 = s3().await;
        let mut server = host(&s3).start().await;
        let content = bytes(size, number.into());
        s3.put_raw(KEY, content.clone());
        s3.put_raw_in("incoming", "a", content.clone());
        for uri in [uri(KEY), "s3://incoming/a".to_owned()] {
            s3.reset_requests();
            let number = number + if uri.ends_with("/a") { 10 } else { 0 };
            let request = match size {
                1 => request_with_digest(number, &uri, sha256(&content)),
                _ => request_with_source(number, &uri),
            };
            let export = committed(&mut server.client, request).await;
            assert_in_s3(&s3, &export);
            let files = verified_files(&s3, &export);
            assert!(files[DOCUMENT] == content, "{uri} {size}");
            let manifest = Manifest::parse(&files["manifest.json"]).unwrap();
            let artifact = manifest.artifacts.iter().find(|file| file.path.as_str() == DOCUMENT);
            assert_eq!(artifact.unwrap().sha256, Sha256::of(&content));
            let reads = s3.requests_of(Operation::GetObject).into_iter();
            let reads = reads.filter(|read| uri.ends_with(&format!("/{}", read.key)));
            assert_eq!(reads.count(), 1, "{uri}");
            let copies = s3.requests_of(Operation::UploadPartCopy);
            assert_eq!(copies.len(), size.div_ceil(PART));
            assert!(copies.iter().all(|copy| copy.header("x-amz-copy-source-if-match").is_some()));
        }
    }
}

#[tokio::test]
async fn disallowed_source_is_refused_without_reading_it() {
    let s3 = s3().await;
    let all = ["docs-secret/a", "docs", "other/docs/a", "tara/docs/a", "DOCS/a"];
    for key in all {
        s3.put_raw(key, Bytes::from_static(b"secret"));
    }
    let host = host(&s3);
    let mut server = host.start().await;
    let uris = all.map(uri).into_iter().chain(["s3://incoming-secret/a".to_owned()]);
    for uri in uris {
        let status = refused(&mut server.client, request_with_source(1, &uri)).await;
        let info = expect_status(&status, Code::PermissionDenied, "SOURCE_NOT_ALLOWED");
        assert_eq!(info.metadata["field"], "documents[0].s3.uri");
    }
    // S3 does not resolve `..`: there is no such object.
    let status =
        refused(&mut server.client, request_with_source(1, &uri("docs/../docs-secret/a"))).await;
    expect_status(&status, Code::NotFound, "SOURCE_NOT_FOUND");
    server.stop().await;
    // Without the setting, no location is allowed.
    let other = Host::with_s3(store_of(&s3));
    s3.put_raw(KEY, Bytes::from_static(b"a"));
    let status = refused(&mut other.start().await.client, request_with_source(1, &uri(KEY))).await;
    expect_status(&status, Code::PermissionDenied, "SOURCE_NOT_ALLOWED");
    let requested: Vec<String> = s3.requests().into_iter().map(|request| request.key).collect();
    assert!(requested.iter().all(|key| !all.contains(&key.as_str())), "{requested:?}");
    assert!(host.files().is_empty(), "{:?}", host.files());
}

#[tokio::test]
async fn archived_source_is_refused_and_names_the_restore() {
    let s3 = s3().await;
    s3.put_raw(KEY, bytes(PART, 1));
    let mut server = host(&s3).start().await;
    s3.archive("docs/");
    let status = refused(&mut server.client, request_with_source(1, &uri(KEY))).await;
    expect_status(&status, Code::FailedPrecondition, "ARCHIVED");
    assert!(status.message().contains("restore"), "{status:?}");
    assert_nothing_committed(&s3);
    s3.restore();
    let export = committed(&mut server.client, request_with_source(1, &uri(KEY))).await;
    assert_in_s3(&s3, &export);
}

#[tokio::test]
async fn invalid_source_is_refused_naming_the_field() {
    let s3 = s3().await;
    let host = host(&s3).flags(&["--max-document-size=1MiB"]);
    let mut server = host.start().await;
    let status = refused(&mut server.client, request_with_source(1, &uri("docs/missing"))).await;
    let info = expect_status(&status, Code::NotFound, "SOURCE_NOT_FOUND");
    assert_eq!(info.metadata["field"], "documents[0].s3.uri");
    let long = uri(&format!("docs/{}", "a".repeat(1020)));
    for wrong in ["", "docs/a", "s3://", "s3://test-bucket", "s3://test-bucket/", "s3:///a", &long]
    {
        let status = refused(&mut server.client, request_with_source(1, wrong)).await;
        expect_invalid(&status, "documents[0].s3.uri");
    }
    s3.put_raw("docs/large", bytes((1 << 20) + 1, 1));
    let status = refused(&mut server.client, request_with_source(1, &uri("docs/large"))).await;
    let description = expect_invalid(&status, "documents[0].s3.uri");
    assert!(description.contains("MAX_DOCUMENT_SIZE"), "{description}");
    assert!(host.files().is_empty(), "{:?}", host.files());
    server.stop().await;
    let mut server = Host::new().flags(&[SOURCES]).start().await;
    let status = refused(&mut server.client, request_with_source(1, &uri(KEY))).await;
    expect_status(&status, Code::FailedPrecondition, "NO_BUCKET");
}

#[tokio::test]
async fn wrong_digest_is_refused_if_s3_has_it_and_else_fails_the_export() {
    let s3 = s3().await;
    let host = Host::with_s3(store_of(&s3))
        .flags(&["--s3-sources=s3://test-bucket/", "--loss-confirmation=1s"]);
    let mut server = host.start().await;
    let content = bytes(1000, 1);
    let key = ObjectKey::new("with-digest").unwrap();
    let payload = Payload::new(content.clone(), Sha256::of(&content), "text/plain");
    store_of(&s3).put_if_absent(&key, payload).await.unwrap();
    s3.put_raw("without-digest", content.clone());

    let wrong = || sha256(b"other");
    let status =
        refused(&mut server.client, request_with_digest(1, &uri("tara/with-digest"), wrong()))
            .await;
    assert!(expect_invalid(&status, "documents[0].sha256").contains(&sha256(&content)));

    let followed =
        export(&mut server.client, request_with_digest(2, &uri("without-digest"), wrong())).await;
    let (failed, status) = followed.failed();
    assert_eq!(failed.reason, "SOURCE_LOST");
    expect_status(&status, Code::FailedPrecondition, "SOURCE_LOST");
    assert!(status.message().contains(&sha256(&content)), "{status:?}");
    assert_nothing_committed(&s3);
}

/// At each step that reads the source.
#[tokio::test]
async fn source_that_changes_after_acceptance_fails_the_export() {
    for (operation, is_removed) in [
        (Operation::GetObject, false),
        (Operation::GetObject, true),
        (Operation::UploadPartCopy, false),
        (Operation::UploadPartCopy, true),
    ] {
        let s3 = s3().await;
        let host = host(&s3);
        let mut server = host.start().await;
        s3.put_raw(KEY, bytes(1000, 1));
        let rule = FaultRule::new(Fault::Stall).on(operation).key_ends_with(".docx").times(1);
        let held = s3.fail(rule);
        let stream = server.client.start_export(request_with_source(1, &uri(KEY))).await.unwrap();
        until("the source to be requested", || s3.fault_hits(held) == 1).await;
        match is_removed {
            true => assert!(s3.remove(KEY)),
            false => s3.put_raw(KEY, bytes(1000, 2)),
        }
        s3.clear_fault(held);
        let followed = follow(stream.into_inner()).await;
        let (failed, status) = followed.failed();
        assert_eq!((failed.reason.as_str(), failed.stored_under.as_str()), ("SOURCE_LOST", ""));
        expect_status(&status, Code::FailedPrecondition, "SOURCE_LOST");
        assert_nothing_committed(&s3);
        assert!(bundles::folders(&host.data_dir()).is_empty());
        server.stop().await;

        let mut server = host.start().await;
        let failed = read(&mut server.client, &name(1)).await;
        assert_eq!((failed.state(), failed.state_reason.as_str()), (State::Failed, "SOURCE_LOST"));
        let again = watch(&mut server.client, &name(1)).await;
        assert_eq!(again.failed().0.reason, "SOURCE_LOST");
        let all = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
        let states: Vec<State> =
            all.into_inner().exports.iter().map(|export| export.state()).collect();
        assert_eq!(states, [State::Failed]);
        assert!(!host.files().iter().any(|file| file.contains("/journal/")), "{:?}", host.files());
        assert_nothing_committed(&s3);
    }
}

#[tokio::test]
async fn committed_export_is_found_without_its_source_by_digest() {
    let s3 = s3().await;
    let host = host(&s3);
    let mut server = host.start().await;
    let content = bytes(1000, 1);
    s3.put_raw(KEY, content.clone());
    let with_digest = request_with_digest(1, &uri(KEY), sha256(&content));
    let without_digest = request_with_source(2, &uri(KEY));
    let first = committed(&mut server.client, with_digest.clone()).await;
    committed(&mut server.client, without_digest.clone()).await;
    assert!(s3.remove(KEY));
    let mut other = with_digest.clone();
    other.review.as_mut().unwrap().reviewer = "Grace".to_owned();
    // In this process, in the next one, and on another machine.
    for restart in [false, true] {
        if restart {
            server.stop().await;
            server = host.start().await;
        }
        let mut elsewhere = self::host(&s3).start().await;
        for client in [&mut server.client, &mut elsewhere.client] {
            let again = committed(client, with_digest.clone()).await;
            assert_eq!(
                (again.name, again.manifest_sha256),
                (first.name.clone(), first.manifest_sha256.clone())
            );
            // Another review is refused, and so is a request without a digest.
            let status = refused(client, other.clone()).await;
            expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
            let status = refused(client, without_digest.clone()).await;
            expect_status(&status, Code::NotFound, "SOURCE_NOT_FOUND");
        }
    }
    assert_in_s3(&s3, &first);
}

#[tokio::test]
async fn fallback_of_a_source_is_synced_and_leaves_no_local_files() {
    let s3 = s3().await;
    let host = host(&s3);
    let mut server = host.start().await;
    let content = bytes(PART + 1, 1);
    s3.put_raw(KEY, content.clone());
    let rule = FaultRule::new(Fault::ACCESS_DENIED).on(Operation::PutObject).key_contains("/logs/");
    let fault = s3.fail(rule);
    let fallback = committed(&mut server.client, request_with_source(1, &uri(KEY))).await;
    assert_eq!((fallback.state(), fallback.stored_in()), (State::FellBack, Destination::Local));
    let folder = host.folder(&fallback.folder_name);
    bundles::verify(&folder);
    assert!(std::fs::read(folder.join(DOCUMENT)).unwrap() == content);
    s3.clear_fault(fault);
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
    let is_left = |host: &Host| {
        host.files().iter().any(|file| file.contains("/journal/"))
            || !bundles::folders(&host.data_dir()).is_empty()
    };
    until("the local files to be removed", || !is_left(&host)).await;
}

#[tokio::test]
async fn export_of_a_source_resumes_after_a_restart() {
    let s3 = s3().await;
    let host = host(&s3);
    let mut server = host.start().await;
    s3.put_raw(KEY, bytes(1000, 1));
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::UploadPartCopy));
    let stream = server.client.start_export(request_with_source(1, &uri(KEY))).await.unwrap();
    until("the copy to be requested", || s3.fault_hits(held) == 1).await;
    server.stop().await;
    drop(stream);
    s3.clear_fault(held);
    let mut server = host.start().await;
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
    let is_journaled = |host: &Host| host.files().iter().any(|file| file.contains("/journal/"));
    until("the journal to empty", || !is_journaled(&host)).await;
}

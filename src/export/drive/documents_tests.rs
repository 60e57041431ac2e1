//! Tests of referenced documents with in-memory stores.

use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tara_export_catalog::Export;
use tara_export_digest::Sha256;
use tara_export_store::{
    StoreKind,
    memory::{Call, Fault, MemoryStore, Operation},
};
use uuid::Uuid;

use super::*;
use crate::export::{
    drive::execute::Origin,
    failure::AttemptError,
    run::events::Durability,
    testing::{Recorder, TestServer, calls_on, export_with, folder, is_committed, unavailable},
};

const DOCUMENT: &[u8] = b"the caller's own document";

fn document_in(reference: Reference, sha256: Option<Sha256>) -> Document {
    let size_bytes = DOCUMENT.len() as u64;
    Document {
        kind: DocumentKind::Before,
        file_name: "a.docx".to_owned(),
        media_type: String::new(),
        sha256,
        content: Content::Referenced { size_bytes, reference },
    }
}

/// The ETag of these bytes in an in-memory store.
fn e_tag(bytes: &[u8]) -> String {
    format!("\"{}\"", Sha256::of(bytes))
}

fn object() -> SourceLocation {
    SourceLocation { bucket: "foreign".to_owned(), key: "in/a.docx".to_owned(), version_id: None }
}

/// An export whose document is an object in another bucket.
fn export_of_object(sha256: Option<Sha256>) -> AcceptedExport {
    let SourceLocation { bucket, key, version_id } = object();
    let e_tag = e_tag(DOCUMENT);
    let reference = Reference::Object { bucket, key, version_id, e_tag, crc64nvme: None };
    export_with(1, "report.docx", document_in(reference, sha256))
}

/// An export whose document was uploaded.
fn export_of_upload(server: &TestServer) -> (AcceptedExport, String) {
    let upload_id = Uuid::from_u128(5);
    let key = layout::upload_document(upload_id).to_string();
    server.s3.replace(&key, DOCUMENT);
    let ContentChecksums { crc64nvme, sha256, .. } = ContentChecksums::of(DOCUMENT);
    let reference = Reference::Upload { upload_id, e_tag: e_tag(DOCUMENT), crc64nvme };
    (export_with(1, "report.docx", document_in(reference, Some(sha256))), key)
}

async fn attempt(server: &TestServer, export: &AcceptedExport) -> Result<Export, Failure> {
    attempt_in(server, &server.s3(), export).await
}

async fn attempt_in(
    server: &TestServer,
    store: &Arc<dyn Store>,
    export: &AcceptedExport,
) -> Result<Export, Failure> {
    let work = server.work(export, Arc::<Recorder>::default()).await;
    match work.try_store(store, export, &AtomicBool::new(false), None).await {
        Ok(committed) => Ok(committed.export),
        Err(AttemptError::Failed(failure)) => Err(failure),
        Err(AttemptError::Reused(digest)) => panic!("reused: {digest}"),
    }
}

/// The document in the bundle.
fn stored_document(store: &MemoryStore, export: &AcceptedExport) -> Option<Bytes> {
    let documents = format!("{}/documents/", folder(export, 1));
    let key = store.keys().into_iter().find(|key| key.starts_with(&documents))?;
    store.bytes(&key)
}

#[tokio::test(start_paused = true)]
async fn object_and_upload_are_copied_into_the_bundle() {
    let server = TestServer::start().await;
    server.s3.put_source(object(), DOCUMENT);
    let of_object = export_of_object(None);
    let committed = attempt(&server, &of_object).await.unwrap();
    assert_eq!(stored_document(&server.s3, &of_object).unwrap(), DOCUMENT);
    // The request has no digest, but the manifest needs it.
    let digests: Vec<Sha256> = committed.artifacts.iter().map(|file| file.sha256).collect();
    assert!(digests.contains(&Sha256::of(DOCUMENT)));

    let server = TestServer::start().await;
    let (of_upload, _) = export_of_upload(&server);
    attempt(&server, &of_upload).await.unwrap();
    assert_eq!(stored_document(&server.s3, &of_upload).unwrap(), DOCUMENT);
    // The store copies the object and returns its digest, so the server does not read it.
    assert!(server.s3.count(Operation::CopyPart) > 0);
}

#[tokio::test(start_paused = true)]
async fn missing_changed_or_mismatched_object_is_lost() {
    let other = b"another document of 25 byt";
    let claims_other = export_of_object(Some(Sha256::of(other)));
    let cases = [
        (None, export_of_object(None)),
        (Some(&other[..]), export_of_object(None)),
        (Some(DOCUMENT), claims_other),
    ];
    for (number, (bytes, export)) in cases.into_iter().enumerate() {
        let server = TestServer::start().await;
        if let Some(bytes) = bytes {
            server.s3.put_source(object(), Bytes::copy_from_slice(bytes));
        }
        let failure = attempt(&server, &export).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::SourceLost, "{number}: {failure}");
        assert_eq!(stored_document(&server.s3, &export), None, "{number}");
        assert_eq!(server.shared.breaker.outage(), None, "{number}: S3 responded");
        // The export succeeds after the object is restored.
        server.s3.put_source(object(), DOCUMENT);
        let retried = attempt(&server, &export).await;
        assert_eq!(retried.is_ok(), number < 2, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn committed_bundle_does_not_need_the_source_object() {
    let (server, export) = (TestServer::start().await, export_of_object(None));
    server.s3.put_source(object(), DOCUMENT);
    let first = attempt(&server, &export).await.unwrap();
    server.s3.put_source(object(), "another one");
    let again = attempt(&server, &export).await.unwrap();
    assert_eq!(again.manifest_sha256, first.manifest_sha256);
    assert_eq!(again.artifacts, first.artifacts);
}

/// The copy of a previous attempt replaces the source.
#[tokio::test(start_paused = true)]
async fn export_succeeds_if_the_upload_is_gone_after_its_copy() {
    for kind in [StoreKind::S3, StoreKind::Local] {
        for is_copied in [true, false] {
            let server = TestServer::start().await;
            let (export, key) = export_of_upload(&server);
            let store = match kind {
                StoreKind::S3 => server.s3.clone(),
                StoreKind::Local => server.local.clone(),
            };
            let part_of_key = if is_copied { "/manifest.json" } else { "/exports/" };
            store.before_each(move |call: Call| {
                let fails = call.operation == Operation::Put && call.key.contains(part_of_key);
                async move { fails.then(|| Fault::Fail(unavailable())) }
            });
            let dynamic: Arc<dyn Store> = store.clone();
            attempt_in(&server, &dynamic, &export).await.unwrap_err();
            assert_eq!(stored_document(&store, &export).is_some(), is_copied);
            store.before_each(|_| async { None });
            server.s3.remove(&key);
            tokio::time::advance(server.shared.settings.outage_pause).await;
            let result = attempt_in(&server, &dynamic, &export).await;
            assert_eq!(is_committed(&store, &folder(&export, 1)), is_copied, "{kind}");
            if let Err(failure) = result {
                assert!(!is_copied && failure.reason == FailureReason::SourceLost, "{failure}");
            }
        }
    }
}

/// The store must confirm twice that the document is gone, with a pause in between.
#[tokio::test(start_paused = true)]
async fn export_fails_after_the_second_missing_document_check() {
    let (server, export) = (TestServer::start().await, export_of_object(None));
    let shared = &server.shared;
    let entry = server.record(&export).await;
    let job = server.job(&export).await;
    job.run.accept(export.accepted_time, Durability::LocalDisk);
    job.execute(&export, &entry, Origin::Journal).await;
    assert!(!job.run.has_ended());
    assert!(server.has_entry(&export).await);
    tokio::time::advance(shared.settings.loss_confirmation).await;
    job.execute(&export, &entry, Origin::Journal).await;
    assert!(job.run.has_ended());
    assert!(!server.has_entry(&export).await);
    let failed = shared.journal().unwrap().failure(export.export_id).await.unwrap().unwrap();
    assert_eq!(failed.failure().reason, FailureReason::SourceLost);
}

/// The fallback would need the document from S3, which does not respond.
#[tokio::test(start_paused = true)]
async fn export_whose_document_is_in_s3_waits_for_s3() {
    let server = TestServer::start().await;
    let (export, _) = export_of_upload(&server);
    let entry = server.record(&export).await;
    server.s3.set_unavailable(true);
    let job = server.job(&export).await;
    job.execute(&export, &entry, Origin::Request).await;
    assert!(!job.run.has_fallen_back() && !job.run.has_ended());
    assert_eq!(server.local.keys(), [""; 0]);
    assert_eq!(calls_on(&server.local, Operation::Put, ""), 0);
    let waiting = server.shared.backlog.get(&entry).unwrap();
    assert_eq!(waiting.last_failure.unwrap().reason, FailureReason::StoreUnavailable);
}

#[tokio::test]
async fn attachment_is_read_only_from_the_journal() {
    let server = TestServer::start().await;
    let crc64nvme = ContentChecksums::of(DOCUMENT).crc64nvme;
    let kind = DocumentKind::Before;
    let reference = Reference::Attachment { kind, crc64nvme };
    let export = export_with(1, "report.docx", document_in(reference, Some(Sha256::of(DOCUMENT))));
    assert!(have_attachments(&export.content.documents) && !need_s3(&export.content.documents));
    let gone = attempt(&server, &export).await.unwrap_err();
    assert_eq!(gone.reason, FailureReason::SourceLost, "{gone}");
    let journal = server.shared.journal().unwrap();
    let path = journal.attachment(export.export_id, export.content_digest, kind);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, DOCUMENT).unwrap();
    let committed = attempt(&server, &export).await.unwrap();
    assert_eq!(committed.stored_in, Some(StoreKind::S3));
    assert_eq!(stored_document(&server.s3, &export).unwrap(), DOCUMENT);
}

//! Uploads to S3 in streams and chunks, and exports that name them.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tara_export_bundle::Manifest;
use tara_export_client::proto::document::Kind;
use tara_export_digest::Sha256;
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    bundles,
    following::{committed, export, refused},
    harness::{
        Client, Host,
        in_s3::{assert_in_s3, verified_files},
        s3::store_of,
        until,
        uploads::{PART, bytes, chunk, create, get, messages, naming, send, sha256, uploaded},
        within,
    },
    requests::document,
    statuses::{expect_invalid, expect_status},
};

const DOCUMENT: &str = "documents/before_incident_report.docx";

/// Waits until this many bytes of an upload are committed.
async fn until_committed(client: &mut Client, name: &str, size: usize) {
    let waiting = async {
        while get(client, name).await.unwrap().committed_size_bytes != size as i64 {
            tokio::task::yield_now().await;
        }
    };
    within("the upload's checkpoint", waiting).await;
}

/// Sends a document in chunks to these servers in turn.
async fn send_chunks(clients: &mut [Client], name: &str, content: &Bytes) {
    for (number, start) in (0..content.len().max(1)).step_by(PART).enumerate() {
        let client = number % clients.len();
        let end = content.len().min(start + PART);
        let data = content.slice(start..end);
        let is_last = end == content.len();
        let upload = chunk(&mut clients[client], name, start, data, is_last).await.unwrap();
        assert_eq!(upload.committed_size_bytes, end as i64);
        assert_eq!(upload.sha256, if is_last { sha256(content) } else { String::new() });
    }
}

#[tokio::test]
async fn upload_of_any_size_is_copied_into_the_bundle() {
    for size in [0, 1, PART, PART + 1] {
        let s3 = TestS3::start().await;
        let host = Host::with_s3(store_of(&s3));
        let mut server = host.start().await;
        let content = bytes(size, 1);
        let upload = uploaded(&mut server.client, 1, &content).await;
        assert_eq!((upload.replica.as_str(), upload.size_bytes), ("", size as i64));
        assert!(upload.expire_time.is_some());
        s3.reset_requests();
        let export = committed(&mut server.client, naming(1, &upload.name)).await;
        assert_in_s3(&s3, &export);
        let files = verified_files(&s3, &export);
        assert!(files[DOCUMENT] == content, "{size}");
        let manifest = Manifest::parse(&files["manifest.json"]).unwrap();
        let artifact =
            manifest.artifacts.iter().find(|artifact| artifact.path.as_str() == DOCUMENT);
        assert_eq!(artifact.unwrap().sha256, Sha256::of(&content));
        // The content was not sent through the service.
        let of_document: Vec<Operation> = s3
            .requests()
            .into_iter()
            .filter(|request| request.key.ends_with(DOCUMENT) || request.key.ends_with("/document"))
            .map(|request| request.operation)
            .filter(|operation| *operation != Operation::HeadObject)
            .collect();
        let copied = |parts: usize| {
            let copies = std::iter::repeat_n(Operation::UploadPartCopy, parts);
            [Operation::CreateMultipartUpload]
                .into_iter()
                .chain(copies)
                .chain([Operation::CompleteMultipartUpload])
                .collect::<Vec<_>>()
        };
        match size {
            0 => assert_eq!(of_document, [Operation::PutObject]),
            _ => assert_eq!(of_document, copied(size.div_ceil(PART)), "{size}"),
        }
        assert_eq!(s3.open_uploads(), 0);
        let is_receipt = |file: &String| file.contains("/receipts/");
        until("the journal to empty", || host.files().iter().all(is_receipt)).await;
    }
}

#[tokio::test]
async fn upload_in_s3_can_be_exported_to_local_disk() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let content = bytes(PART + 1, 1);
    let upload = uploaded(&mut server.client, 1, &content).await;
    let mut request = naming(1, &upload.name);
    request.set_destination(tara_export_client::proto::Destination::Local);
    let export = committed(&mut server.client, request).await;
    let folder = host.folder(&export.folder_name);
    bundles::verify(&folder);
    assert!(std::fs::read(folder.join(DOCUMENT)).unwrap() == content);
}

#[tokio::test]
async fn interrupted_stream_resumes_after_its_last_complete_part() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let content = bytes(2 * PART + 3, 1);
    let name = create(&mut server.client, 1, content.len(), "").await.unwrap().name;
    let (sender, receiver) = mpsc::channel(1);
    let mut caller = server.client.clone();
    let call =
        tokio::spawn(async move { caller.upload_document(ReceiverStream::new(receiver)).await });
    // One part and a half.
    for message in messages(&name, &content, 0, true).into_iter().take(12) {
        within("the server to read on", sender.send(message)).await.unwrap();
    }
    let stored = async {
        while !s3.requests_of(Operation::UploadPart).iter().any(|part| part.status.is_some()) {
            tokio::task::yield_now().await;
        }
    };
    within("the first part", stored).await;
    call.abort();
    until_committed(&mut server.client, &name, PART).await;
    assert_eq!(get(&mut server.client, &name).await.unwrap().sha256, "");
    // The stream resumes at the right offset only, also on another replica.
    let status = send(&mut server.client, &name, &content, 12 * 1024 * 1024).await.unwrap_err();
    let info = expect_status(&status, Code::FailedPrecondition, "UPLOAD_OFFSET_MISMATCH");
    assert_eq!(info.metadata["committed_size_bytes"], PART.to_string());
    let mut other = Host::with_s3(store_of(&s3)).start().await;
    let upload = send(&mut other.client, &name, &content, PART).await.unwrap();
    assert_eq!(upload.sha256, sha256(&content));
    let export = committed(&mut server.client, naming(1, &name)).await;
    assert!(verified_files(&s3, &export)[DOCUMENT] == content);
}

#[tokio::test]
async fn incomplete_stream_commits_its_complete_parts() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let content = bytes(PART + 3 * 1024 * 1024, 1);
    let name = create(&mut server.client, 1, content.len(), "").await.unwrap().name;
    let some = messages(&name, &content, 0, true).into_iter().take(9);
    let response = server.client.upload_document(stream::iter(some).boxed()).await.unwrap();
    let upload = response.into_inner().upload.unwrap();
    assert_eq!((upload.committed_size_bytes, upload.sha256.as_str()), (PART as i64, ""));
    let upload = send(&mut server.client, &name, &content, PART).await.unwrap();
    assert_eq!(upload.sha256, sha256(&content));
    // After a lost response, sending all of it or the rest again gives the same upload.
    for offset in [0, PART] {
        let again = send(&mut server.client, &name, &content, offset).await.unwrap();
        assert_eq!(again, upload);
    }
}

#[tokio::test]
async fn chunks_can_go_to_different_replicas() {
    let s3 = TestS3::start().await;
    let (one, other) = (Host::with_s3(store_of(&s3)), Host::with_s3(store_of(&s3)));
    let (one, other) = (one.start().await, other.start().await);
    let mut clients = [one.client.clone(), other.client.clone()];
    for (number, size) in [(1, 2 * PART + 1), (2, PART), (3, 0)] {
        let content = bytes(size, number.into());
        let upload = create(&mut clients[0], number, size, "").await.unwrap();
        assert_eq!(upload.chunk_size_bytes, PART as i32);
        send_chunks(&mut clients, &upload.name, &content).await;
        let export = committed(&mut clients[1], naming(number, &upload.name)).await;
        assert!(verified_files(&s3, &export)[DOCUMENT] == content, "{size}");
    }
}

/// As behind a proxy that limits requests to 1 MiB. S3 requires parts of at least 5 MiB.
#[tokio::test]
async fn small_chunks_can_go_to_different_replicas() {
    let s3 = TestS3::start().await;
    let (one, other) = (Host::with_s3(store_of(&s3)), Host::with_s3(store_of(&s3)));
    let (one, other) = (one.start().await, other.start().await);
    let mut clients = [one.client.clone(), other.client.clone()];
    let content = bytes(PART + 1_500_000, 1);
    let upload = create(&mut clients[0], 1, content.len(), "").await.unwrap();
    let size = upload.min_chunk_size_bytes as usize;
    assert_eq!(size, 512 * 1024);
    let starts = (0..content.len()).step_by(size);
    for (start, client) in starts.zip([0, 1].into_iter().cycle()) {
        let end = content.len().min(start + size);
        let (data, finish) = (content.slice(start..end), end == content.len());
        let sent = chunk(&mut clients[client], &upload.name, start, data, finish).await.unwrap();
        assert_eq!(sent.committed_size_bytes, end as i64);
    }
    assert_eq!(s3.requests_of(Operation::UploadPart).len(), 2);
    let export = committed(&mut clients[1], naming(1, &upload.name)).await;
    assert!(verified_files(&s3, &export)[DOCUMENT] == content);
}

#[tokio::test]
async fn out_of_order_chunk_is_refused_and_repeated_chunk_accepted() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let client = &mut server.client;
    let content = bytes(2 * PART + 1, 1);
    let name = create(client, 1, content.len(), "").await.unwrap().name;
    let part = |number: usize| content.slice(number * PART..content.len().min((number + 1) * PART));

    let status = chunk(client, &name, PART, part(1), false).await.unwrap_err();
    let info = expect_status(&status, Code::FailedPrecondition, "UPLOAD_OFFSET_MISMATCH");
    assert_eq!(info.metadata["committed_size_bytes"], "0");
    for wrong in [bytes(512 * 1024 - 1, 1), Bytes::new(), bytes(1, 1), bytes(PART + 1, 1)] {
        let status = chunk(client, &name, 0, wrong, false).await.unwrap_err();
        expect_invalid(&status, "data");
    }
    for _ in 0..2 {
        let upload = chunk(client, &name, 0, part(0), false).await.unwrap();
        assert_eq!(upload.committed_size_bytes, PART as i64);
    }
    chunk(client, &name, PART, part(1), false).await.unwrap();
    // Repeating a previous chunk does not remove the next one.
    let upload = chunk(client, &name, 0, part(0), false).await.unwrap();
    assert_eq!(upload.committed_size_bytes, 2 * PART as i64);
    let status = chunk(client, &name, 2 * PART, bytes(2, 1), true).await.unwrap_err();
    expect_invalid(&status, "data");
    for _ in 0..2 {
        let upload = chunk(client, &name, 2 * PART, part(2), true).await.unwrap();
        assert_eq!(upload.sha256, sha256(&content));
    }
    let export = committed(client, naming(1, &name)).await;
    assert!(verified_files(&s3, &export)[DOCUMENT] == content);
}

#[tokio::test]
async fn existing_content_is_not_sent_again() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let content = bytes(100_000, 1);
    let digest = sha256(&content);
    let first = create(&mut server.client, 1, content.len(), &digest).await.unwrap();
    assert_eq!(first.sha256, "");
    let first = send(&mut server.client, &first.name, &content, 0).await.unwrap();
    s3.reset_requests();
    // For other requests and on other replicas.
    let mut other = Host::with_s3(store_of(&s3)).start().await;
    for (client, number) in [(&mut server.client, 0), (&mut other.client, 2)] {
        let again = create(client, number, content.len(), &digest).await.unwrap();
        assert_eq!(again, first);
        assert_eq!(again.sha256, digest);
    }
    for operation in [Operation::PutObject, Operation::UploadPart, Operation::CreateMultipartUpload]
    {
        let mut requests = s3.requests_of(operation);
        requests.retain(|request| request.key.contains("/uploads/"));
        assert!(requests.is_empty(), "{requests:?}");
    }
}

#[tokio::test]
async fn upload_id_reuse_with_another_size_is_refused() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let first = create(&mut server.client, 1, 3, "").await.unwrap();
    assert_eq!(create(&mut server.client, 1, 3, "").await.unwrap(), first);
    let status = create(&mut server.client, 1, 4, "").await.unwrap_err();
    expect_status(&status, Code::AlreadyExists, "UPLOAD_ID_REUSED");
    assert_eq!(s3.open_uploads(), 1);
}

#[tokio::test]
async fn inline_and_uploaded_documents_are_the_same_content() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let content = bytes(1000, 1);
    let inline = |number, content: &Bytes| {
        let mut request = naming(number, "");
        request.documents[0] = document(Kind::Before, content.to_vec());
        request
    };
    let upload = uploaded(&mut server.client, 1, &content).await.name;
    let first = export(&mut server.client, inline(1, &content)).await;
    let again = export(&mut server.client, naming(1, &upload)).await;
    assert_eq!(again.numbered(), first.numbered());
    let first = export(&mut server.client, naming(2, &upload)).await;
    let again = export(&mut server.client, inline(2, &content)).await;
    assert_eq!(again.numbered(), first.numbered());
    // Other bytes of the same size.
    let other = uploaded(&mut server.client, 2, &bytes(1000, 2)).await.name;
    for request in [naming(1, &other), inline(2, &bytes(1000, 2))] {
        let status = refused(&mut server.client, request).await;
        expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    assert_in_s3(&s3, &first.completed());
}

/// Two streams of one document, as after a reconnection while the old stream is still open.
#[tokio::test]
async fn concurrent_streams_of_one_upload_make_one_document() {
    let s3 = TestS3::start().await;
    let (one, other) = (Host::with_s3(store_of(&s3)), Host::with_s3(store_of(&s3)));
    let (mut one, mut other) = (one.start().await, other.start().await);
    let content = bytes(2 * PART + 1, 1);
    let name = create(&mut one.client, 1, content.len(), "").await.unwrap().name;
    // The parts of the slower stream find no multipart upload.
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::UploadPart).times(1));
    let faster = async {
        until("the slower stream to be blocked", || s3.fault_hits(held) == 1).await;
        let upload = send(&mut one.client, &name, &content, 0).await.unwrap();
        s3.clear_fault(held);
        upload
    };
    let (slower, upload) = futures::join!(send(&mut other.client, &name, &content, 0), faster);
    assert_eq!(upload.sha256, sha256(&content));
    assert_eq!(slower.unwrap(), upload);
    assert_eq!(s3.open_uploads(), 0);
    let export = committed(&mut other.client, naming(1, &name)).await;
    assert!(verified_files(&s3, &export)[DOCUMENT] == content);
}

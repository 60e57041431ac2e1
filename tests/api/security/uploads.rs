//! Uploads of authenticated callers.

use tara_export_client::proto::{
    CreateUploadRequest, StartExportRequest, Upload, UploadChunkRequest, UploadDocumentRequest,
    document::Kind, export_event::Event,
};
use tara_export_test_support::TestS3;
use tonic::{Code, Request, Status};

use crate::{
    harness::{
        Client, Host, connect,
        s3::store_of,
        tokens::{flag, text},
        uploads::{bytes, messages, named, sha256},
        within,
    },
    requests::{id, request},
    statuses::expect_status,
};

/// A request of this caller.
fn request_of<T>(caller: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("Bearer {}", text(caller)).parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    request
}

async fn create(client: &mut Client, caller: &str, size: usize, sha256: &str) -> Upload {
    let request = CreateUploadRequest {
        request_id: id(1),
        size_bytes: size as i64,
        sha256: sha256.to_owned(),
    };
    client.create_upload(request_of(caller, request)).await.unwrap().into_inner().upload.unwrap()
}

async fn chunk(
    client: &mut Client,
    caller: &str,
    name: &str,
    data: &[u8],
) -> Result<Upload, Status> {
    let request = UploadChunkRequest {
        name: name.to_owned(),
        offset: 0,
        data: data.to_vec().into(),
        finish: true,
    };
    let response = within("a response", client.upload_chunk(request_of(caller, request))).await?;
    Ok(response.into_inner().upload.unwrap())
}

async fn stream(
    client: &mut Client,
    caller: &str,
    messages: Vec<UploadDocumentRequest>,
) -> Result<Upload, Status> {
    let call = client.upload_document(request_of(caller, futures::stream::iter(messages)));
    Ok(within("a response", call).await?.into_inner().upload.unwrap())
}

async fn is_accepted(client: &mut Client, caller: &str, request: StartExportRequest) -> bool {
    let mut events = client.start_export(request_of(caller, request)).await.unwrap().into_inner();
    let first = within("an event", events.message()).await.unwrap().unwrap();
    matches!(first.event, Some(Event::Accepted(_)))
}

#[tokio::test]
async fn only_its_caller_writes_to_an_unfinished_upload() {
    let folder = tempfile::tempdir().unwrap();
    let flag = flag(folder.path(), &[("ada", &["export"]), ("bob", &["export"])]);
    let s3 = TestS3::start().await;
    for host in [Host::new(), Host::with_s3(store_of(&s3))] {
        // A slow machine must not cause uploads to disk.
        let (server, _disk) = host.serve(&[&flag, "--accept-timeout=60s"]).await;
        let client = &mut connect(server.address()).await;
        let (document, wrong) = (bytes(1000, 1), bytes(1000, 2));
        for digest in ["", &sha256(&document)] {
            let ada_upload = create(client, "ada", document.len(), digest).await.name;
            // The same request of another caller is another request.
            let bob_upload = create(client, "bob", document.len(), digest).await.name;
            assert_ne!(ada_upload, bob_upload);
            // Another caller that knows the name cannot send any bytes.
            for content in [&wrong, &document] {
                let as_chunk = chunk(client, "bob", &ada_upload, content).await;
                let as_stream =
                    stream(client, "bob", messages(&ada_upload, content, 0, true)).await;
                for status in [as_chunk, as_stream].map(Result::unwrap_err) {
                    expect_status(&status, Code::NotFound, "UPLOAD_NOT_FOUND");
                    assert!(status.message().contains("another caller"), "{status:?}");
                }
            }
            let finished = chunk(client, "ada", &ada_upload, &document).await.unwrap();
            assert_eq!(finished.sha256, sha256(&document));
            // A finished upload is visible to others and does not change.
            assert_eq!(chunk(client, "bob", &ada_upload, &wrong).await.unwrap(), finished);
        }
        let shared = create(client, "bob", document.len(), &sha256(&document)).await;
        assert_eq!(shared.sha256, sha256(&document));
        let mut request = request(1, "incident report.docx");
        request.documents[0] = named(Kind::Before, &shared.name);
        assert!(is_accepted(client, "bob", request).await);
    }
}

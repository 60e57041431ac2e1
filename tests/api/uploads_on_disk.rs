//! Uploads while S3 is unavailable: they are stored on disk, and nothing is lost.

use std::fs;

use tara_export_client::proto::{
    Accepted, Destination, accepted::Durability, export::State, export_event::Event,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tonic::Code;

use crate::{
    bundles,
    following::{committed, export, next},
    harness::{
        Host,
        in_s3::{assert_in_s3, verified_files},
        s3::store_of,
        until,
        uploads::{PART, QUICK_WITH_LARGE, bytes, create, get, naming, send, sha256, uploaded},
        waiting::until_state,
    },
    requests::name,
    statuses::expect_status,
};

const DOCUMENT: &str = "documents/before_incident_report.docx";

/// The files of the journal, including documents.
fn journal(host: &Host) -> Vec<String> {
    let mut files = host.files();
    files.retain(|file| file.starts_with(".tara-export/journal/"));
    files
}

#[tokio::test]
async fn uploads_and_bundles_without_a_bucket_are_on_disk() {
    for size in [0, 1, PART + 1] {
        let host = Host::new();
        let mut server = host.start().await;
        let content = bytes(size, 1);
        let upload = uploaded(&mut server.client, 1, &content).await;
        assert_eq!(upload.replica, "replica-1");
        let export = committed(&mut server.client, naming(1, &upload.name)).await;
        bundles::verify(&host.folder(&export.folder_name));
        let stored = fs::read(host.folder(&export.folder_name).join(DOCUMENT)).unwrap();
        assert!(stored == content, "{size}");
        // The bundle needs neither the journal's link to the file nor the upload.
        until("the journal to empty", || journal(&host).is_empty()).await;
    }
}

#[tokio::test]
async fn upload_on_disk_resumes_at_its_checkpoint_after_a_restart() {
    let host = Host::new();
    let mut server = host.start().await;
    let content = bytes(PART + 1000, 1);
    let name = create(&mut server.client, 1, content.len(), "").await.unwrap().name;
    let some = crate::harness::uploads::messages(&name, &content, 0, false).into_iter().take(3);
    let stream = futures::StreamExt::boxed(futures::stream::iter(some));
    let response = server.client.upload_document(stream).await.unwrap().into_inner();
    let committed_size = response.upload.unwrap().committed_size_bytes as usize;
    assert_eq!(committed_size, 3 * 1024 * 1024);
    server.stop().await;
    // Bytes after the checkpoint are not committed.
    let files = host.files();
    let document = files.iter().find(|file| file.ends_with("/document")).unwrap();
    let path = host.data_dir().join(document);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([7; 99]);
    fs::write(&path, bytes).unwrap();

    let mut server = host.start().await;
    let upload = get(&mut server.client, &name).await.unwrap();
    assert_eq!(upload.committed_size_bytes as usize, committed_size);
    let status = send(&mut server.client, &name, &content, 0).await.unwrap_err();
    let info = expect_status(&status, Code::FailedPrecondition, "UPLOAD_OFFSET_MISMATCH");
    assert_eq!(info.metadata["committed_size_bytes"], committed_size.to_string());
    let upload = send(&mut server.client, &name, &content, committed_size).await.unwrap();
    assert_eq!(upload.sha256, sha256(&content));
    let export = committed(&mut server.client, naming(1, &name)).await;
    bundles::verify(&host.folder(&export.folder_name));
}

#[tokio::test]
async fn upload_in_an_outage_is_kept_on_disk_falls_back_and_is_synced() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    s3.stop();
    let content = bytes(PART + 1, 1);
    let digest = sha256(&content);
    let upload = create(&mut server.client, 1, content.len(), &digest).await.unwrap();
    assert_eq!(upload.replica, "replica-1");
    let upload = send(&mut server.client, &upload.name, &content, 0).await.unwrap();
    let fallback = committed(&mut server.client, naming(1, &upload.name)).await;
    assert_eq!((fallback.state(), fallback.stored_in()), (State::FellBack, Destination::Local));
    bundles::verify(&host.folder(&fallback.folder_name));
    assert!(journal(&host).iter().any(|file| file.ends_with(".before")), "{:?}", journal(&host));
    server.stop().await;

    // The upload may have been removed by then: the journal has its own link to the file.
    let id = upload.name.strip_prefix("uploads/").unwrap();
    fs::remove_dir_all(host.data_dir().join(".tara-export/uploads").join(id)).unwrap();
    let mut server = host.start().await;
    // Without the attempt marker of the entry.
    let mut files_left = journal(&host);
    files_left.retain(|file| !file.contains("/attempts/"));
    assert_eq!(files_left.len(), 2, "{files_left:?}");
    s3.restart().await.unwrap();
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
    assert!(verified_files(&s3, &export)[DOCUMENT] == content);
    until("the local files to be removed", || {
        journal(&host).is_empty() && bundles::folders(&host.data_dir()).is_empty()
    })
    .await;
}

#[tokio::test]
async fn export_of_an_upload_in_unavailable_s3_waits() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    let content = bytes(PART + 1, 1);
    let upload = uploaded(&mut server.client, 1, &content).await;
    s3.stop();
    let stream = server.client.start_export(naming(1, &upload.name)).await.unwrap();
    let mut stream = stream.into_inner();
    let first = next(&mut stream).await.event;
    assert!(matches!(first, Some(Event::Accepted(_))), "{first:?}");
    let pending = until_state(&mut server.client, &name(1), State::Pending).await;
    assert_eq!(pending.state_reason, "STORE_UNAVAILABLE");
    assert!(bundles::folders(&host.data_dir()).is_empty());
    // A restart loses the cached state of the upload, but nothing that the export needs.
    server.stop().await;
    let mut server = host.start().await;
    s3.restart().await.unwrap();
    let export = until_state(&mut server.client, &name(1), State::Committed).await;
    assert_in_s3(&s3, &export);
    assert!(verified_files(&s3, &export)[DOCUMENT] == content);
    assert!(bundles::folders(&host.data_dir()).is_empty());
}

#[tokio::test]
async fn local_export_of_an_upload_in_unavailable_s3_waits() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    let content = bytes(1000, 1);
    let upload = uploaded(&mut server.client, 1, &content).await;
    s3.stop();
    let mut request = naming(1, &upload.name);
    request.set_destination(Destination::Local);
    let stream = server.client.start_export(request).await.unwrap();
    until_state(&mut server.client, &name(1), State::Pending).await;
    s3.restart().await.unwrap();
    let export = crate::following::follow(stream.into_inner()).await.completed();
    assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::Local));
    bundles::verify(&host.folder(&export.folder_name));
}

/// The document is on this machine only, even if the journal is in S3.
#[tokio::test]
async fn document_on_disk_is_reported_with_local_durability() {
    let s3 = TestS3::start().await;
    let bucket = format!("--s3-bucket-name={}", s3.bucket());
    let host =
        Host::with_s3(store_of(&s3)).flags(&["--journal=store", &bucket]).flags(&QUICK_WITH_LARGE);
    let mut server = host.start().await;
    let rule = FaultRule::new(Fault::SERVICE_UNAVAILABLE).on(Operation::CreateMultipartUpload);
    let fault = s3.fail(rule);
    let upload = uploaded(&mut server.client, 1, &bytes(1000, 1)).await;
    assert_eq!(upload.replica, "replica-1");
    s3.clear_fault(fault);
    let followed = export(&mut server.client, naming(1, &upload.name)).await;
    let Some(Event::Accepted(accepted)) = followed.events[0].event else { panic!("{followed:?}") };
    let Accepted { durability, .. } = accepted;
    assert_eq!(durability, i32::from(Durability::LocalDisk));
    assert!(s3.requests().iter().all(|request| !request.key.contains("/journal/")));
    assert_in_s3(&s3, &followed.completed());
}

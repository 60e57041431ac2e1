//! Content that was accepted in an outage under an id that belongs to other content. It is stored under a derived id,
//! which is the same on every replica.

use tara_export_client::proto::{Destination, export::State};
use uuid::Uuid;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{Followed, committed, export, follow, watch},
    harness::{
        Client, Host, QUICK, TestServer,
        waiting::{read, until_files, until_state},
        within,
    },
    requests::{id, name, request, s3_or_nothing},
};

/// An S3 in which the first id belongs to other content.
async fn s3_with_used_id() -> std::sync::Arc<FakeS3> {
    let s3 = FakeS3::new(Mode::Works);
    let owner = Host::with_s3(s3.clone());
    committed(&mut owner.start().await.client, request(1, "first.docx")).await;
    s3
}

/// Checks that the complete content is stored under its derived id. Returns that id.
async fn assert_stored_under_derived_id(
    s3: &FakeS3,
    client: &mut Client,
    followed: &Followed,
    document: &str,
) -> Uuid {
    let (failed, _) = followed.failed();
    assert_eq!(failed.reason, "REQUEST_ID_REUSED");
    let export = read(client, &failed.stored_under).await;
    assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
    assert_eq!(export.document_name, document);
    let manifest = bundles::verify(&s3.root().join(&export.folder_name));
    let first: Uuid = id(1).parse().unwrap();
    let derived = Uuid::new_v5(&first, manifest.content_digest.as_bytes());
    assert_eq!(failed.stored_under, format!("exports/{derived}"));
    derived
}

/// Accepts a request while S3 is blocked, then lets S3 continue until it has the claim.
async fn accept_then_claim(
    s3: &FakeS3,
    server: &mut TestServer,
    request: tara_export_client::proto::StartExportRequest,
) -> tonic::Streaming<tara_export_client::proto::ExportEvent> {
    s3.set(Mode::HoldsAll);
    let start = server.client.start_export(request);
    let stream = within("accepted without the store", start).await.unwrap().into_inner();
    s3.set(Mode::HoldsArtifacts);
    s3.until_held(s3.held() + 1).await;
    stream
}

#[tokio::test]
async fn fallback_is_synced_under_the_derived_id_and_recorded() {
    let s3 = s3_with_used_id().await;
    s3.set(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "second.docx")).await;
    assert_eq!((local.state(), local.name), (State::FellBack, name(1)));
    s3.set(Mode::Works);
    until_state(&mut server.client, &name(1), State::Failed).await;
    let followed = watch(&mut server.client, &name(1)).await;
    let derived =
        assert_stored_under_derived_id(&s3, &mut server.client, &followed, "second.docx").await;
    let left = [
        format!(".tara-export/failed/{}.json", id(1)),
        format!(".tara-export/receipts/{derived}.json"),
    ];
    until_files(&host, &left).await;

    // After a restart, the response is the same, and no second bundle is made.
    server.stop().await;
    let mut server = host.start().await;
    let again = export(&mut server.client, request(1, "second.docx")).await;
    assert_eq!(
        assert_stored_under_derived_id(&s3, &mut server.client, &again, "second.docx").await,
        derived
    );
    assert_eq!(bundles::folders(s3.root()).len(), 2);
}

#[tokio::test]
async fn every_replica_derives_the_same_id() {
    let s3 = s3_with_used_id().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=10m"];
    let mut ids = Vec::new();
    for document in ["second.docx", "third.docx", "second.docx"] {
        let host = Host::with_s3(s3.clone()).flags(&flags);
        let mut server = host.start().await;
        s3.set(Mode::HoldsAll);
        let start = server.client.start_export(request(1, document));
        let stream = within("accepted without the store", start).await.unwrap().into_inner();
        s3.set(Mode::Works);
        let followed = follow(stream).await;
        ids.push(
            assert_stored_under_derived_id(&s3, &mut server.client, &followed, document).await,
        );
    }
    assert_eq!(ids[0], ids[2]);
    assert_eq!(bundles::folders(s3.root()).len(), 3);
}

#[tokio::test]
async fn local_store_keeps_the_request_id() {
    let s3 = s3_with_used_id().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=5s", "--s3-outage-pause=10ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let stream = accept_then_claim(&s3, &mut server, request(1, "second.docx")).await;
    s3.set(Mode::Down);
    let local = follow(stream).await.completed();
    assert_eq!((local.state(), local.name), (State::FellBack, name(1)));
    s3.set(Mode::Works);
    until_state(&mut server.client, &name(1), State::Failed).await;
    let followed = watch(&mut server.client, &name(1)).await;
    assert_stored_under_derived_id(&s3, &mut server.client, &followed, "second.docx").await;
}

#[tokio::test]
async fn content_without_fallback_is_stored_under_the_derived_id() {
    let s3 = s3_with_used_id().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=5s", "--s3-outage-pause=10ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let stream = accept_then_claim(&s3, &mut server, s3_or_nothing(1, "second.docx")).await;
    s3.set(Mode::Down);
    // Another replica may be working on the derived id.
    until_state(&mut server.client, &name(1), State::Pending).await;
    s3.set(Mode::Works);
    let followed = follow(stream).await;
    assert_stored_under_derived_id(&s3, &mut server.client, &followed, "second.docx").await;
}

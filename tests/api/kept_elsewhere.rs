//! Content accepted in an outage under an id that turns out to be another content's. It is kept under
//! an id that every replica derives alike.

use tara_export::proto::{Destination, export::State};
use uuid::Uuid;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{Followed, committed, export, follow, watch},
    harness::{Client, Host, TestServer, within},
    journal::{QUICK, read, until, until_files},
    requests::{id, name, request, s3_or_nothing},
};

/// An S3 where the first id is another content's.
async fn s3_with_the_id_used() -> std::sync::Arc<FakeS3> {
    let s3 = FakeS3::new(Mode::Works);
    let there = Host::with_s3(s3.clone());
    committed(&mut there.start().await.client, request(1, "first.docx")).await;
    s3
}

/// Checks that the content is kept, whole, under the id that design, section 3, step 4 says. That id.
async fn kept(s3: &FakeS3, client: &mut Client, followed: &Followed, document: &str) -> Uuid {
    let (failed, _) = followed.failed();
    assert_eq!(failed.reason, "REQUEST_ID_REUSED");
    let export = read(client, &failed.kept_as).await;
    assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
    assert_eq!(export.document_name, document);
    let manifest = bundles::whole(&s3.root().join(&export.folder_name));
    let first: Uuid = id(1).parse().unwrap();
    let derived = Uuid::new_v5(&first, manifest.content_digest.as_bytes());
    assert_eq!(failed.kept_as, format!("exports/{derived}"));
    derived
}

/// Accepts a request while S3 is silent, and lets S3 go on until it has taken the claim.
async fn accepted_then_claimed(
    s3: &FakeS3,
    server: &mut TestServer,
    request: tara_export::proto::StartExportRequest,
) -> tonic::Streaming<tara_export::proto::ExportEvent> {
    s3.set(Mode::HoldsAll);
    let start = server.client.start_export(request);
    let stream = within("accepted without the store", start).await.unwrap().into_inner();
    s3.set(Mode::HoldsArtifacts);
    s3.until_held(s3.held() + 1).await;
    stream
}

#[tokio::test]
async fn what_fell_back_is_sent_under_the_derived_id_and_the_note_says_so() {
    let s3 = s3_with_the_id_used().await;
    s3.set(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&QUICK);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "second.docx")).await;
    assert_eq!((local.state(), local.name), (State::FellBack, name(1)));
    s3.set(Mode::Works);
    until(&mut server.client, &name(1), State::Failed).await;
    let followed = watch(&mut server.client, &name(1)).await;
    let derived = kept(&s3, &mut server.client, &followed, "second.docx").await;
    let left = [
        format!(".tara-export/failed/{}.json", id(1)),
        format!(".tara-export/receipts/{derived}.json"),
    ];
    until_files(&host, &left).await;

    // A later process says the same, and makes no second bundle.
    server.stop().await;
    let mut server = host.start().await;
    let again = export(&mut server.client, request(1, "second.docx")).await;
    assert_eq!(kept(&s3, &mut server.client, &again, "second.docx").await, derived);
    assert_eq!(bundles::folders(s3.root()).len(), 2);
}

#[tokio::test]
async fn every_replica_derives_the_same_id() {
    let s3 = s3_with_the_id_used().await;
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
        ids.push(kept(&s3, &mut server.client, &followed, document).await);
    }
    assert_eq!(ids[0], ids[2]);
    assert_eq!(bundles::folders(s3.root()).len(), 3);
}

#[tokio::test]
async fn the_local_store_has_it_under_its_own_id() {
    let s3 = s3_with_the_id_used().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=5s", "--s3-outage-pause=10ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let stream = accepted_then_claimed(&s3, &mut server, request(1, "second.docx")).await;
    s3.set(Mode::Down);
    let local = follow(stream).await.completed();
    assert_eq!((local.state(), local.name), (State::FellBack, name(1)));
    s3.set(Mode::Works);
    until(&mut server.client, &name(1), State::Failed).await;
    let followed = watch(&mut server.client, &name(1)).await;
    kept(&s3, &mut server.client, &followed, "second.docx").await;
}

#[tokio::test]
async fn without_fallback_it_is_not_lost_either() {
    let s3 = s3_with_the_id_used().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=5s", "--s3-outage-pause=10ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    let stream = accepted_then_claimed(&s3, &mut server, s3_or_nothing(1, "second.docx")).await;
    s3.set(Mode::Down);
    // Under the derived id another replica may be at it.
    until(&mut server.client, &name(1), State::Pending).await;
    s3.set(Mode::Works);
    let followed = follow(stream).await;
    kept(&s3, &mut server.client, &followed, "second.docx").await;
}

//! Outages of S3: what the caller receives, and where the bundle is stored.

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tara_export_client::proto::{
    Destination, Export, GetExportRequest, ListExportsRequest, export::State, export_event::Event,
};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{ClosedPort, FakeS3, Mode, SilentServer},
    following::{Followed, committed, export, follow, next_where, refused},
    harness::{Host, waiting::read, within},
    requests::{id, name, request, s3_or_nothing},
    statuses::expect_status,
};

const NO_FILES: [&str; 0] = [];

/// The reason of the only `fell_back` event.
fn fallback_reason(followed: &Followed) -> String {
    let reasons: Vec<&String> = followed
        .events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::FellBack(fell_back)) => {
                assert!(!fell_back.message.is_empty());
                Some(&fell_back.reason)
            }
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons[0].clone()
}

fn assert_local(host: &Host, export: &Export) {
    assert_eq!(export.state(), State::FellBack);
    assert_eq!(export.stored_in(), Destination::Local);
    assert_eq!(export.requested_destination(), Destination::S3);
    let folder = host.folder(&export.folder_name);
    assert_eq!(export.location, format!("{}/", folder.display()));
    bundles::verify(&folder);
}

#[tokio::test]
async fn unavailable_s3_falls_back_to_disk_with_an_event() {
    let port = ClosedPort::new();
    let host = Host::with_s3(port.store()).flags(&["--s3-retry-budget=300ms"]);
    let mut server = host.start().await;
    let followed = export(&mut server.client, request(1, "incident report.docx")).await;
    let kinds = followed.kinds();
    assert_eq!(kinds[0], "accepted");
    assert_eq!(kinds[1], "fell_back");
    assert_eq!(fallback_reason(&followed), "STORE_UNAVAILABLE");
    let export = followed.completed();
    assert_eq!(export.state_reason, "STORE_UNAVAILABLE");
    assert_local(&host, &export);
    let progress = followed.events.last().unwrap().progress.unwrap();
    assert_eq!(progress.artifacts_done, progress.artifacts_total);
    assert_eq!(read(&mut server.client, &name(1)).await.state(), State::FellBack);
}

#[tokio::test]
async fn repeated_request_finds_the_fallback() {
    let port = ClosedPort::new();
    let host = Host::with_s3(port.store()).flags(&["--s3-retry-budget=300ms"]);
    let mut server = host.start().await;
    let first = export(&mut server.client, request(1, "incident report.docx")).await;
    let again = export(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(again.numbered(), first.numbered());
    server.stop().await;

    let mut server = host.start().await;
    let later = export(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(later.kinds(), ["accepted", "completed"]);
    assert_local(&host, &later.completed());
    assert_eq!(later.completed().folder_name, first.completed().folder_name);
    // The reason why it is not in S3 yet may have been updated.
    let mut read = read(&mut server.client, &name(1)).await;
    read.state_reason = later.completed().state_reason;
    assert_eq!(later.completed(), read);
    assert_eq!(bundles::folders(&host.data_dir()).len(), 1);
    let mut other = request(1, "incident report.docx");
    other.documents.pop();
    let status = refused(&mut server.client, other).await;
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn exports_use_s3_again_after_an_outage_without_duplicates() {
    let s3 = FakeS3::new(Mode::Down);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=300ms"]);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_local(&host, &local);
    server.stop().await;

    s3.set(Mode::Works);
    let mut server = host.start().await;
    let again = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(again.accepted_time, local.accepted_time);
    let export = committed(&mut server.client, request(2, "incident report.docx")).await;
    assert_eq!(export.state(), State::Committed);
    assert_eq!(export.stored_in(), Destination::S3);
    assert_eq!(export.location, format!("s3://bucket/tara/{}/", export.folder_name));
    bundles::verify(&s3.root().join(&export.folder_name));
    let in_s3 = async {
        while read(&mut server.client, &name(1)).await.state() != State::Committed {
            tokio::task::yield_now().await;
        }
    };
    within("the first bundle to be synced", in_s3).await;
    assert_eq!(bundles::folders(s3.root()).len(), 2);
}

#[tokio::test]
async fn short_failure_is_retried_with_an_event() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    let start = server.client.start_export(request(1, "incident report.docx"));
    let mut stream = start.await.unwrap().into_inner();
    s3.until_held(1).await;
    s3.set(Mode::Down);
    let retrying = |event: &Event| matches!(event, Event::ArtifactRetrying(_));
    let event = next_where(&mut stream, retrying).await;
    let Some(Event::ArtifactRetrying(update)) = event.event else { unreachable!() };
    assert_eq!((update.attempt, update.bytes_done), (2, 0));
    assert!(update.reason.contains("S3 is down in this test"), "{}", update.reason);
    s3.set(Mode::Works);
    let export = follow(stream).await.completed();
    assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
    bundles::verify(&s3.root().join(&export.folder_name));
    assert_eq!(bundles::folders(&host.data_dir()), [""; 0]);
}

#[tokio::test]
async fn outage_during_a_bundle_restarts_it_on_disk() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=1s"]);
    let mut server = host.start().await;
    let start = server.client.start_export(request(1, "incident report.docx"));
    let stream = start.await.unwrap().into_inner();
    s3.until_held(1).await;
    s3.set(Mode::Down);
    let followed = follow(stream).await;
    let kinds = followed.kinds();
    let fallback_at = kinds.iter().position(|kind| kind == "fell_back").unwrap();
    assert!(kinds[..fallback_at].iter().any(|kind| kind.starts_with("started")), "{kinds:?}");
    assert!(!kinds[..fallback_at].iter().any(|kind| kind.starts_with("stored")), "{kinds:?}");
    assert_eq!(fallback_reason(&followed), "STORE_UNAVAILABLE");
    assert_local(&host, &followed.completed());
    assert!(!s3.root().join(&followed.completed().folder_name).join("manifest.json").exists());
}

#[tokio::test]
async fn outage_without_fallback_fails_and_leaves_nothing() {
    let port = ClosedPort::new();
    let host = Host::with_s3(port.store()).flags(&["--s3-retry-budget=300ms"]);
    let mut server = host.start().await;
    let status = refused(&mut server.client, s3_or_nothing(1, "incident report.docx")).await;
    expect_status(&status, Code::Unavailable, "STORE_UNAVAILABLE");
    assert_eq!(host.files(), NO_FILES);
}

#[tokio::test]
async fn local_bundles_can_be_listed_during_an_outage() {
    let port = ClosedPort::new();
    let host = Host::with_s3(port.store()).flags(&["--s3-retry-budget=300ms"]);
    let mut server = host.start().await;
    export(&mut server.client, request(1, "incident report.docx")).await.completed();
    let everywhere = ListExportsRequest::default();
    let status = server.client.list_exports(everywhere).await.unwrap_err();
    expect_status(&status, Code::Unavailable, "STORE_UNAVAILABLE");
    let filter = "stored_in = DESTINATION_LOCAL";
    assert!(status.message().contains(filter), "{}", status.message());
    let local = ListExportsRequest { filter: filter.to_owned(), ..Default::default() };
    let page = server.client.list_exports(local).await.unwrap().into_inner();
    assert_eq!(page.exports[0].name, name(1));
}

#[tokio::test]
async fn refused_id_can_be_used_again() {
    let s3 = FakeS3::new(Mode::Down);
    let flags = ["--s3-retry-budget=2s", "--s3-outage-pause=0ms"];
    let host = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = host.start().await;
    refused(&mut server.client, s3_or_nothing(1, "incident report.docx")).await;
    s3.set(Mode::Works);
    let status = server.client.get_export(GetExportRequest { name: name(1) }).await.unwrap_err();
    expect_status(&status, Code::NotFound, "EXPORT_NOT_FOUND");
    let page = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
    assert!(page.into_inner().exports.is_empty());
    // The id is free for other content, too.
    let export = committed(&mut server.client, s3_or_nothing(1, "another.docx")).await;
    assert_eq!(export.state(), State::Committed);
}

#[tokio::test]
async fn late_failure_without_fallback_is_an_event_and_is_remembered() {
    let silent = SilentServer::start().await;
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=300ms"];
    let host = Host::with_s3(silent.store()).flags(&flags);
    let mut server = host.start().await;
    let followed = export(&mut server.client, s3_or_nothing(1, "incident report.docx")).await;
    assert_eq!(followed.kinds(), ["accepted", "failed"]);
    let (failed, status) = followed.failed();
    assert_eq!((failed.reason.as_str(), failed.stored_under.as_str()), ("STORE_UNAVAILABLE", ""));
    expect_status(&status, Code::Unavailable, "STORE_UNAVAILABLE");
    assert_eq!(host.files(), [format!(".tara-export/failed/{}.json", id(1))]);
    let export = read(&mut server.client, &name(1)).await;
    assert_eq!(
        (export.state(), export.state_reason.as_str()),
        (State::Failed, "STORE_UNAVAILABLE")
    );
    assert_eq!(export.stored_in(), Destination::Unspecified);

    let again =
        crate::following::export(&mut server.client, s3_or_nothing(1, "incident report.docx"))
            .await;
    assert_eq!(again.numbered(), followed.numbered());
    assert_eq!(again.failed().1.code(), Code::Unavailable);
}

#[tokio::test]
async fn content_accepted_under_a_used_id_is_stored_under_a_derived_id() {
    let s3 = FakeS3::new(Mode::Works);
    let owner = Host::with_s3(s3.clone());
    let first = committed(&mut owner.start().await.client, request(1, "first.docx")).await;

    s3.set(Mode::HoldsAll);
    let flags = ["--accept-timeout=10ms", "--s3-retry-budget=10m"];
    let replica = Host::with_s3(s3.clone()).flags(&flags);
    let mut server = replica.start().await;
    let start = server.client.start_export(request(1, "second.docx"));
    let stream = within("accepted without the store", start).await.unwrap().into_inner();
    s3.set(Mode::Works);
    let followed = follow(stream).await;
    let (failed, status) = followed.failed();
    assert_eq!(failed.reason, "REQUEST_ID_REUSED");
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let stored = read(&mut server.client, &failed.stored_under).await;
    assert_eq!((stored.state(), stored.document_name.as_str()), (State::Committed, "second.docx"));
    for folder in [&first.folder_name, &stored.folder_name] {
        bundles::verify(&s3.root().join(folder));
    }
    // A server that can read S3 still refuses the same content.
    let status = refused(&mut owner.start().await.client, request(1, "second.docx")).await;
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn s3_destination_without_a_bucket_is_refused() {
    let host = Host::new();
    let mut server = host.start().await;
    let status = refused(&mut server.client, s3_or_nothing(1, "incident report.docx")).await;
    expect_status(&status, Code::FailedPrecondition, "NO_BUCKET");
    assert!(!host.data_dir().exists());
}

#[tokio::test]
async fn unwritable_local_store_refuses_exports_and_recovers() {
    let host = Host::new();
    let mut server = host.start().await;
    std::fs::write(host.data_dir(), "a conflicting file").unwrap();
    let status = refused(&mut server.client, request(1, "incident report.docx")).await;
    expect_status(&status, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    assert!(status.message().contains(host.data_dir().to_str().unwrap()), "{}", status.message());
    // Reads still work.
    let page = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
    assert!(page.into_inner().exports.is_empty());

    std::fs::remove_file(host.data_dir()).unwrap();
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    bundles::verify(&host.folder(&export.folder_name));
}

#[tokio::test]
async fn fallbacks_are_counted_with_their_reason() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    // The test's runtime has this one thread.
    let _guard = metrics::set_default_local_recorder(&recorder);
    let port = ClosedPort::new();
    let host = Host::with_s3(port.store()).flags(&["--s3-retry-budget=300ms"]);
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    let counted: Vec<(String, String, u64)> = snapshots
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| {
            let labels =
                key.key().labels().map(|label| format!("{}={}", label.key(), label.value()));
            let DebugValue::Counter(count) = value else { return None };
            Some((key.key().name().to_owned(), labels.collect::<Vec<_>>().join(","), count))
        })
        .collect();
    for (name, labels) in [
        ("tara_export_fallbacks_total", "reason=STORE_UNAVAILABLE"),
        ("tara_export_exports_total", "outcome=fell_back,requested=s3,stored_in=local"),
    ] {
        let expected = (name.to_owned(), labels.to_owned(), 1);
        assert!(counted.contains(&expected), "{expected:?} is not among {counted:?}");
    }
}

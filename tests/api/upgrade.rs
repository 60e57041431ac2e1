//! Exports accepted by one release and finished by the next, which has another format: the bundle has the format of the
//! first.

use chrono::TimeDelta;
use tara_export_client::proto::{Export, GetExportRequest, export::State};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode, SilentServer},
    following::{committed, export, follow, next, refused, watch},
    harness::{Client, Host, waiting::until_known, within},
    requests::{name, request, s3_or_nothing},
    statuses::expect_status,
    store_journal::STORE_JOURNAL,
};

const FLAGS: [&str; 3] =
    ["--s3-retry-budget=2s", "--s3-outage-pause=10ms", "--shutdown-timeout=0s"];
/// The file that the next format adds.
const NEXT_FILE: &str = "logs/next.txt";

async fn until_committed(client: &mut Client, number: u32) -> Export {
    let waiting = async {
        loop {
            let request = GetExportRequest { name: name(number) };
            let export = client.get_export(request).await.unwrap().into_inner().export.unwrap();
            if export.state() == State::Committed {
                return export;
            }
            tokio::task::yield_now().await;
        }
    };
    within("the bundle in S3", waiting).await
}

fn has_next_file(s3: &FakeS3, export: &Export) -> bool {
    s3.root().join(&export.folder_name).join(NEXT_FILE).exists()
}

/// The export as a release of the first format makes it.
async fn export_of_first_format(
    number: u32,
) -> (Export, std::collections::BTreeMap<String, Vec<u8>>) {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone());
    let export = committed(&mut host.start().await.client, request(number, "a.docx")).await;
    let files = bundles::files(&s3.root().join(&export.folder_name));
    (export, files)
}

#[tokio::test]
async fn export_of_the_previous_release_keeps_its_format() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let mut host = Host::with_s3(s3.clone()).flags(&FLAGS);
    let mut server = host.start().await;
    let stream = server.client.start_export(request(1, "a.docx")).await.unwrap();
    next(&mut stream.into_inner()).await;
    s3.until_held(1).await;
    server.stop().await;

    host = host.flags(&["--next-format"]);
    host.clock.advance(TimeDelta::days(1));
    let mut server = host.start().await;
    // The next release computes another digest, but recognizes the same request.
    let stream = server.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    let status = refused(&mut server.client, request(1, "b.docx")).await;
    expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    s3.set(Mode::Works);
    let upgraded = follow(stream).await.completed();
    let (expected, files) = export_of_first_format(1).await;
    assert_eq!(upgraded.folder_name, expected.folder_name);
    assert_eq!(bundles::files(&s3.root().join(&upgraded.folder_name)), files);
    // Exports that the next release accepts have its own format.
    let own = committed(&mut server.client, request(2, "a.docx")).await;
    assert!(has_next_file(&s3, &own));
}

#[tokio::test]
async fn fallback_of_the_previous_release_is_synced_unchanged() {
    let s3 = FakeS3::new(Mode::Down);
    let mut host = Host::with_s3(s3.clone()).flags(&FLAGS);
    let mut server = host.start().await;
    let local = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(local.state(), State::FellBack);
    server.stop().await;

    host = host.flags(&["--next-format"]);
    let mut server = host.start().await;
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!(again.folder_name, local.folder_name);
    s3.set(Mode::Works);
    let remote = until_committed(&mut server.client, 1).await;
    let (_, files) = export_of_first_format(1).await;
    assert_eq!(bundles::files(&s3.root().join(&remote.folder_name)), files);
}

#[tokio::test]
async fn same_request_at_two_releases_makes_one_bundle() {
    for [first, second] in [[true, false], [false, true]] {
        let s3 = FakeS3::new(Mode::HoldsArtifacts);
        let host = |is_next| {
            let host = Host::with_s3(s3.clone());
            if is_next { host.flags(&["--next-format"]) } else { host }
        };
        let (one, other) = (host(first), host(second));
        let (mut one, mut other) = (one.start().await, other.start().await);
        let stream = one.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
        // The first has written the record by now, and the other joins.
        let joining = other.client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
        s3.set(Mode::Works);
        let (started, joined) = futures::join!(follow(stream), follow(joining));
        assert_eq!(started.completed().folder_name, joined.completed().folder_name);
        assert_eq!(bundles::folders(s3.root()).len(), 1);
        bundles::verify(&s3.root().join(&started.completed().folder_name));
        assert_eq!(has_next_file(&s3, &started.completed()), first);
        // Both refuse other content.
        for client in [&mut one.client, &mut other.client] {
            let status = refused(client, request(1, "b.docx")).await;
            expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
        }
    }
}

#[tokio::test]
async fn export_finished_by_the_previous_release_is_found() {
    let s3 = FakeS3::new(Mode::Works);
    let mut host = Host::with_s3(s3.clone()).flags(&FLAGS);
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "a.docx")).await;
    server.stop().await;
    host = host.flags(&["--next-format"]);
    let mut server = host.start().await;
    let again = export(&mut server.client, request(1, "a.docx")).await.completed();
    assert_eq!(again.folder_name, first.folder_name);
    assert_eq!(watch(&mut server.client, &name(1)).await.completed().state(), State::Committed);
    assert!(!has_next_file(&s3, &first));
}

#[tokio::test]
async fn failure_of_the_previous_release_is_reported() {
    let silent = SilentServer::start().await;
    let mut host = Host::with_s3(silent.store()).flags(&FLAGS).flags(&["--accept-timeout=10ms"]);
    let mut server = host.start().await;
    let first = export(&mut server.client, s3_or_nothing(1, "a.docx")).await;
    server.stop().await;
    host = host.flags(&["--next-format"]);
    let mut server = host.start().await;
    let again = export(&mut server.client, s3_or_nothing(1, "a.docx")).await;
    assert_eq!(again.failed().0, first.failed().0);
}

#[tokio::test]
async fn replica_takes_over_an_export_of_two_releases() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let first = Host::with_s3(s3.clone()).flags(&FLAGS);
    let mut server = first.start().await;
    let start = server.client.start_export(request(1, "a.docx")).await;
    next(&mut start.unwrap().into_inner()).await;
    server.stop().await;
    // The record is of the first release, the entry in the store of the next. Both machines are lost.
    let second = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL).flags(&["--next-format"]);
    let mut server = second.start().await;
    let start = server.client.start_export(request(1, "a.docx")).await;
    next(&mut start.unwrap().into_inner()).await;
    server.stop().await;

    s3.set(Mode::Works);
    let third = Host::with_s3(s3.clone()).flags(&STORE_JOURNAL);
    let export = until_known(&mut third.start().await.client, &name(1)).await;
    let (expected, files) = export_of_first_format(1).await;
    assert_eq!(export.folder_name, expected.folder_name);
    assert_eq!(bundles::files(&s3.root().join(&export.folder_name)), files);
}

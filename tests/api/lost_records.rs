//! Objects of committed bundles are removed, for example by a lifecycle rule of the bucket: no second bundle is made,
//! and the remaining state is reported correctly.

use std::{fs, path::Path, sync::Arc};

use tara_export_client::proto::{
    Export, GetExportRequest, ListExportsRequest, WatchExportRequest, export::State,
};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, follow, next},
    harness::{
        Client, Host, TestServer, receipt,
        waiting::{read, until_files},
    },
    reading::artifact,
    requests::{name, request},
    statuses::expect_status,
};

/// A slow machine must not look like an outage.
const LONG_RETRIES: [&str; 2] = ["--s3-retry-budget=10m", "--shutdown-timeout=0s"];
const REPORT: &str = "readable_report.txt";

fn remove(s3: &FakeS3, below: &str) {
    fs::remove_dir_all(s3.root().join(".tara-export").join(below)).unwrap();
}

async fn listed(client: &mut Client) -> Vec<String> {
    let page = client.list_exports(ListExportsRequest::default()).await.unwrap().into_inner();
    let mut names: Vec<String> = page.exports.into_iter().map(|export| export.name).collect();
    names.sort();
    names
}

/// A bucket with two bundles of the same second and name, made by a replica that has stopped.
async fn two_bundles() -> (Arc<FakeS3>, [Export; 2]) {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&LONG_RETRIES);
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "a.docx")).await;
    let second = committed(&mut server.client, request(2, "a.docx")).await;
    assert_ne!(first.folder_name, second.folder_name);
    server.stop().await;
    (s3, [first, second])
}

/// Another replica with an empty cache and an empty disk.
async fn another_replica(s3: &Arc<FakeS3>) -> (Host, TestServer) {
    let host = Host::with_s3(s3.clone()).flags(&LONG_RETRIES);
    let server = host.start().await;
    (host, server)
}

/// Checks that each export is where it was, also when its request is repeated.
async fn assert_unchanged(s3: &FakeS3, server: &mut TestServer, exports: &[Export]) {
    for (number, export) in (1..).zip(exports) {
        let found = read(&mut server.client, &name(number)).await;
        assert_eq!((found.state(), &found.location), (State::Committed, &export.location));
    }
    // After the reads, because a repeated request restores a missing claim.
    for (number, export) in (1..).zip(exports) {
        let again = committed(&mut server.client, request(number, "a.docx")).await;
        assert_eq!(again.location, export.location);
        assert_eq!(again.manifest_sha256, export.manifest_sha256);
    }
    assert_eq!(bundles::folders(s3.root()).len(), exports.len());
}

#[tokio::test]
async fn missing_claims_hide_no_bundle_and_no_folder_is_reused() {
    let (s3, exports) = two_bundles().await;
    remove(&s3, "folders");
    let (_host, mut server) = another_replica(&s3).await;
    assert_unchanged(&s3, &mut server, &exports).await;
    remove(&s3, "folders");
    let third = committed(&mut server.client, request(3, "a.docx")).await;
    for export in &exports {
        assert_ne!(third.location, export.location);
        bundles::verify(&s3.root().join(&export.folder_name));
    }
    assert_eq!(listed(&mut server.client).await, [name(1), name(2), name(3)]);
}

#[tokio::test]
async fn bundle_without_index_entry_is_found_by_name() {
    let (s3, exports) = two_bundles().await;
    remove(&s3, "index-shards");
    let (_host, mut server) = another_replica(&s3).await;
    assert_unchanged(&s3, &mut server, &exports).await;
    // Lists read only the index; the preflight warns of such a rule.
    assert_eq!(listed(&mut server.client).await, Vec::<String>::new());
}

#[tokio::test]
async fn bundle_with_a_missing_file_is_committed_and_damaged() {
    let (s3, exports) = two_bundles().await;
    let file = |export: &Export| s3.root().join(&export.folder_name).join(REPORT);
    fs::remove_file(file(&exports[0])).unwrap();
    let (_host, mut server) = another_replica(&s3).await;
    assert_unchanged(&s3, &mut server, &exports).await;
    let status = artifact(&mut server.client, &name(1), REPORT, 0).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    assert!(!Path::new(&file(&exports[0])).exists(), "a committed bundle was written again");
    assert_eq!(listed(&mut server.client).await, [name(1), name(2)]);
}

#[tokio::test]
async fn missing_record_makes_no_second_bundle_on_the_same_replica() {
    let s3 = FakeS3::new(Mode::Works);
    let host = Host::with_s3(s3.clone()).flags(&LONG_RETRIES);
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "a.docx")).await;
    until_files(&host, &[receipt(1)]).await;
    server.stop().await;
    remove(&s3, "exports");
    let mut server = host.start().await;
    let again = committed(&mut server.client, request(1, "a.docx")).await;
    assert_eq!((again.state(), again.location), (State::Committed, export.location));
    assert_eq!(bundles::folders(s3.root()).len(), 1);
    assert_eq!(listed(&mut server.client).await, [name(1)]);
}

#[tokio::test]
async fn export_without_record_and_claim_is_finished_from_the_journal() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&LONG_RETRIES);
    let mut server = host.start().await;
    let stream = server.client.start_export(request(1, "a.docx")).await.unwrap();
    next(&mut stream.into_inner()).await;
    s3.until_held(1).await;
    let running = read(&mut server.client, &name(1)).await;
    server.stop().await;
    remove(&s3, "exports");
    remove(&s3, "folders");
    host.clock.advance(chrono::TimeDelta::days(40));
    s3.set(Mode::Works);
    let mut server = host.start().await;
    let watch = WatchExportRequest { name: name(1), ..Default::default() };
    let export = follow(server.client.watch_export(watch).await.unwrap().into_inner()).await;
    let export = export.completed();
    assert_eq!(export.state(), State::Committed);
    assert_eq!(export.accepted_time, running.accepted_time);
    bundles::verify(&s3.root().join(&export.folder_name));
    assert_eq!(bundles::folders(s3.root()).len(), 1);
    let (_host, mut other) = another_replica(&s3).await;
    let request = GetExportRequest { name: name(1) };
    let found = other.client.get_export(request).await.unwrap().into_inner().export.unwrap();
    assert_eq!(found.location, export.location);
}

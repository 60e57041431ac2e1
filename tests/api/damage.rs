//! Damaged bundles: readers get `DATA_LOSS`, never wrong content.

use std::{fs, io::Cursor, path::Path, sync::Arc};

use tara_export_bundle::ExportId;
use tara_export_catalog::StoredBundle;
use tara_export_client::proto::{
    GetExportRequest, ListExportsRequest, export::State, get_report_request::View,
};
use tara_export_store::{Store, local::LocalStore};
use tara_export_test_support::TestS3;
use tonic::Code;

use crate::{
    bundles,
    following::committed,
    harness::{Host, TestServer, s3::store_of},
    reading::{archive, artifact, report},
    requests::{id, name, request},
    statuses::expect_status,
};

const REPORT: &str = "comprehensive_report.json";

#[tokio::test]
async fn bundle_that_is_synced_while_read_is_no_data_loss() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(host.data_dir()).unwrap());
    let export_id = ExportId::new(id(1).parse().unwrap());
    let bundle = StoredBundle::find(&store, export_id).await.unwrap().unwrap();
    let path = bundle.manifest().artifacts[0].path.clone();
    let folder = host.folder(&export.folder_name);
    fs::remove_file(folder.join(path.as_str())).unwrap();
    assert!(bundle.open(&path).await.err().unwrap().is_data_loss());
    fs::remove_dir_all(folder).unwrap();
    let error = bundle.open(&path).await.err().unwrap();
    assert!(!error.is_data_loss(), "{error}");
    assert!(error.to_string().contains("read it again"), "{error}");
}

async fn damaged(damage: impl Fn(&Path)) -> (Host, TestServer) {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    damage(&host.folder(&export.folder_name));
    (host, server)
}

/// Checks that reads of the report fail with `DATA_LOSS`, and that the rest of the bundle is readable.
async fn assert_report_damaged(server: &mut TestServer) {
    let client = &mut server.client;
    for view in [View::Json, View::Structured] {
        let status = report(client, &name(1), view).await.unwrap_err();
        expect_status(&status, Code::DataLoss, "DATA_LOSS");
        assert!(status.message().contains(REPORT), "{}", status.message());
    }
    for offset in [0, 5] {
        let status = artifact(client, &name(1), REPORT, offset).await.unwrap_err();
        expect_status(&status, Code::DataLoss, "DATA_LOSS");
    }
    let (status, received) = archive(client, &name(1)).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    assert!(zip::ZipArchive::new(Cursor::new(received)).is_err(), "an incomplete archive opens");

    report(client, &name(1), View::Text).await.unwrap();
    artifact(client, &name(1), "documents/before_incident_report.docx", 0).await.unwrap();
    let get = GetExportRequest { name: name(1) };
    client.get_export(get).await.unwrap();
}

#[tokio::test]
async fn flipped_bit_is_data_loss() {
    let (_host, mut server) = damaged(|folder| {
        let mut bytes = fs::read(folder.join(REPORT)).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(folder.join(REPORT), bytes).unwrap();
    })
    .await;
    assert_report_damaged(&mut server).await;
}

/// S3 keeps the checksum of the original bytes, which the damaged bytes do not match.
#[tokio::test]
async fn flipped_bit_in_s3_is_data_loss_and_no_outage() {
    let s3 = TestS3::start().await;
    let mut server = Host::with_s3(store_of(&s3)).start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert!(s3.corrupt(&format!("tara/{}/{REPORT}", export.folder_name)));
    assert_report_damaged(&mut server).await;
}

#[tokio::test]
async fn truncated_file_is_data_loss() {
    let (_host, mut server) = damaged(|folder| {
        let bytes = fs::read(folder.join(REPORT)).unwrap();
        fs::write(folder.join(REPORT), &bytes[..bytes.len() - 1]).unwrap();
    })
    .await;
    assert_report_damaged(&mut server).await;
}

#[tokio::test]
async fn missing_file_is_data_loss() {
    let (_host, mut server) = damaged(|folder| fs::remove_file(folder.join(REPORT)).unwrap()).await;
    assert_report_damaged(&mut server).await;
}

#[tokio::test]
async fn damaged_manifest_is_data_loss_for_its_bundle() {
    for content in ["", "{", "{\"schema\": \"tara-export/manifest/v1\"}"] {
        let (_host, mut server) =
            damaged(|folder| fs::write(folder.join("manifest.json"), content).unwrap()).await;
        let client = &mut server.client;
        let get = GetExportRequest { name: name(1) };
        for status in [
            client.get_export(get).await.unwrap_err(),
            report(client, &name(1), View::Json).await.unwrap_err(),
            artifact(client, &name(1), "manifest.json", 0).await.unwrap_err(),
            artifact(client, &name(1), REPORT, 0).await.unwrap_err(),
            archive(client, &name(1)).await.unwrap_err().0,
        ] {
            expect_status(&status, Code::DataLoss, "DATA_LOSS");
        }
    }
}

#[tokio::test]
async fn manifest_with_a_wrong_digest_is_data_loss() {
    let (_host, mut server) = damaged(|folder| {
        let path = folder.join("manifest.json");
        let manifest = bundles::verify(folder);
        let report = manifest.artifacts.iter().find(|artifact| artifact.path.as_str() == REPORT);
        let other = tara_export_digest::Sha256::of(b"something else").to_string();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace(&report.unwrap().sha256.to_string(), &other)).unwrap();
    })
    .await;
    assert_report_damaged(&mut server).await;
}

#[tokio::test]
async fn damaged_bundle_does_not_hide_others_from_lists() {
    assert_others_are_listed_with_manifest(b"no manifest").await;
}

#[tokio::test]
async fn huge_manifest_does_not_hide_other_bundles_from_lists() {
    assert_others_are_listed_with_manifest(&vec![b' '; 2 * 1024 * 1024]).await;
}

async fn assert_others_are_listed_with_manifest(content: &[u8]) {
    let host = Host::new();
    let mut server = host.start().await;
    let mut exports = Vec::new();
    for number in 1..=3 {
        exports.push(committed(&mut server.client, request(number, "report.docx")).await);
        host.clock.advance(chrono::TimeDelta::seconds(1));
    }
    let manifest = host.folder(&exports[1].folder_name).join("manifest.json");
    fs::write(manifest, content).unwrap();
    let page = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
    let exports = page.into_inner().exports;
    let listed: Vec<(&str, State)> =
        exports.iter().map(|export| (export.name.as_str(), export.state())).collect();
    let (first, second, third) = (name(1), name(2), name(3));
    let expected = [
        (third.as_str(), State::Committed),
        (second.as_str(), State::Quarantined),
        (first.as_str(), State::Committed),
    ];
    assert_eq!(listed, expected);
    assert_eq!(exports[1].state_reason, "DATA_LOSS");
}

//! Recently read objects are cached, and no response is out of date.

use std::fs;

use chrono::TimeDelta;
use tara_export_client::proto::{
    Destination, ListExportsRequest, export::State, get_report_request::View,
};
use tara_export_test_support::{Operation, TestS3};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::committed,
    harness::{
        Host, QUICK,
        s3::{is_of_uploads, store_of},
        waiting::read,
        within,
    },
    reading::{archive, artifact, report},
    requests::{id, name, request},
    statuses::expect_status,
};

const VIEWS: [View; 3] = [View::Json, View::Structured, View::Text];
const REPORT: &str = "comprehensive_report.json";

/// Replaces an object by other bytes of the same size.
fn damage(s3: &TestS3, key: &str) {
    let mut bytes = s3.object(key).unwrap().bytes.to_vec();
    bytes[0] ^= 1;
    s3.put_raw(key, bytes);
}

#[tokio::test]
async fn objects_in_s3_are_read_once() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    // A process with an empty cache.
    let mut server = host.start().await;
    let client = &mut server.client;
    s3.reset_requests();
    let mut responses = Vec::new();
    for _ in 0..2 {
        let mut reports = Vec::new();
        for view in VIEWS {
            reports.push(report(client, &name(1), view).await.unwrap());
        }
        assert_eq!(read(client, &name(1)).await.manifest_sha256, export.manifest_sha256);
        responses.push(reports);
        let requests = s3.requests().into_iter().filter(|request| !is_of_uploads(request));
        let keys: Vec<String> = requests.map(|request| request.key).collect();
        let folder = &export.folder_name;
        for path in ["manifest.json", REPORT, "readable_report.txt"] {
            let key = format!("tara/{folder}/{path}");
            assert_eq!(keys.iter().filter(|read| **read == key).count(), 1, "{keys:?}");
        }
        // These three, the record and the claim.
        assert_eq!(keys.len(), 5, "{keys:?}");
    }
    assert_eq!(responses[0], responses[1]);

    // Each download reads and verifies the objects again.
    for _ in 0..2 {
        s3.reset_requests();
        artifact(client, &name(1), REPORT, 0).await.unwrap();
        assert_eq!(s3.requests_of(Operation::GetObject).len(), 4);
    }
}

#[tokio::test]
async fn listed_bundle_is_read_from_the_cache() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    let mut server = host.start().await;
    server.client.list_exports(ListExportsRequest::default()).await.unwrap();
    s3.reset_requests();
    read(&mut server.client, &name(1)).await;
    assert!(s3.requests().is_empty(), "{:?}", s3.requests());
}

#[tokio::test]
async fn damage_fails_downloads_at_once_and_reports_in_ten_minutes() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    let client = &mut server.client;
    let before = report(client, &name(1), View::Json).await.unwrap();
    damage(&s3, &format!("tara/{}/{REPORT}", export.folder_name));
    host.clock.advance(TimeDelta::seconds(599));
    assert_eq!(report(client, &name(1), View::Json).await.unwrap(), before);
    let status = artifact(client, &name(1), REPORT, 0).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    let (status, _) = archive(client, &name(1)).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    host.clock.advance(TimeDelta::seconds(1));
    let status = report(client, &name(1), View::Json).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");

    // After a download finds a damaged manifest, other reads fail too.
    read(client, &name(1)).await;
    damage(&s3, &format!("tara/{}/manifest.json", export.folder_name));
    read(client, &name(1)).await;
    let status = artifact(client, &name(1), "readable_report.txt", 0).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    let status = report(client, &name(1), View::Text).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
}

#[tokio::test]
async fn cached_report_expires_when_the_clock_is_set_back() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    report(&mut server.client, &name(1), View::Json).await.unwrap();
    damage(&s3, &format!("tara/{}/{REPORT}", export.folder_name));
    host.clock.advance(TimeDelta::hours(-1));
    let status = report(&mut server.client, &name(1), View::Json).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
}

#[tokio::test]
async fn bundle_that_was_removed_and_recreated_is_readable() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    // A process that has read the manifest, but not the report.
    let mut server = host.start().await;
    read(&mut server.client, &name(1)).await;
    for key in s3.objects().into_keys() {
        s3.remove(&key);
    }
    let other = Host::with_s3(store_of(&s3));
    other.clock.advance(TimeDelta::seconds(5));
    let recreated =
        committed(&mut other.start().await.client, request(1, "other report.docx")).await;
    let text = report(&mut server.client, &name(1), View::Text).await.unwrap();
    let listed = recreated.artifacts.iter().find(|artifact| artifact.path == "readable_report.txt");
    assert_eq!(text.sha256, listed.unwrap().sha256);
    assert_eq!(read(&mut server.client, &name(1)).await.folder_name, recreated.folder_name);
}

#[tokio::test]
async fn fallback_is_reported_as_committed_after_sync() {
    for keep in ["--keep-local-copies=false", "--keep-local-copies=true"] {
        let s3 = FakeS3::new(Mode::Down);
        let host = Host::with_s3(s3.clone()).flags(&QUICK).flags(&[keep]);
        let mut server = host.start().await;
        let local = committed(&mut server.client, request(1, "incident report.docx")).await;
        let client = &mut server.client;
        for _ in 0..2 {
            let export = read(client, &name(1)).await;
            assert_eq!((export.state(), export.stored_in()), (State::FellBack, Destination::Local));
            let listed = ListExportsRequest {
                filter: "stored_in = DESTINATION_LOCAL".to_owned(),
                ..ListExportsRequest::default()
            };
            let listed = client.list_exports(listed).await.unwrap().into_inner();
            assert_eq!(listed.exports[0].state(), State::FellBack);
            report(client, &name(1), View::Text).await.unwrap();
        }
        s3.set(Mode::Works);
        let record = format!(".tara-export/exports/{}.json", id(1));
        let synced = async {
            while host.data_dir().join(&record).exists() {
                tokio::task::yield_now().await;
            }
        };
        within("the bundle to be synced", synced).await;
        assert_eq!(host.folder(&local.folder_name).is_dir(), keep.ends_with("true"));
        // The cached local bundle is no longer used.
        s3.set(Mode::Down);
        let status = report(client, &name(1), View::Text).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{keep}: {status:?}");
        s3.set(Mode::Works);
        let export = read(client, &name(1)).await;
        assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
    }
}

#[tokio::test]
async fn local_files_are_checked_before_the_cache_is_used() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    let folder = host.folder(&export.folder_name);
    let client = &mut server.client;
    let before = report(client, &name(1), View::Json).await.unwrap();
    assert_eq!(report(client, &name(1), View::Json).await.unwrap(), before);

    let path = folder.join(REPORT);
    let bytes = fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    damaged[0] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let status = report(client, &name(1), View::Json).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(report(client, &name(1), View::Json).await.unwrap(), before);
    bundles::verify(&folder);

    let manifest = folder.join("manifest.json");
    let text = fs::read(&manifest).unwrap();
    fs::write(&manifest, b"no manifest").unwrap();
    let status = report(client, &name(1), View::Json).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    fs::write(&manifest, text).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let status = report(client, &name(1), View::Json).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);
    let listed = client.list_exports(ListExportsRequest::default()).await.unwrap();
    assert!(listed.into_inner().exports.is_empty());
}

//! What was read lately is not read again, and nobody gets an answer that is not true any more.

use std::fs;

use chrono::TimeDelta;
use tara_export::proto::{
    Destination, ListExportsRequest, export::State, get_report_request::View,
};
use tara_export_test_support::{Operation, TestS3};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::committed,
    harness::{Host, s3::store_of, within},
    journal::{QUICK, read},
    list_scale::is_of_uploads,
    reading::{archive, artifact, report},
    requests::{id, name, request},
    statuses::expect_status,
};

const VIEWS: [View; 3] = [View::Json, View::Structured, View::Text];
const REPORT: &str = "comprehensive_report.json";

/// Puts something else in an object's place, of the same size.
fn damage(s3: &TestS3, key: &str) {
    let mut bytes = s3.object(key).unwrap().bytes.to_vec();
    bytes[0] ^= 1;
    s3.put_raw(key, bytes);
}

#[tokio::test]
async fn what_is_in_s3_is_read_once() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    // A process that knows nothing of the export yet.
    let mut server = host.start().await;
    let client = &mut server.client;
    s3.reset_requests();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut round = Vec::new();
        for view in VIEWS {
            round.push(report(client, &name(1), view).await.unwrap());
        }
        assert_eq!(read(client, &name(1)).await.manifest_sha256, export.manifest_sha256);
        answers.push(round);
        let requests = s3.requests().into_iter().filter(|request| !is_of_uploads(request));
        let keys: Vec<String> = requests.map(|request| request.key).collect();
        let folder = &export.folder_name;
        for path in ["manifest.json", REPORT, "readable_report.txt"] {
            let key = format!("tara/{folder}/{path}");
            assert_eq!(keys.iter().filter(|read| **read == key).count(), 1, "{keys:?}");
        }
        // Those, the record and the claim.
        assert_eq!(keys.len(), 5, "{keys:?}");
    }
    assert_eq!(answers[0], answers[1]);

    // A download proves what is there, each time.
    for _ in 0..2 {
        s3.reset_requests();
        artifact(client, &name(1), REPORT, 0).await.unwrap();
        assert_eq!(s3.requests_of(Operation::GetObject).len(), 4);
    }
}

#[tokio::test]
async fn a_bundle_that_was_listed_is_found_at_once() {
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
async fn damage_shows_in_downloads_at_once_and_in_reports_after_ten_minutes() {
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

    // Of a damaged manifest a download makes everybody know.
    read(client, &name(1)).await;
    damage(&s3, &format!("tara/{}/manifest.json", export.folder_name));
    read(client, &name(1)).await;
    let status = artifact(client, &name(1), "readable_report.txt", 0).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
    let status = report(client, &name(1), View::Text).await.unwrap_err();
    expect_status(&status, Code::DataLoss, "DATA_LOSS");
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_older_than_it_is() {
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
async fn a_bundle_that_was_removed_and_made_anew_is_no_data_loss() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    // A process that has read the manifest, and the report not.
    let mut server = host.start().await;
    read(&mut server.client, &name(1)).await;
    for key in s3.objects().into_keys() {
        s3.remove(&key);
    }
    let other = Host::with_s3(store_of(&s3));
    other.clock.advance(TimeDelta::seconds(5));
    let anew = committed(&mut other.start().await.client, request(1, "other report.docx")).await;
    let text = report(&mut server.client, &name(1), View::Text).await.unwrap();
    let listed = anew.artifacts.iter().find(|artifact| artifact.path == "readable_report.txt");
    assert_eq!(text.sha256, listed.unwrap().sha256);
    assert_eq!(read(&mut server.client, &name(1)).await.folder_name, anew.folder_name);
}

#[tokio::test]
async fn what_fell_back_is_told_as_committed_once_s3_has_it() {
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
        let moved = async {
            while host.data_dir().join(&record).exists() {
                tokio::task::yield_now().await;
            }
        };
        within("the bundle moves", moved).await;
        assert_eq!(host.folder(&local.folder_name).is_dir(), keep.ends_with("true"));
        // What was local is not taken for what there is.
        s3.set(Mode::Down);
        let status = report(client, &name(1), View::Text).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{keep}: {status:?}");
        s3.set(Mode::Works);
        let export = read(client, &name(1)).await;
        assert_eq!((export.state(), export.stored_in()), (State::Committed, Destination::S3));
    }
}

#[tokio::test]
async fn what_is_on_disk_is_looked_at_before_it_is_believed() {
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
    bundles::whole(&folder);

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

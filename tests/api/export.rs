//! Exports from the request to the bundle, and the events that the caller receives.

use std::collections::BTreeMap;

use tara_export_client::proto::{
    GetExportRequest, ListExportsRequest, PreviewExportRequest, Replacement, WatchExportRequest,
    export::State, export_event::Event,
};
use tonic::{Code, transport::Channel};

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, export, kind, next, refused, watch},
    harness::{Client, Host, START, START_PREFIX, endpoint, within},
    requests::{name, request},
    statuses::expect_status,
};

fn seconds(text: &str) -> i64 {
    text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp()
}

#[tokio::test]
async fn each_step_is_one_event_in_order() {
    let host = Host::new();
    let mut server = host.start().await;
    let followed = export(&mut server.client, request(1, "incident report.docx")).await;
    let committed = followed.completed();

    let sequences: Vec<i64> = followed.numbered().iter().map(|event| event.sequence).collect();
    let expected: Vec<i64> = (1..=sequences.len() as i64).collect();
    assert_eq!(sequences, expected);
    let run_id = &followed.events[0].run_id;
    assert!(!run_id.is_empty());
    for event in &followed.events {
        assert_eq!((&event.name, &event.run_id), (&name(1), run_id));
        assert_eq!(event.event_time.unwrap().seconds, seconds(START));
    }

    let Some(Event::Accepted(accepted)) = &followed.events[0].event else {
        panic!("{:?}", followed.events[0]);
    };
    assert_eq!(accepted.accepted_time, committed.accepted_time);
    assert_eq!(accepted.accepted_time.unwrap().nanos, 123_456_000);
    assert!(!accepted.resumed);

    let mut positions: BTreeMap<String, usize> = BTreeMap::new();
    for (number, event) in followed.numbered().into_iter().enumerate() {
        assert_eq!(positions.insert(kind(event), number), None, "{} occurs once", kind(event));
    }
    let last_stored =
        committed.artifacts.iter().map(|artifact| positions[&format!("stored {}", artifact.path)]);
    let last_stored = last_stored.max().unwrap();
    for artifact in &committed.artifacts {
        let path = &artifact.path;
        assert!(
            positions[&format!("started {path}")] < positions[&format!("stored {path}")],
            "{path}"
        );
    }
    assert!(last_stored < positions["started manifest.json"]);
    assert!(positions["started manifest.json"] < positions["stored manifest.json"]);
    assert_eq!(positions["completed"], positions["stored manifest.json"] + 1);
    assert_eq!(positions.len(), 2 + 2 * (committed.artifacts.len() + 1), "{positions:?}");
}

#[tokio::test]
async fn progress_increases_to_its_totals() {
    let host = Host::new();
    let mut server = host.start().await;
    let followed = export(&mut server.client, request(1, "incident report.docx")).await;
    let committed = followed.completed();
    let (mut artifacts_done, mut bytes_done) = (0, 0);
    for event in &followed.events {
        let progress = event.progress.unwrap();
        assert!(progress.artifacts_done >= artifacts_done && progress.bytes_done >= bytes_done);
        (artifacts_done, bytes_done) = (progress.artifacts_done, progress.bytes_done);
        if let Some(Event::ArtifactStored(stored)) = &event.event {
            let listed = committed.artifacts.iter().find(|artifact| artifact.path == stored.path);
            let (size_bytes, sha256) = match listed {
                Some(artifact) => (artifact.size_bytes, &artifact.sha256),
                None => (stored.size_bytes, &committed.manifest_sha256),
            };
            assert_eq!((stored.bytes_done, stored.size_bytes), (size_bytes, size_bytes));
            assert_eq!((&stored.sha256, stored.attempt), (sha256, 1));
        }
    }
    let last = followed.events.last().unwrap().progress.unwrap();
    assert_eq!(last.artifacts_done, last.artifacts_total);
    assert_eq!(last.artifacts_total as usize, committed.artifacts.len() + 1);
    assert_eq!((last.bytes_done, last.bytes_total), (committed.size_bytes, committed.size_bytes));
}

#[tokio::test]
async fn bundle_on_disk_matches_its_manifest_and_the_response() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(export.folder_name, format!("{START_PREFIX}incident_report"));
    assert_eq!(bundles::folders(&host.data_dir()), [export.folder_name.as_str()]);
    assert_eq!(export.location, format!("{}/", host.folder(&export.folder_name).display()));
    assert_eq!(export.replica, "replica-1");
    assert_eq!(export.state(), State::Committed);

    let manifest = bundles::verify(&host.folder(&export.folder_name));
    assert_eq!(format!("exports/{}", manifest.export_id), export.name);
    assert_eq!(manifest.document_name, "incident report.docx");
    let listed: Vec<_> = manifest
        .artifacts
        .iter()
        .map(|artifact| (artifact.path.to_string(), artifact.sha256.to_string()))
        .collect();
    let reported: Vec<_> = export
        .artifacts
        .iter()
        .map(|artifact| (artifact.path.clone(), artifact.sha256.clone()))
        .collect();
    assert_eq!(reported, listed);
    assert_eq!(export.artifact_count as usize, listed.len());
    assert_eq!(export.size_bytes as u64, manifest.size_bytes());
    let files = bundles::files(&host.folder(&export.folder_name));
    assert_eq!(files["documents/before_incident_report.docx"], b"as it was");
    assert_eq!(files["documents/after_incident_report.docx"], b"as it is now");
    let digest = tara_export_digest::Sha256::of(&files["manifest.json"]);
    assert_eq!(export.manifest_sha256, digest.to_string());
}

#[tokio::test]
async fn replacements_are_listed_and_distinguish_requests() {
    let host = Host::new();
    let mut server = host.start().await;
    let replacement =
        |path: &str| Replacement { path: path.to_owned(), reason: "NOT_FINITE".to_owned() };
    let with = |paths: &[&str]| {
        let mut request = request(1, "incident report.docx");
        let replacements = paths.iter().map(|path| replacement(path)).collect();
        request.review.as_mut().unwrap().replacements = replacements;
        request
    };
    let sent = with(&["chat_history[0].score", "activity_log[7][\"a b\"]"]);
    let preview = PreviewExportRequest { review: sent.review.clone(), documents: Vec::new() };
    let warnings = server.client.preview_export(preview).await.unwrap().into_inner().warnings;
    let warnings: Vec<_> =
        warnings.iter().filter(|warning| warning.reason == "VALUES_REPLACED").collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.contains("2 values"), "{warnings:?}");

    let export = committed(&mut server.client, sent.clone()).await;
    let expected = sent.review.as_ref().unwrap().replacements.clone();
    assert_eq!(export.replacements, expected);
    let get = GetExportRequest { name: name(1) };
    let read = server.client.get_export(get).await.unwrap().into_inner().export.unwrap();
    assert_eq!(read.replacements, expected);
    let list = ListExportsRequest::default();
    let page = server.client.list_exports(list).await.unwrap().into_inner();
    assert_eq!(page.exports.len(), 1);
    assert_eq!(page.exports[0].replacements, []);
    let manifest = bundles::verify(&host.folder(&export.folder_name));
    let paths: Vec<&str> =
        manifest.replacements.iter().map(|replacement| replacement.path.as_str()).collect();
    assert_eq!(paths, ["chat_history[0].score", "activity_log[7][\"a b\"]"]);

    assert_eq!(committed(&mut server.client, sent).await.folder_name, export.folder_name);
    for other in [with(&[]), with(&["chat_history[0].score"])] {
        let status = refused(&mut server.client, other).await;
        expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
}

#[tokio::test]
async fn terminal_event_matches_later_reads() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut reported = committed(&mut server.client, request(1, "incident report.docx")).await;
    let get = GetExportRequest { name: name(1) };
    let read = server.client.get_export(get).await.unwrap().into_inner().export.unwrap();
    // The commit time comes from the store's clock; for the local store, that is the machine's clock.
    assert!(read.committed_time.is_some());
    reported.committed_time = read.committed_time;
    assert_eq!(reported, read);
}

#[tokio::test]
async fn export_without_request_id_gets_one() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut request = request(1, "incident report.docx");
    request.request_id.clear();
    let first = committed(&mut server.client, request.clone()).await;
    let second = committed(&mut server.client, request).await;
    assert_ne!(first.name, second.name);
    for export in [first, second] {
        assert!(export.name.strip_prefix("exports/").unwrap().parse::<uuid::Uuid>().is_ok());
        bundles::verify(&host.folder(&export.folder_name));
    }
}

#[tokio::test]
async fn export_continues_after_the_client_disconnects() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    let mut disconnecting = Client::new(endpoint(server.address).connect().await.unwrap());
    let start = disconnecting.start_export(request(1, "incident report.docx"));
    let mut stream = within("the response", start).await.unwrap().into_inner();
    assert_eq!(kind(&next(&mut stream).await), "accepted");
    s3.until_held(1).await;
    drop(stream);
    drop(disconnecting);
    s3.set(Mode::Works);
    let export = watch(&mut server.client, &name(1)).await.completed();
    bundles::verify(&s3.root().join(&export.folder_name));
}

#[tokio::test]
async fn export_continues_when_the_client_reads_nothing() {
    let host = Host::new();
    let mut server = host.start().await;
    // A flow-control window too small for the first event.
    let narrow: Channel =
        endpoint(server.address).initial_stream_window_size(16).connect().await.unwrap();
    let mut idle = Client::new(narrow);
    let start = idle.start_export(request(1, "incident report.docx"));
    let stream = within("the response", start).await.unwrap();
    let watched = watch(&mut server.client, &name(1)).await;
    bundles::verify(&host.folder(&watched.completed().folder_name));
    // The slow client still receives every event.
    let read = crate::following::follow(stream.into_inner()).await;
    assert_eq!(read.numbered(), watched.numbered());
}

#[tokio::test]
async fn concurrent_exports_are_all_committed() {
    let host = Host::new();
    let server = host.start().await;
    let exports = (0..40).map(|number| {
        let mut client = server.client.clone();
        async move { committed(&mut client, request(number, "incident report.docx")).await }
    });
    let exports = futures::future::join_all(exports).await;
    let mut folders: Vec<String> = exports.into_iter().map(|export| export.folder_name).collect();
    folders.sort();
    assert_eq!(folders, bundles::folders(&host.data_dir()));
    assert_eq!(folders.len(), 40);
    for folder in folders {
        bundles::verify(&host.folder(&folder));
    }
}

#[tokio::test]
async fn later_watch_receives_the_same_events_as_start() {
    let host = Host::new();
    let mut server = host.start().await;
    let started = export(&mut server.client, request(1, "incident report.docx")).await;
    let request = WatchExportRequest { name: name(1), ..WatchExportRequest::default() };
    let stream = server.client.watch_export(request).await.unwrap().into_inner();
    let watched = crate::following::follow(stream).await;
    assert_eq!(watched.numbered(), started.numbered());
    assert!(watched.end.is_ok());
}

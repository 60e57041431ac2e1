//! A review goes in, a bundle comes out, and the caller sees each step.

use std::collections::BTreeMap;

use tara_export::proto::{
    GetExportRequest, WatchExportRequest, export::State, export_event::Event,
};
use tonic::transport::Channel;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, export, kind, next, watch},
    harness::{Client, Host, START, START_PREFIX, endpoint, within},
    requests::{name, request},
};

fn seconds(text: &str) -> i64 {
    text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp()
}

#[tokio::test]
async fn each_step_is_told_once_and_in_order() {
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

    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    for (number, event) in followed.numbered().into_iter().enumerate() {
        assert_eq!(place.insert(kind(event), number), None, "{} comes once", kind(event));
    }
    let last_stored =
        committed.artifacts.iter().map(|artifact| place[&format!("stored {}", artifact.path)]);
    let last_stored = last_stored.max().unwrap();
    for artifact in &committed.artifacts {
        let path = &artifact.path;
        assert!(place[&format!("started {path}")] < place[&format!("stored {path}")], "{path}");
    }
    assert!(last_stored < place["started manifest.json"]);
    assert!(place["started manifest.json"] < place["stored manifest.json"]);
    assert_eq!(place["completed"], place["stored manifest.json"] + 1);
    assert_eq!(place.len(), 2 + 2 * (committed.artifacts.len() + 1), "{place:?}");
}

#[tokio::test]
async fn progress_grows_to_its_totals() {
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
async fn the_bundle_on_disk_is_what_its_manifest_and_the_answer_say() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(export.folder_name, format!("{START_PREFIX}incident_report"));
    assert_eq!(bundles::folders(&host.data_dir()), [export.folder_name.as_str()]);
    assert_eq!(export.location, format!("{}/", host.folder(&export.folder_name).display()));
    assert_eq!(export.replica, "replica-1");
    assert_eq!(export.state(), State::Committed);

    let manifest = bundles::whole(&host.folder(&export.folder_name));
    assert_eq!(format!("exports/{}", manifest.export_id), export.name);
    assert_eq!(manifest.document_name, "incident report.docx");
    let listed: Vec<_> = manifest
        .artifacts
        .iter()
        .map(|artifact| (artifact.path.to_string(), artifact.sha256.to_string()))
        .collect();
    let told: Vec<_> = export
        .artifacts
        .iter()
        .map(|artifact| (artifact.path.clone(), artifact.sha256.clone()))
        .collect();
    assert_eq!(told, listed);
    assert_eq!(export.artifact_count as usize, listed.len());
    assert_eq!(export.size_bytes as u64, manifest.size_bytes());
    let files = bundles::files(&host.folder(&export.folder_name));
    assert_eq!(files["documents/before_incident_report.docx"], b"as it was");
    assert_eq!(files["documents/after_incident_report.docx"], b"as it is now");
    let digest = tara_export::digest::Sha256::of(&files["manifest.json"]);
    assert_eq!(export.manifest_sha256, digest.to_string());
}

#[tokio::test]
async fn the_terminal_event_says_what_reads_say_later() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut told = committed(&mut server.client, request(1, "incident report.docx")).await;
    let get = GetExportRequest { name: name(1) };
    let read = server.client.get_export(get).await.unwrap().into_inner().export.unwrap();
    // By the store's clock, which for a file is the machine's.
    assert!(read.committed_time.is_some());
    told.committed_time = read.committed_time;
    assert_eq!(told, read);
}

#[tokio::test]
async fn an_export_without_request_id_gets_one() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut request = request(1, "incident report.docx");
    request.request_id.clear();
    let first = committed(&mut server.client, request.clone()).await;
    let second = committed(&mut server.client, request).await;
    assert_ne!(first.name, second.name);
    for export in [first, second] {
        assert!(export.name.strip_prefix("exports/").unwrap().parse::<uuid::Uuid>().is_ok());
        bundles::whole(&host.folder(&export.folder_name));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_nothing() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    let mut hasty = Client::new(endpoint(server.address).connect().await.unwrap());
    let start = hasty.start_export(request(1, "incident report.docx"));
    let mut stream = within("the answer", start).await.unwrap().into_inner();
    assert_eq!(kind(&next(&mut stream).await), "accepted");
    s3.until_held(1).await;
    drop(stream);
    drop(hasty);
    s3.set(Mode::Works);
    let export = watch(&mut server.client, &name(1)).await.completed();
    bundles::whole(&s3.root().join(&export.folder_name));
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_nothing() {
    let host = Host::new();
    let mut server = host.start().await;
    // A window of a few bytes: the first event does not even fit.
    let narrow: Channel =
        endpoint(server.address).initial_stream_window_size(16).connect().await.unwrap();
    let mut idle = Client::new(narrow);
    let start = idle.start_export(request(1, "incident report.docx"));
    let stream = within("the answer", start).await.unwrap();
    let watched = watch(&mut server.client, &name(1)).await;
    bundles::whole(&host.folder(&watched.completed().folder_name));
    // Nothing was lost for it either.
    let read = crate::following::follow(stream.into_inner()).await;
    assert_eq!(read.numbered(), watched.numbered());
}

#[tokio::test]
async fn many_exports_at_once_are_all_committed() {
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
        bundles::whole(&host.folder(&folder));
    }
}

#[tokio::test]
async fn watching_and_starting_see_the_same() {
    let host = Host::new();
    let mut server = host.start().await;
    let started = export(&mut server.client, request(1, "incident report.docx")).await;
    let request = WatchExportRequest { name: name(1), ..WatchExportRequest::default() };
    let stream = server.client.watch_export(request).await.unwrap().into_inner();
    let watched = crate::following::follow(stream).await;
    assert_eq!(watched.numbered(), started.numbered());
    assert!(watched.end.is_ok());
}

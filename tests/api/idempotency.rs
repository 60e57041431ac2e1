//! A request id names one export, and a folder belongs to one export.

use std::fs;

use chrono::TimeDelta;
use tara_export_client::proto::{
    Destination, Export, GetExportRequest, StartExportRequest, export_event::Event,
};
use tonic::Code;

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, export, refused},
    harness::{Host, START_PREFIX},
    requests::{id, item, name, request, section},
    statuses::expect_status,
};

/// A request with this id and one more item.
fn other_content(number: u32) -> StartExportRequest {
    let mut request = request(number, "incident report.docx");
    request.review.as_mut().unwrap().user_created = vec![section("Summary", vec![item("9")])];
    request
}

#[tokio::test]
async fn repeated_request_attaches_to_the_same_run() {
    let host = Host::new();
    let mut server = host.start().await;
    let first = export(&mut server.client, request(1, "incident report.docx")).await;
    host.clock.advance(TimeDelta::seconds(90));
    let again = export(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(again.numbered(), first.numbered());
    assert_eq!(again.completed(), first.completed());
    assert_eq!(bundles::folders(&host.data_dir()).len(), 1);
}

#[tokio::test]
async fn concurrent_identical_requests_make_one_bundle() {
    let host = Host::new();
    let server = host.start().await;
    let exports = (0..16).map(|_| {
        let mut client = server.client.clone();
        async move { committed(&mut client, request(1, "incident report.docx")).await }
    });
    let exports: Vec<Export> = futures::future::join_all(exports).await;
    assert!(exports.iter().all(|export| *export == exports[0]));
    assert_eq!(bundles::folders(&host.data_dir()), [exports[0].folder_name.as_str()]);
}

#[tokio::test]
async fn reused_id_with_other_content_is_refused() {
    let host = Host::new();
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "incident report.docx")).await;
    let before = bundles::digests(&host.data_dir());
    let status = refused(&mut server.client, other_content(1)).await;
    let info = expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(info.metadata.get("export"), Some(&first.name));
    assert!(status.message().contains(&id(1)), "{}", status.message());
    assert_eq!(bundles::digests(&host.data_dir()), before);
    // It is accepted under its own id.
    committed(&mut server.client, other_content(2)).await;
}

#[tokio::test]
async fn reused_id_with_other_document_description_is_refused() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    let mut renamed = request(1, "incident report.docx");
    renamed.documents[0].file_name = "draft.docx".to_owned();
    let mut without_fallback = request(1, "incident report.docx");
    without_fallback.fallback = 2;
    for request in [renamed, without_fallback] {
        let status = refused(&mut server.client, request).await;
        expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    // The order of documents is not content.
    let mut reordered = request(1, "incident report.docx");
    reordered.documents.reverse();
    committed(&mut server.client, reordered).await;
}

#[tokio::test]
async fn repeated_request_after_restart_returns_its_bundle() {
    let host = Host::new();
    let mut server = host.start().await;
    let first = committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    let files = bundles::digests(&host.data_dir());

    host.clock.advance(TimeDelta::days(1));
    let mut server = host.start().await;
    let again = export(&mut server.client, request(1, "incident report.docx")).await;
    let Some(Event::Accepted(accepted)) = &again.events[0].event else { panic!("{again:?}") };
    assert_eq!(accepted.accepted_time, first.accepted_time, "when it was first accepted");
    let get = GetExportRequest { name: name(1) };
    let read = server.client.get_export(get).await.unwrap().into_inner().export.unwrap();
    assert_eq!(again.completed(), read);
    assert_eq!(read.manifest_sha256, first.manifest_sha256);
    let progress = again.events.last().unwrap().progress.unwrap();
    assert_eq!(progress.artifacts_done, progress.artifacts_total);
    assert_eq!(progress.artifacts_total as usize, first.artifacts.len() + 1);
    assert_eq!((progress.bytes_done, progress.bytes_total), (first.size_bytes, first.size_bytes));
    assert_eq!(bundles::digests(&host.data_dir()), files, "nothing is written again");
}

#[tokio::test]
async fn reused_id_with_other_content_after_restart_is_refused() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "incident report.docx")).await;
    server.stop().await;
    let files = bundles::digests(&host.data_dir());

    let mut server = host.start().await;
    let status = refused(&mut server.client, other_content(1)).await;
    let info = expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(info.metadata.get("export"), Some(&name(1)));
    assert_eq!(bundles::digests(&host.data_dir()), files);
    // The first export keeps its id.
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn exports_of_one_second_and_name_get_separate_folders() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut folders = Vec::new();
    for number in 1..=3 {
        let export = committed(&mut server.client, request(number, "incident report.docx")).await;
        bundles::verify(&host.folder(&export.folder_name));
        folders.push(export.folder_name);
    }
    let base = format!("{START_PREFIX}incident_report");
    assert_eq!(folders, [base.clone(), format!("{base}_2"), format!("{base}_3")]);
}

#[tokio::test]
async fn folder_with_a_foreign_manifest_is_not_used() {
    let host = Host::new();
    let base = format!("{START_PREFIX}incident_report");
    let foreign = host.folder(&base);
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("manifest.json"), "{\"name\": \"of something else\"}").unwrap();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(export.folder_name, format!("{base}_2"));
    bundles::verify(&host.folder(&export.folder_name));
    let files = bundles::files(&foreign);
    assert_eq!(files.len(), 1);
    assert_eq!(files["manifest.json"], b"{\"name\": \"of something else\"}");
}

#[tokio::test]
async fn folder_with_a_foreign_file_is_not_used() {
    let host = Host::new();
    let base = format!("{START_PREFIX}incident_report");
    let foreign = host.folder(&base);
    let path = "documents/before_incident_report.docx";
    fs::create_dir_all(foreign.join("documents")).unwrap();
    fs::write(foreign.join(path), "not ours!").unwrap();
    let mut server = host.start().await;
    let followed = export(&mut server.client, request(1, "incident report.docx")).await;
    let export = followed.completed();
    assert_eq!(export.folder_name, format!("{base}_2"));
    bundles::verify(&host.folder(&export.folder_name));
    assert_eq!(bundles::files(&foreign)[path], b"not ours!");
    assert!(!foreign.join("manifest.json").exists());
    server.stop().await;

    // The export keeps the folder that it claimed last, although the first one is free now.
    fs::remove_dir_all(&foreign).unwrap();
    let mut server = host.start().await;
    let get = GetExportRequest { name: name(1) };
    let read = server.client.get_export(get).await.unwrap().into_inner().export.unwrap();
    assert_eq!(read.folder_name, export.folder_name);
    let again = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(again.folder_name, export.folder_name);
    assert_eq!(bundles::folders(&host.data_dir()), [export.folder_name]);
    // Progress was reset for the second folder.
    let progress = followed.events.last().unwrap().progress.unwrap();
    assert_eq!(progress.artifacts_done, progress.artifacts_total);
    assert_eq!(progress.bytes_done, progress.bytes_total);
}

#[tokio::test]
async fn existing_identical_file_is_accepted() {
    let host = Host::new();
    let folder = host.folder(&format!("{START_PREFIX}incident_report"));
    fs::create_dir_all(folder.join("documents")).unwrap();
    fs::write(folder.join("documents/before_incident_report.docx"), "as it was").unwrap();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    assert_eq!(host.folder(&export.folder_name), folder);
    bundles::verify(&folder);
}

#[tokio::test]
async fn retry_succeeds_while_another_request_misuses_its_id() {
    let s3 = FakeS3::new(Mode::Works);
    let first = Host::with_s3(s3.clone());
    let first = committed(&mut first.start().await.client, request(1, "a.docx")).await;

    // Another server has to read from S3 which content the id belongs to.
    s3.set(Mode::HoldsAll);
    let host = Host::with_s3(s3.clone());
    let mut server = host.start().await;
    let mut misuse = other_content(1);
    misuse.set_destination(Destination::Local);
    let mut client = server.client.clone();
    let misuse = tokio::spawn(async move { refused(&mut client, misuse).await });
    s3.until_held(1).await;
    let mut client = server.client.clone();
    let mut again = tokio::spawn(async move { export(&mut client, request(1, "a.docx")).await });
    let other_calls = async {
        for _ in 0..50 {
            let unknown = GetExportRequest { name: "exports/unknown".to_owned() };
            server.client.get_export(unknown).await.unwrap_err();
        }
    };
    tokio::select! {
        again = &mut again => panic!("{again:?} before S3 responded"),
        () = other_calls => {}
    }
    s3.set(Mode::Works);
    expect_status(&misuse.await.unwrap(), Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(again.await.unwrap().completed().folder_name, first.folder_name);
}

//! Adopted bundles are read like any other bundle.

use std::io::Read as _;

use tara_export::adopt::{FolderOutcome, Found, SkipReason};
use tara_export_bundle::Manifest;
use tara_export_client::proto::{
    CreateDownloadLinkRequest, Destination, GetExportRequest, ListExportsRequest, export::State,
    get_report_request::View, get_report_response::Report,
};
use tara_export_digest::Sha256;
use tonic::Code;

use super::fixture::{FOLDER, Fixture, adopt, adopted, old_files};
use crate::{
    following::{committed, refused},
    harness::http::get,
    reading::{archive, artifact, report},
    requests::{id, request},
    statuses::expect_status,
};

#[tokio::test]
async fn dry_run_reports_each_folder_and_writes_nothing() {
    for fixture in Fixture::both().await {
        fixture.put_folder(FOLDER, &old_files());
        let before = fixture.files();
        let outcomes = adopt(fixture.store(), false).await;
        let size_bytes = old_files().values().map(|content| content.len() as u64).sum();
        let document_name = "incident_report_0000.docx".to_owned();
        let found = Found { files: 12, size_bytes, document_name };
        assert_eq!(outcomes[FOLDER], FolderOutcome::WouldAdopt(found));
        assert_eq!(outcomes.len(), 1);
        assert!(fixture.files() == before);
    }
}

#[tokio::test]
async fn adopted_folder_is_listed_read_and_downloaded() {
    for fixture in Fixture::both().await {
        fixture.put_folder(FOLDER, &old_files());
        let before = fixture.files();
        let name = adopted(&adopt(fixture.store(), true).await);
        let after = fixture.files();
        for (path, content) in &before {
            assert!(after.get(path) == Some(content), "{path} changed");
        }
        // Added to the folder's files: record, claim, index entry and manifest.
        assert_eq!(after.len(), before.len() + 4, "{:?}", after.keys());
        let manifest = Manifest::parse(&after[&format!("{FOLDER}/manifest.json")]).unwrap();
        assert!(manifest.adopted);
        assert_eq!((manifest.format_version, manifest.artifacts.len()), (0, 12));

        let mut server = fixture.host.start().await;
        let listed = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
        let listed = listed.into_inner().exports;
        assert_eq!(listed.len(), 1);
        let request = GetExportRequest { name: name.clone() };
        let export = server.client.get_export(request).await.unwrap().into_inner().export.unwrap();
        assert_eq!((&listed[0].name, &export.name), (&name, &name));
        for export in [&listed[0], &export] {
            assert!(export.adopted);
            assert_eq!(export.state(), State::Committed);
            let stored_in = if fixture.s3.is_some() { Destination::S3 } else { Destination::Local };
            assert_eq!(
                (export.stored_in(), export.requested_destination()),
                (stored_in, stored_in)
            );
            assert_eq!(export.folder_name, FOLDER);
            assert_eq!(export.document_name, "incident_report_0000.docx");
            assert_eq!(export.session_id, "session-000000");
            assert_eq!(export.accepted_time.unwrap().seconds, 1_709_251_199);
            assert_eq!(export.artifact_count, 12);
        }
        for (path, content) in old_files() {
            let listed = export.artifacts.iter().find(|artifact| artifact.path == path).unwrap();
            assert_eq!(listed.sha256, Sha256::of(&content).to_string());
            let (_, read) = artifact(&mut server.client, &name, &path, 0).await.unwrap();
            assert!(read == content, "{path}");
        }
        let structured = report(&mut server.client, &name, View::Structured).await.unwrap();
        let Some(Report::Structured(structured)) = structured.report else { panic!() };
        assert_eq!(structured.summary_statistics.unwrap().total_ai_suggestions, 20);
        let text = report(&mut server.client, &name, View::Text).await.unwrap().report;
        assert_eq!(text, Some(Report::Text("DOCUMENT REVIEW REPORT\n".to_owned())));
        let (_, zip) = archive(&mut server.client, &name).await.unwrap();
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
        assert_eq!(zip.len(), 14);
        let mut content = Vec::new();
        let note_path = format!("{FOLDER}/notes/reviewer's own.txt");
        zip.by_name(&note_path).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, b"of no layout");
        if fixture.s3.is_some() {
            let path = "documents/after report (final) \u{e4}.docx".to_owned();
            let request = CreateDownloadLinkRequest { name, path, time_to_live: None };
            let link = server.client.create_download_link(request).await.unwrap().into_inner();
            assert_eq!(get(&link.uri).await.0.as_u16(), 200);
        }
    }
}

#[tokio::test]
async fn adopted_bundles_are_listed_with_the_others() {
    for fixture in Fixture::both().await {
        fixture.put_folder(FOLDER, &old_files());
        let mut server = fixture.host.start().await;
        let ours = committed(&mut server.client, request(1, "new.docx")).await;
        assert!(!ours.adopted);
        let outcomes = adopt(fixture.store(), true).await;
        let FolderOutcome::Skipped { reason: SkipReason::HasManifest, message } =
            &outcomes[&ours.folder_name]
        else {
            panic!("{outcomes:?}")
        };
        assert!(message.contains(&id(1)), "{message}");
        let listed = server.client.list_exports(ListExportsRequest::default()).await.unwrap();
        let names: Vec<String> =
            listed.into_inner().exports.into_iter().map(|export| export.name).collect();
        assert_eq!(names, [ours.name, adopted(&outcomes)], "newest first");
    }
}

#[tokio::test]
async fn request_with_an_adopted_id_is_refused() {
    for fixture in Fixture::both().await {
        fixture.put_folder(FOLDER, &old_files());
        let name = adopted(&adopt(fixture.store(), true).await);
        let before = fixture.files();
        let mut server = fixture.host.start().await;
        let mut request = request(1, "new.docx");
        request.request_id = name["exports/".len()..].to_owned();
        let status = refused(&mut server.client, request).await;
        let info = expect_status(&status, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(info.metadata["export"], name);
        let mut after = fixture.files();
        after.retain(|path, _| before.contains_key(path) || !path.starts_with(".tara-export/"));
        assert!(after == before);
    }
}

#[tokio::test]
async fn missing_or_unreadable_reports_are_errors() {
    let fixture = Fixture::local();
    let mut files = old_files();
    files.insert("comprehensive_report.json".to_owned(), br#"{"export_metadata": {}}"#.to_vec());
    files.insert("readable_report.txt".to_owned(), b"caf\xe9".to_vec());
    fixture.put_folder(FOLDER, &files);
    files.remove("readable_report.txt");
    fixture.put_folder("20240301_000000_b", &files);
    let outcomes = adopt(fixture.store(), true).await;
    let name = |folder: &str| match &outcomes[folder] {
        FolderOutcome::Adopted { export, .. } => export.clone(),
        other => panic!("{other:?}"),
    };
    let mut server = fixture.host.start().await;
    for view in [View::Structured, View::Text] {
        let status = report(&mut server.client, &name(FOLDER), view).await.unwrap_err();
        expect_status(&status, Code::FailedPrecondition, "REPORT_UNREADABLE");
    }
    let json = report(&mut server.client, &name(FOLDER), View::Json).await.unwrap().report;
    assert_eq!(json, Some(Report::Json(br#"{"export_metadata": {}}"#.as_slice().into())));
    let missing = report(&mut server.client, &name("20240301_000000_b"), View::Text).await;
    expect_status(&missing.unwrap_err(), Code::NotFound, "ARTIFACT_NOT_FOUND");
    let manifest = &fixture.files()["20240301_000000_b/manifest.json"];
    let omitted = Manifest::parse(manifest).unwrap().omitted;
    assert_eq!(omitted.len(), 1);
    assert_eq!(omitted[0].path, "readable_report.txt");
    // The activity log has the session id that the report lacks.
    let request = GetExportRequest { name: name(FOLDER) };
    let export = server.client.get_export(request).await.unwrap().into_inner().export.unwrap();
    assert_eq!(export.session_id, "session-000000");
}

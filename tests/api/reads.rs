//! Reads of exports, reports, files and archives.

use std::io::{Cursor, Read as _};

use tara_export_client::proto::{
    DownloadBundleRequest, GetExportRequest, Report, StartExportRequest, document::Kind,
    get_report_request::View, get_report_response,
};
use tonic::{Code, Status};

use crate::{
    bundles,
    fake_s3::{FakeS3, Mode},
    following::{committed, follow},
    harness::{Client, Host},
    reading::{archive, artifact, report},
    requests::{document, item, name, request, section},
    statuses::{expect_invalid, expect_status},
};

/// A request whose report has content in every section.
fn rich_request() -> StartExportRequest {
    let mut request = request(1, "incident report.docx");
    let review = request.review.as_mut().unwrap();
    review.guidelines_name = Some("rules.pdf".to_owned());
    let mut own_risk = item("3");
    own_risk.risk_level = Some("Existential".to_owned());
    own_risk.category = Some("Tone".to_owned());
    review.suggestions.push(section("日本語", vec![own_risk]));
    review.user_created = vec![section("Summary", vec![item("4")])];
    request
}

#[tokio::test]
async fn report_has_three_views_of_the_same_content() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, rich_request()).await;
    let files = bundles::files(&host.folder(&export.folder_name));
    let sha256 = |path: &str| {
        let listed = export.artifacts.iter().find(|artifact| artifact.path == path);
        listed.unwrap().sha256.clone()
    };

    let json = report(&mut server.client, &name(1), View::Json).await.unwrap();
    assert_eq!(json.sha256, sha256("comprehensive_report.json"));
    let Some(get_report_response::Report::Json(json)) = json.report else { panic!("{json:?}") };
    assert_eq!(json, files["comprehensive_report.json"]);

    let text = report(&mut server.client, &name(1), View::Text).await.unwrap();
    assert_eq!(text.sha256, sha256("readable_report.txt"));
    let Some(get_report_response::Report::Text(text)) = text.report else { panic!("{text:?}") };
    assert_eq!(text.as_bytes(), files["readable_report.txt"]);

    for view in [View::Structured, View::Unspecified] {
        let response = report(&mut server.client, &name(1), view).await.unwrap();
        assert_eq!(response.sha256, sha256("comprehensive_report.json"));
        let Some(get_report_response::Report::Structured(message)) = response.report else {
            panic!("{response:?}")
        };
        // Compared as JSON.
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(as_json(&message), read);
        let names: Vec<&str> =
            message.risk_analysis.iter().map(|count| count.name.as_str()).collect();
        assert_eq!(names, ["High", "Medium", "Low", "Existential"]);
        let sections: Vec<&str> =
            message.section_analysis.iter().map(|section| section.section.as_str()).collect();
        assert_eq!(sections, ["Summary", "日本語"]);
    }
}

/// The message as JSON, in the form of the file.
fn as_json(report: &Report) -> serde_json::Value {
    use serde_json::{Map, Value, json};

    let metadata = report.export_metadata.as_ref().unwrap();
    let statistics = report.summary_statistics.unwrap();
    let activity = report.activity_summary.unwrap();
    let performance = report.performance_metrics.unwrap();
    let counts = |counts: &[tara_export_client::proto::NamedCount]| -> Map<String, Value> {
        counts.iter().map(|count| (count.name.clone(), json!(count.count))).collect()
    };
    let sections: Map<String, Value> = report
        .section_analysis
        .iter()
        .map(|section| {
            let analysis = json!({
                "total_suggestions": section.total_suggestions,
                "accepted": section.accepted,
                "rejected": section.rejected,
                "user_added": section.user_added,
                "acceptance_rate": section.acceptance_rate,
            });
            (section.section.clone(), analysis)
        })
        .collect();
    json!({
        "export_metadata": {
            "timestamp": metadata.timestamp,
            "session_id": metadata.session_id,
            "document_name": metadata.document_name,
            "guidelines_used": metadata.guidelines_used,
            "guidelines_preference": metadata.guidelines_preference,
        },
        "summary_statistics": {
            "total_ai_suggestions": statistics.total_ai_suggestions,
            "total_accepted": statistics.total_accepted,
            "total_rejected": statistics.total_rejected,
            "total_user_feedback": statistics.total_user_feedback,
            "acceptance_rate": statistics.acceptance_rate,
            "user_engagement_rate": statistics.user_engagement_rate,
        },
        "risk_analysis": counts(&report.risk_analysis),
        "category_analysis": counts(&report.category_analysis),
        "section_analysis": sections,
        "activity_summary": {
            "total_activities": activity.total_activities,
            "chat_interactions": activity.chat_interactions,
            "sections_analyzed": activity.sections_analyzed,
        },
        "performance_metrics": {
            "review_duration": performance.review_duration,
            "avg_time_per_section": performance.avg_time_per_section,
        },
    })
}

#[tokio::test]
async fn every_file_can_be_downloaded() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut request = request(1, "incident report.docx");
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    request.documents = vec![document(Kind::Before, large), document(Kind::After, "")];
    let export = committed(&mut server.client, request).await;
    for (path, content) in bundles::files(&host.folder(&export.folder_name)) {
        let (described, downloaded) =
            artifact(&mut server.client, &name(1), &path, 0).await.unwrap();
        assert!(downloaded == content, "{path}");
        match export.artifacts.iter().find(|artifact| artifact.path == path) {
            Some(listed) => assert_eq!(described, *listed),
            None => {
                assert_eq!((path.as_str(), described.path.as_str()), ("manifest.json", &*path));
                assert_eq!(described.sha256, export.manifest_sha256);
                assert_eq!(described.size_bytes as usize, content.len());
            }
        }
    }
}

#[tokio::test]
async fn download_resumes_from_an_offset() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut request = request(1, "incident report.docx");
    let content: Vec<u8> = (0..700_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    request.documents = vec![document(Kind::Before, content.clone())];
    committed(&mut server.client, request).await;
    let path = "documents/before_incident_report.docx";
    let size = content.len();
    for offset in [1, 262_143, 262_144, 262_145, size - 1, size] {
        let (described, rest) =
            artifact(&mut server.client, &name(1), path, offset as i64).await.unwrap();
        assert!(rest == content[offset..], "from {offset}");
        assert_eq!(described.size_bytes as usize, size, "the description is of the complete file");
    }
    for offset in [-1, size as i64 + 1, i64::MAX] {
        let status = artifact(&mut server.client, &name(1), path, offset).await.unwrap_err();
        let rule = expect_invalid(&status, "offset");
        assert!(rule.contains(&size.to_string()), "{rule}");
    }
}

#[tokio::test]
async fn only_listed_files_can_be_downloaded() {
    let host = Host::new();
    let mut server = host.start().await;
    let export = committed(&mut server.client, request(1, "incident report.docx")).await;
    std::fs::write(host.folder(&export.folder_name).join("extra.txt"), "not listed").unwrap();
    for unknown in ["extra.txt", "documents/guidelines_incident_report.docx", "documents", "a/b"] {
        let status = artifact(&mut server.client, &name(1), unknown, 0).await.unwrap_err();
        expect_status(&status, Code::NotFound, "ARTIFACT_NOT_FOUND");
    }
    for bad in ["", "/etc/passwd", "../x", "a//b", "documents/..", "a\\b", "a\0", ".tara-export/x"]
    {
        let status = artifact(&mut server.client, &name(1), bad, 0).await.unwrap_err();
        expect_invalid(&status, "path");
    }
}

#[tokio::test]
async fn archive_has_every_file_and_is_deterministic() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut request = request(1, "日本語 report.docx");
    let noise: Vec<u8> =
        (0..1_500_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    request.documents = vec![document(Kind::Before, noise), document(Kind::After, "")];
    let export = committed(&mut server.client, request).await;
    let folder = &export.folder_name;
    let (described, bytes) = archive(&mut server.client, &name(1)).await.unwrap();
    assert_eq!(described.file_name, format!("{folder}.zip"));
    assert_eq!(described.media_type, "application/zip");

    let files = bundles::files(&host.folder(folder));
    let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(zip.len(), files.len() + 1, "the files and SHA256SUMS");
    for number in (0..zip.len()).filter(|number| *number != files.len() - 1) {
        let mut entry = zip.by_index(number).unwrap();
        let path = entry.name().unwrap().strip_prefix(&format!("{folder}/")).unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(content == files[&path], "{path}");
        assert_eq!(path == "manifest.json", number == files.len(), "the manifest is last");
    }
    let (_, again) = archive(&mut server.client, &name(1)).await.unwrap();
    assert!(again == bytes);
}

/// The error of each read method for one export.
async fn every_read(client: &mut Client, name: &str) -> Vec<Status> {
    let get = GetExportRequest { name: name.to_owned() };
    vec![
        client.get_export(get).await.unwrap_err(),
        report(client, name, View::Json).await.unwrap_err(),
        artifact(client, name, "manifest.json", 0).await.unwrap_err(),
        client.download_bundle(DownloadBundleRequest { name: name.to_owned() }).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn unknown_export_is_not_found() {
    let host = Host::new();
    let mut server = host.start().await;
    for status in every_read(&mut server.client, &name(9)).await {
        expect_status(&status, Code::NotFound, "EXPORT_NOT_FOUND");
    }
}

#[tokio::test]
async fn malformed_names_are_refused() {
    let host = Host::new();
    let mut server = host.start().await;
    let id = "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
    for bad in [
        String::new(),
        id.to_owned(),
        format!("export/{id}"),
        format!("exports/{id}/"),
        format!("exports/{}", id.to_uppercase()),
        format!("exports/{}", id.replace('-', "")),
        format!("exports/{{{id}}}"),
        "exports/../exports".to_owned(),
        "x".repeat(60_000),
    ] {
        for status in every_read(&mut server.client, &bad).await {
            expect_invalid(&status, "name");
        }
    }
    let status = server
        .client
        .get_report(tara_export_client::proto::GetReportRequest { name: name(1), view: 9 })
        .await
        .unwrap_err();
    expect_invalid(&status, "view");
}

#[tokio::test]
async fn only_the_state_can_be_read_before_the_commit() {
    let s3 = FakeS3::new(Mode::HoldsArtifacts);
    let host = Host::with_s3(s3.clone()).flags(&["--s3-retry-budget=10m"]);
    let mut server = host.start().await;
    let start = server.client.start_export(request(1, "incident report.docx"));
    let stream = start.await.unwrap().into_inner();
    s3.until_held(1).await;
    let client = &mut server.client;
    for status in [
        report(client, &name(1), View::Text).await.unwrap_err(),
        artifact(client, &name(1), "manifest.json", 0).await.unwrap_err(),
        archive(client, &name(1)).await.unwrap_err().0,
    ] {
        expect_status(&status, Code::FailedPrecondition, "EXPORT_NOT_COMMITTED");
    }
    let get = GetExportRequest { name: name(1) };
    let running = client.get_export(get).await.unwrap().into_inner().export.unwrap();
    assert_eq!(running.state(), tara_export_client::proto::export::State::Running);
    assert_eq!(running.manifest_sha256, "");
    assert!(!running.folder_name.is_empty());
    s3.set(Mode::Works);
    follow(stream).await.completed();
    report(client, &name(1), View::Text).await.unwrap();
}

#[tokio::test]
async fn report_too_large_for_a_message_is_downloaded_as_a_file() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut request = request(1, "incident report.docx");
    let long = "x".repeat(1000);
    request.review.as_mut().unwrap().suggestions =
        (0..4_200).map(|number| section(&format!("{long}{number}"), vec![])).collect();
    let export = committed(&mut server.client, request).await;
    for view in [View::Json, View::Structured, View::Text] {
        let status = report(&mut server.client, &name(1), view).await.unwrap_err();
        expect_status(&status, Code::FailedPrecondition, "REPORT_TOO_LARGE");
        assert!(status.message().contains("DownloadArtifact"), "{}", status.message());
    }
    let path = "comprehensive_report.json";
    let (_, content) = artifact(&mut server.client, &name(1), path, 0).await.unwrap();
    assert!(content.len() > 4 * 1024 * 1024);
    assert!(content == bundles::files(&host.folder(&export.folder_name))[path]);
}

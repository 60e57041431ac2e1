//! The reviews whose bundles are in `tests/golden`.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{TimeZone as _, Utc};
use serde_json::{Value, json};
use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Destination, Document, DocumentKind, ExportContent, ExportId,
    Fallback, FeedbackSection, FolderBase, FormatVersion, Replacement, Review,
};
use uuid::Uuid;

use crate::session;

/// The cases of a format version under their names.
pub(crate) fn all(version: FormatVersion) -> Vec<(&'static str, AcceptedExport)> {
    let mut cases = vec![
        ("typical", typical(), all_documents()),
        ("nothing_decided", nothing_decided(), all_documents()),
        ("no_suggestions", no_suggestions(), vec![]),
        ("sections_without_suggestions", sections_without_suggestions(), all_documents()),
        ("unicode", unicode(), unicode_documents()),
        ("no_guidelines", no_guidelines(), all_documents()[..2].to_vec()),
        ("empty_logs", empty_logs(), all_documents()),
    ];
    if version != FormatVersion::V1 {
        cases.push(("replacements", replacements(), all_documents()[..1].to_vec()));
    }
    cases
        .into_iter()
        .map(|(case, review, documents)| (case, accepted(review, documents, version)))
        .collect()
}

/// An export of this review, accepted at a time with microseconds.
pub(crate) fn accepted(
    review: Review,
    documents: Vec<Document>,
    format_version: FormatVersion,
) -> AcceptedExport {
    let second = Utc.with_ymd_and_hms(2026, 11, 22, 18, 37, 0).unwrap();
    let accepted_time = AcceptedTime::new(second + chrono::Duration::microseconds(123_450));
    let content = ExportContent { review, documents, destination: None, fallback: Fallback::Local };
    AcceptedExport {
        export_id: ExportId::new(Uuid::from_u128(0x6f1c_7a52_3b0e_4c59_9d7e_0b1f_2a3c_4d5e)),
        content_digest: content.digest(format_version),
        folder_base: FolderBase::new(&accepted_time, &content.review.document_name),
        content: Arc::new(content),
        accepted_time,
        format_version,
        destination: Destination::S3,
        store_id: None,
        read_digests: Default::default(),
        requested_by: "review-application".into(),
    }
}

fn document(
    kind: DocumentKind,
    file_name: &str,
    media_type: &str,
    content: &'static [u8],
) -> Document {
    Document::inline(kind, file_name.into(), media_type.into(), Bytes::from_static(content))
}

fn all_documents() -> Vec<Document> {
    vec![
        document(DocumentKind::Before, "before.docx", "", b"before the review"),
        document(DocumentKind::After, "", "", &[b'a'; 12_345]),
        document(DocumentKind::Guidelines, "house guidelines.pdf", "application/x-own", b""),
    ]
}

fn unicode_documents() -> Vec<Document> {
    vec![
        document(DocumentKind::Before, "vorher: Entwurf №3.DOCX", "", b"vorher"),
        document(DocumentKind::Guidelines, "指針", "text/plain\nX-Forged: 1", b"guidelines"),
    ]
}

fn section<const N: usize>(name: &str, items: [&Value; N]) -> FeedbackSection {
    FeedbackSection { name: name.into(), items: items.into_iter().map(session::item).collect() }
}

fn typical() -> Review {
    let first = json!({
        "id": "0-0", "type": "critical", "category": "Timeline",
        "description": "The outage's start is missing.", "suggestion": "Name the first alarm.",
        "example": "At 09:12 UTC the pager rang.", "questions": ["Who was paged?", "When?"],
        "hawkeye_refs": [2, 13], "risk_level": "High", "confidence": 0.92,
    });
    let second = json!({
        "id": "0-1", "type": "positive", "category": "Root Cause", "description": "Clear cause.",
        "questions": [], "hawkeye_refs": [], "risk_level": "Low", "confidence": 1,
    });
    let third = json!({
        "id": "1-0", "type": "important", "category": "Timeline", "description": "Gap of 40 minutes.",
        "risk_level": "Medium", "confidence": 0.00001, "reviewed_by": {"name": "B", "at": null},
        "score": 0.1, "weight": 3, "Zone": "eu",
    });
    let own = json!({
        "id": "custom_0", "type": "suggestion", "category": "Custom", "description": "Link the ticket.",
        "risk_level": "Low", "user_created": true, "timestamp": "2026-11-01T09:04:29",
        "hawkeye_refs": [1], "confidence": 1.0, "ai_reference": null, "ai_id": null,
    });
    Review {
        document_name: "incident report.docx".into(),
        session_id: "session-000042".into(),
        reviewer: "Jane Doe".into(),
        guidelines_name: Some("house guidelines.pdf".into()),
        guidelines_preference: "both".into(),
        section_names: vec!["Summary".into(), "Timeline of Events".into(), "Appendix".into()],
        suggestions: vec![
            section("Summary", [&first, &second]),
            section("Timeline of Events", [&third]),
            section("Appendix", []),
        ],
        accepted: vec![section("Summary", [&first, &own]), section("Timeline of Events", [&third])],
        rejected: vec![section("Summary", [&second])],
        user_created: vec![section("Summary", [&own])],
        activity_log: session::log(&json!([
            {"timestamp": "2026-11-01T09:00:18", "action": "DOCUMENTS_UPLOADED", "details": "Uploaded"},
            {"timestamp": "2026-11-01T09:09:29", "action": "CHAT_INTERACTION", "details": {"query": "Who?"}},
            {"timestamp": "2026-11-01T09:33:28.25", "action": "REVIEW_COMPLETED", "details": "Done"},
        ])),
        chat_history: session::log(&json!([
            {"role": "user", "content": "Who?\nWhen?", "timestamp": "2026-11-01T09:09:29"},
            {"role": "assistant", "content": "The pager says 09:12.", "ai_model": "model-a"},
        ])),
        audit_logs: session::log(&json!([
            {"timestamp": "2026-11-01T09:00:18", "level": "INFO", "details": "{'query': 'Who?'}"},
        ])),
        activity_timeline: session::log(&json!([
            {"time": "2026-11-01T09:00:18", "action": "DOCUMENTS_UPLOADED", "level": "INFO"},
        ])),
        performance_metrics: session::json_object(
            json!({"sections_analyzed": 3, "engagement_score": 5.75, "deep": [[], {}, [1.5e300]]})
                .as_object()
                .unwrap(),
        ),
        replacements: vec![],
    }
}

fn nothing_decided() -> Review {
    Review { accepted: vec![], rejected: vec![], user_created: vec![], ..typical() }
}

fn no_suggestions() -> Review {
    Review { suggestions: vec![], accepted: vec![], rejected: vec![], ..typical() }
}

fn sections_without_suggestions() -> Review {
    let late = json!({"id": "9-0", "category": "Evidence", "risk_level": "Severe"});
    let typical = typical();
    Review {
        suggestions: vec![
            typical.suggestions[1].clone(),
            section(
                "Unrated",
                [
                    json!({"id": "7", "category": null, "risk_level": null}),
                    json!({"id": "8", "category": "", "risk_level": "Severe"}),
                    json!({"id": 9, "category": 5, "risk_level": ["x"]}),
                    json!({"category": "A"}),
                    json!({"category": "B"}),
                    json!({"category": "C"}),
                ]
                .each_ref(),
            ),
        ],
        accepted: vec![section("Added later", [&late, &late])],
        rejected: vec![section("Added later", [&late]), section("Nothing here", [])],
        user_created: vec![section("", [&late])],
        ..typical
    }
}

fn unicode() -> Review {
    let item = json!({"id": "é", "category": "Größe & Maß", "description": "„Anführung“ \u{0} \u{2028} \t <b>",
        "risk_level": "Hoch", "ключ": "значение", "😀": [true]});
    Review {
        document_name: "re\u{301}sume\u{301}/報告書 (最終) 👩‍🚒.docx".into(),
        session_id: "сессия\n\nSTATISTICS\n  9,999 accepted".into(),
        reviewer: "Müller, Jürgen \u{202E}txet".into(),
        guidelines_name: Some("指針".into()),
        guidelines_preference: String::new(),
        section_names: vec!["概要".into()],
        suggestions: vec![section("概要", [&item]), section("Ωmega\r\n", []), section("a", [])],
        accepted: vec![section("概要", [&item])],
        ..typical()
    }
}

fn no_guidelines() -> Review {
    Review { guidelines_name: None, guidelines_preference: String::new(), ..typical() }
}

fn empty_logs() -> Review {
    Review {
        section_names: vec![],
        activity_log: vec![],
        chat_history: vec![],
        audit_logs: vec![],
        activity_timeline: vec![],
        performance_metrics: Default::default(),
        ..typical()
    }
}

/// Values that a client replaced, and an average per section that depends on the format version.
fn replacements() -> Review {
    let replacement =
        |path: &str, reason: &str| Replacement { path: path.to_owned(), reason: reason.to_owned() };
    Review {
        section_names: (1..=8).map(|number| format!("Section {number}")).collect(),
        activity_log: session::log(&json!([
            {"timestamp": "2026-11-01T09:00:00", "action": "DOCUMENTS_UPLOADED"},
            {"timestamp": "2026-11-01T10:36:55", "action": "REVIEW_COMPLETED"},
        ])),
        replacements: vec![
            replacement("suggestions[\"Timeline of Events\"][0].confidence", "NOT_FINITE"),
            replacement("performance_metrics[\"größe\"]", "An integer beyond 2^53 became a text."),
        ],
        ..typical()
    }
}

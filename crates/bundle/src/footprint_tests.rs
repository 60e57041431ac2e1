use std::mem::size_of;

use proptest::prelude::*;

use super::*;
use crate::{FiniteNumber, arbitrary, render};

/// Bytes of the rendered bundle and of the journal encoding, with the documents once.
fn output_bytes(export: &crate::AcceptedExport) -> u64 {
    let rendered = render(export).unwrap().size_bytes();
    let encoded: usize = export.encode().iter().skip(2).map(|piece| piece.len()).sum();
    let documents: u64 =
        export.content.documents.iter().map(|document| document.content.size_bytes()).sum();
    rendered + encoded as u64 - documents
}

proptest! {
    #[test]
    fn bundle_and_encoding_are_below_the_footprint(export in arbitrary::accepted_export()) {
        // Without the constant, which exceeds everything else of exports this small.
        let footprint = export.content.footprint_bytes() - CONSTANT_BYTES;
        let fixed_lines = 16 * 1024;
        let output = output_bytes(&export).saturating_sub(fixed_lines);
        prop_assert!(output <= footprint, "{output} bytes exceed the footprint of {footprint}");
    }
}

fn content(review: Review) -> ExportContent {
    ExportContent {
        review,
        documents: Vec::new(),
        destination: None,
        fallback: crate::Fallback::Local,
    }
}

fn accepted(review: Review) -> crate::AcceptedExport {
    use crate::{AcceptedExport, AcceptedTime, Destination, ExportId, FolderBase, FormatVersion};
    let accepted_time = AcceptedTime::new(chrono::DateTime::UNIX_EPOCH);
    let content = content(review);
    AcceptedExport {
        export_id: ExportId::new(uuid::Uuid::from_u128(7)),
        content_digest: content.digest(FormatVersion::CURRENT),
        folder_base: FolderBase::new(&accepted_time, "a"),
        content: content.into(),
        accepted_time,
        format_version: FormatVersion::CURRENT,
        destination: Destination::Local,
        requested_by: String::new(),
        store_id: None,
        read_digests: Default::default(),
    }
}

fn section(name: &str, items: Vec<FeedbackItem>) -> FeedbackSection {
    FeedbackSection { name: name.to_owned(), items }
}

#[test]
fn output_of_amplifying_contents_is_below_the_footprint() {
    let mut deep = Json::Array(vec![Json::Null; 10_000]);
    for _ in 0..99 {
        deep = Json::Array(vec![deep]);
    }
    let number = |number| Json::Number(FiniteNumber::new(number).unwrap());
    let quotes = Json::Array(vec![Json::String("\"\\\u{1}".repeat(50)); 200]);
    let item = |key: &str, value: Json| FeedbackItem {
        additional_fields: JsonObject([(key.to_owned(), value)].into()),
        ..FeedbackItem::default()
    };
    let named = |index: usize| section(&format!("\u{1}{index}"), Vec::new());
    for (case, review) in [
        (
            "empty items",
            Review {
                suggestions: vec![section("s", vec![FeedbackItem::default(); 20_000])],
                ..Review::default()
            },
        ),
        (
            "empty sections",
            Review {
                accepted: (0..20_000).map(named).collect(),
                suggestions: (0..20_000).map(named).collect(),
                ..Review::default()
            },
        ),
        (
            "categories",
            Review {
                suggestions: vec![section(
                    "s",
                    (0..10_000)
                        .map(|index| FeedbackItem {
                            category: Some(format!("{index}")),
                            risk_level: Some(format!("\u{7}{index}")),
                            ..FeedbackItem::default()
                        })
                        .collect(),
                )],
                ..Review::default()
            },
        ),
        (
            "quoted categories",
            Review {
                suggestions: vec![section("s", vec![item("category", quotes)])],
                ..Review::default()
            },
        ),
        (
            "deep",
            Review {
                audit_logs: vec![JsonObject([("a".to_owned(), deep)].into())],
                ..Review::default()
            },
        ),
        (
            "control characters",
            Review {
                section_names: vec!["\u{1}".repeat(9_999)],
                chat_history: vec![JsonObject(
                    [("\u{1}".repeat(9_999), Json::String("\u{2}".repeat(99_999)))].into(),
                )],
                ..Review::default()
            },
        ),
        (
            "replacements",
            Review {
                replacements: vec![
                    Replacement {
                        path: "\u{1}".repeat(60),
                        reason: "\u{1}".repeat(60),
                    };
                    1_000
                ],
                ..Review::default()
            },
        ),
        (
            "numbers",
            Review {
                performance_metrics: JsonObject(
                    [(
                        "a".to_owned(),
                        Json::Array(vec![number(-1.234_567_890_123_456_7e-300); 10_000]),
                    )]
                    .into(),
                ),
                ..Review::default()
            },
        ),
    ] {
        let export = accepted(review);
        let (footprint, output) = (export.content.footprint_bytes(), output_bytes(&export));
        assert!(output < footprint, "{case}: {output} bytes exceed the footprint of {footprint}");
    }
}

#[test]
fn heap_objects_count_with_their_complete_blocks() {
    let items = vec![FeedbackItem::default(); 1_000];
    let review = Review { suggestions: vec![section("s", items)], ..Review::default() };
    let item_bytes = size_of::<FeedbackItem>() as u64;
    assert!(content(review).footprint_bytes() > 1_000 * item_bytes);
    // A map with one entry has a complete node.
    let object = JsonObject([(String::new(), Json::Null)].into());
    let review = Review { chat_history: vec![object; 1_000], ..Review::default() };
    assert!(content(review).footprint_bytes() > 1_000 * 11 * (size_of::<(String, Json)>() as u64));
}

#[test]
fn inline_documents_count_once() {
    let mut with = content(Review::default());
    let without = with.footprint_bytes();
    with.documents.push(crate::Document::inline(
        crate::DocumentKind::Before,
        String::new(),
        String::new(),
        bytes::Bytes::from(vec![0; 1_000_000]),
    ));
    let more = with.footprint_bytes() - without;
    assert!((1_000_000..1_010_000).contains(&more), "{more}");
}

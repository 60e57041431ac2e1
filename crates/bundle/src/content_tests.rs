#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Document, DocumentKind, FeedbackItem, Json, arbitrary, to_json_compact};

type Mutation = fn(&mut ExportContent);

/// Each changes one field, regardless of its value.
const MUTATIONS: &[Mutation] = &[
    |c| c.destination = if c.destination.is_none() { Some(Destination::S3) } else { None },
    |c| {
        c.destination = Some(match c.destination {
            Some(Destination::S3) => Destination::Local,
            _ => Destination::S3,
        });
    },
    |c| {
        c.fallback = match c.fallback {
            Fallback::Local => Fallback::None,
            Fallback::None => Fallback::Local,
        };
    },
    |c| c.review.document_name.push('x'),
    |c| c.review.session_id.push('"'),
    |c| c.review.reviewer.push('\u{0}'),
    |c| {
        c.review.guidelines_name = match c.review.guidelines_name.take() {
            None => Some(String::new()),
            Some(_) => None,
        };
    },
    |c| c.review.guidelines_preference.push(' '),
    |c| c.review.section_names.push(String::new()),
    |c| c.review.suggestions.push(FeedbackSection { name: "added".into(), items: vec![] }),
    |c| c.review.accepted.push(FeedbackSection { name: "added".into(), items: vec![] }),
    |c| c.review.rejected.push(FeedbackSection { name: "added".into(), items: vec![] }),
    |c| c.review.user_created.push(FeedbackSection { name: "added".into(), items: vec![] }),
    |c| std::mem::swap(&mut c.review.activity_log, &mut c.review.audit_logs),
    |c| c.review.activity_log.push(JsonObject::default()),
    |c| c.review.chat_history.push(JsonObject::default()),
    |c| c.review.audit_logs.push(JsonObject::default()),
    |c| c.review.activity_timeline.push(JsonObject::default()),
    |c| {
        let metrics = &mut c.review.performance_metrics.0;
        let previous = metrics.insert("added".into(), Json::Null);
        if previous == Some(Json::Null) {
            metrics.insert("added".into(), Json::Bool(false));
        }
    },
    |c| c.documents.truncate(1),
    |c| c.review.replacements.push(Replacement::default()),
    |c| c.documents.iter_mut().for_each(|document| document.file_name.push('.')),
    |c| c.documents.iter_mut().for_each(|document| document.media_type.push('/')),
    |c| {
        for document in &mut c.documents {
            let mut bytes = document.content.inline().cloned().unwrap_or_default().to_vec();
            bytes.push(b'x');
            let Document { kind, file_name, media_type, .. } = document.clone();
            *document = Document::inline(kind, file_name, media_type, bytes.into());
        }
    },
    |c| c.documents.iter_mut().for_each(|document| document.kind = DocumentKind::After),
];

type ItemMutation = fn(&mut FeedbackItem);

/// Each changes one field of an item, regardless of its value.
const ITEM_MUTATIONS: &[ItemMutation] = &[
    |i| mutate_text(&mut i.id),
    |i| mutate_text(&mut i.r#type),
    |i| mutate_text(&mut i.category),
    |i| mutate_text(&mut i.description),
    |i| mutate_text(&mut i.suggestion),
    |i| mutate_text(&mut i.example),
    |i| i.questions.push(String::new()),
    |i| i.hawkeye_refs.push(0),
    |i| mutate_text(&mut i.risk_level),
    |i| i.confidence = if i.confidence.is_none() { Some(0.0) } else { None },
    |i| i.user_created = if i.user_created == Some(true) { Some(false) } else { Some(true) },
    |i| mutate_text(&mut i.timestamp),
    |i| mutate_text(&mut i.ai_reference),
    |i| mutate_text(&mut i.ai_id),
    |i| drop(i.additional_fields.0.insert("added".into(), Json::Array(vec![Json::Null]))),
];

fn mutate_text(text: &mut Option<String>) {
    *text = if text.is_none() { Some(String::new()) } else { None };
}

fn digest(content: &ExportContent) -> Sha256 {
    content.digest(FormatVersion::V1)
}

proptest! {
    // Each case applies all mutations.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn digests_are_equal_exactly_for_equal_contents(one in arbitrary::content()) {
        prop_assert_eq!(digest(&one), digest(&one.clone()));
        for mutate in MUTATIONS {
            let mut other = one.clone();
            mutate(&mut other);
            prop_assert_eq!(one == other, digest(&one) == digest(&other));
        }
    }

    #[test]
    fn digests_are_equal_exactly_for_equal_items(item in arbitrary::item()) {
        let content = |mut item: FeedbackItem| {
            // A known key with a typed value has no free value.
            let typed = FeedbackItem { additional_fields: JsonObject::default(), ..item.clone() };
            item.additional_fields.0.retain(|key, _| typed.known_value(key).is_none());
            let sections = vec![FeedbackSection { name: "s".into(), items: vec![item] }];
            ExportContent {
                review: Review { suggestions: sections, ..Review::default() },
                documents: vec![],
                destination: None,
                fallback: Fallback::Local,
            }
        };
        let one = content(item.clone());
        for mutate in ITEM_MUTATIONS {
            let mut other = item.clone();
            mutate(&mut other);
            let other = content(other);
            prop_assert_eq!(one == other, digest(&one) == digest(&other));
        }
    }
}

proptest! {
    #[test]
    fn json_encodings_are_equal_exactly_for_equal_objects(one in arbitrary::object(), other in arbitrary::object()) {
        prop_assert_eq!(one == other, to_json_compact(&one) == to_json_compact(&other));
    }
}

/// Stored digests depend on the encoding.
#[test]
fn encoding_is_pinned() {
    let item = FeedbackItem {
        id: Some("1".into()),
        confidence: Some(1.0),
        additional_fields: JsonObject([("questions".to_owned(), Json::Array(vec![]))].into()),
        ..FeedbackItem::default()
    };
    let content = ExportContent {
        review: Review {
            document_name: "a.docx".into(),
            suggestions: vec![FeedbackSection { name: "é".into(), items: vec![item] }],
            chat_history: vec![JsonObject::default()],
            ..Review::default()
        },
        documents: vec![Document::inline(
            DocumentKind::Before,
            "b.docx".into(),
            String::new(),
            Bytes::from_static(b"abc"),
        )],
        destination: Some(Destination::S3),
        fallback: Fallback::None,
    };
    let encoding = concat!(
        r#"{"version":1,"destination":"s3","fallback":"none","documents":[{"kind":"before","#,
        r#""file_name":"b.docx","media_type":"","sha256":"#,
        r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size_bytes":3}],"#,
        r#""review":{"document_name":"a.docx","session_id":"","reviewer":"","guidelines_name":null,"#,
        r#""guidelines_preference":"","section_names":[],"suggestions":[{"name":"é","items":"#,
        r#"[{"id":"1","questions":[],"confidence":1.0}]}],"accepted":[],"rejected":[],"#,
        r#""user_created":[],"activity_log":[],"chat_history":[{}],"audit_logs":[],"#,
        r#""activity_timeline":[],"performance_metrics":{}}}"#,
    );
    assert_eq!(String::from_utf8_lossy(&encoded(&content)), encoding);
    assert_eq!(digest(&content), Sha256::of(encoding.as_bytes()));
}

#[test]
fn replacements_change_the_digest_in_every_version() {
    let content = |replacements| ExportContent {
        review: Review { document_name: "a.docx".into(), replacements, ..Review::default() },
        documents: vec![],
        destination: None,
        fallback: Fallback::Local,
    };
    let replacement =
        |path: &str, reason: &str| Replacement { path: path.to_owned(), reason: reason.to_owned() };
    let without = content(vec![]);
    let with = content(vec![replacement("chat_history[0].score", "NOT_FINITE")]);
    let encoding = String::from_utf8(encoded(&with)).unwrap();
    let end = r#""performance_metrics":{},"replacements":[{"path":"chat_history[0].score","reason":"NOT_FINITE"}]}}"#;
    assert!(encoding.ends_with(end), "{encoding}");
    for version in [FormatVersion::V1, FormatVersion::V2] {
        assert_eq!(without.digest(version), Sha256::of(&encoded(&without)));
        for other in [
            content(vec![replacement("chat_history[0].score", "")]),
            content(vec![replacement("", "NOT_FINITE")]),
            content(vec![Replacement::default(); 2]),
            without.clone(),
        ] {
            assert_ne!(other.digest(version), with.digest(version), "{other:?}");
        }
    }
}

/// The bytes that are digested.
fn encoded(content: &ExportContent) -> Vec<u8> {
    let mut bytes = Vec::new();
    content.write_v1(&mut bytes);
    bytes
}

//! Arbitrary reviews for property tests.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Duration};
use proptest::{collection::vec, option, prelude::*};
use uuid::Uuid;

use super::{
    AcceptedExport, AcceptedTime, Destination, Document, DocumentKind, ExportContent, ExportId,
    Fallback, FeedbackItem, FeedbackSection, FiniteNumber, FolderBase, FormatVersion, Json,
    JsonObject, Replacement, Review,
};

/// Any text, often with control characters and quotes.
pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-c]{0,2}", "[\u{0}-\u{1F}\"\\\\/\u{7F}-\u{9F}\u{2028}é😀]{0,6}"]
}

/// Finite numbers: integers up to ±2⁵³, fractions, and doubles of any size. Without minus zero, which
/// equals zero but has another encoding.
fn number() -> impl Strategy<Value = f64> {
    const LARGEST: i64 = 1 << 53;
    prop_oneof![
        (-LARGEST..=LARGEST).prop_map(|integer| integer as f64),
        prop_oneof![Just(LARGEST), Just(-LARGEST), Just(0)].prop_map(|integer| integer as f64),
        -1000.0..1000.0,
        any::<f64>(),
    ]
    .prop_filter("finite", |number| number.is_finite())
    .prop_map(|number| if number == 0.0 { 0.0 } else { number })
}

/// Any JSON with a few levels.
pub(super) fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number().prop_filter_map("finite", |number| FiniteNumber::new(number).map(Json::Number)),
        text().prop_map(Json::String),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::Array),
            vec((text(), inner), 0..4)
                .prop_map(|pairs| Json::Object(JsonObject(pairs.into_iter().collect()))),
        ]
    })
}

/// Any JSON object.
pub(super) fn object() -> impl Strategy<Value = JsonObject> {
    vec((text(), json()), 0..4).prop_map(|pairs| JsonObject(pairs.into_iter().collect()))
}

/// Values that any known key may have among the free fields.
fn untyped() -> impl Strategy<Value = Json> {
    prop_oneof![Just(Json::Null), Just(Json::Array(vec![])), object().prop_map(Json::Object),]
}

/// Any item in which each key has one value.
pub(super) fn item() -> impl Strategy<Value = FeedbackItem> {
    let words = (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    let more_words =
        (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    let lists = (vec(text(), 0..3), vec(any::<i64>(), 0..3));
    let others =
        (option::of(number()), option::of(any::<bool>()), option::of(text()), option::of(text()));
    let free =
        (object(), vec((proptest::sample::select(&FeedbackItem::KEYS[..]), untyped()), 0..4));
    (words, more_words, lists, others, free).prop_map(
        |(words, more_words, lists, others, (mut free, untyped))| {
            free.0.retain(|key, _| !FeedbackItem::KEYS.contains(&key.as_str()));
            let mut item = FeedbackItem {
                id: words.0,
                r#type: words.1,
                category: words.2,
                description: words.3,
                suggestion: more_words.0,
                example: more_words.1,
                questions: lists.0,
                hawkeye_refs: lists.1,
                risk_level: more_words.2,
                confidence: others.0,
                user_created: others.1,
                timestamp: more_words.3,
                ai_reference: others.2,
                ai_id: others.3,
                additional_fields: free,
            };
            for (key, value) in untyped {
                if item.known_value(key).is_none() {
                    item.additional_fields.0.insert(key.to_owned(), value);
                }
            }
            item
        },
    )
}

/// Sections with unique names.
fn sections() -> impl Strategy<Value = Vec<FeedbackSection>> {
    vec((text(), vec(item(), 0..3)), 0..3).prop_map(|pairs| {
        let mut sections: Vec<FeedbackSection> = Vec::new();
        for (name, items) in pairs {
            if sections.iter().all(|section| section.name != name) {
                sections.push(FeedbackSection { name, items });
            }
        }
        sections
    })
}

/// Any review.
pub(super) fn review() -> impl Strategy<Value = Review> {
    let log = || vec(object(), 0..3);
    let names = (text(), text(), text(), option::of(text()), text(), vec(text(), 0..3));
    let feedback = (sections(), sections(), sections(), sections());
    let logs = (log(), log(), log(), log(), object());
    let replacement = (text(), text()).prop_map(|(path, reason)| Replacement { path, reason });
    let replacements = vec(replacement, 0..3);
    (names, feedback, logs, replacements).prop_map(|(names, feedback, logs, replacements)| Review {
        document_name: names.0,
        session_id: names.1,
        reviewer: names.2,
        guidelines_name: names.3,
        guidelines_preference: names.4,
        section_names: names.5,
        suggestions: feedback.0,
        accepted: feedback.1,
        rejected: feedback.2,
        user_created: feedback.3,
        activity_log: logs.0,
        chat_history: logs.1,
        audit_logs: logs.2,
        activity_timeline: logs.3,
        performance_metrics: logs.4,
        replacements,
    })
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    let one = || option::of((text(), text(), vec(any::<u8>(), 0..9)));
    [one(), one(), one()].prop_map(|given| {
        let kinds = DocumentKind::ALL.into_iter().zip(given);
        let sent = kinds.filter_map(|(kind, given)| Some((kind, given?)));
        sent.map(|(kind, (file_name, media_type, content))| {
            Document::inline(kind, file_name, media_type, Bytes::from(content))
        })
        .collect()
    })
}

/// Any content of a request.
pub(super) fn content() -> impl Strategy<Value = ExportContent> {
    let destination = option::of(prop_oneof![Just(Destination::S3), Just(Destination::Local)]);
    let fallback = prop_oneof![Just(Fallback::Local), Just(Fallback::None)];
    (review(), documents(), destination, fallback).prop_map(
        |(review, documents, destination, fallback)| ExportContent {
            review,
            documents,
            destination,
            fallback,
        },
    )
}

/// Any accepted export.
pub(super) fn accepted_export() -> impl Strategy<Value = AcceptedExport> {
    let time = (0..=AcceptedTime::LATEST_MICROS).prop_map(|micros| {
        AcceptedTime::new(DateTime::UNIX_EPOCH + Duration::microseconds(micros))
    });
    let version = prop_oneof![Just(FormatVersion::V1), Just(FormatVersion::V2)];
    (content(), time, any::<u128>(), text(), version).prop_map(
        |(mut content, accepted_time, id, requested_by, format_version)| {
            if format_version == FormatVersion::V1 {
                content.review.replacements.clear();
            }
            AcceptedExport {
                export_id: ExportId::new(Uuid::from_u128(id)),
                content_digest: content.digest(format_version),
                folder_base: FolderBase::new(&accepted_time, &content.review.document_name),
                destination: content.destination.unwrap_or(Destination::Local),
                content: Arc::new(content),
                accepted_time,
                format_version,
                requested_by,
                store_id: None,
                read_digests: Default::default(),
            }
        },
    )
}

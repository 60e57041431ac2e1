#![allow(clippy::unwrap_used)]

use std::fs;

use proptest::prelude::*;
use prost_types::{Struct, Value, value::Kind};
use serde_json::json;

use super::*;
use crate::{
    json::request_from_json,
    proto::{
        FeedbackItem, FeedbackSection, Review,
        document::{self, Source},
    },
    to_json,
};

fn review(json: &serde_json::Value) -> Review {
    let (review, warnings) = review_from_json(json.to_string()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    review
}

fn error(text: &str) -> String {
    review_from_json(text).unwrap_err().to_string()
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn structure<const N: usize>(fields: [(&str, Kind); N]) -> Struct {
    let fields = fields.map(|(key, kind)| (key.to_owned(), value(kind)));
    Struct { fields: fields.into() }
}

fn item(json: &serde_json::Value) -> FeedbackItem {
    let review = review(&json!({ "feedback_data": { "s": [json] } }));
    review.suggestions[0].items[0].clone()
}

#[test]
fn every_key_is_mapped_to_its_field() {
    let entry = |text: &str| structure([("key", Kind::StringValue(text.to_owned()))]);
    let section = |name: &str, id: &str| FeedbackSection {
        name: name.to_owned(),
        items: vec![FeedbackItem { id: Some(id.to_owned()), ..Default::default() }],
    };
    let actual = review(&json!({
        "session_id": "s-1", "document_name": "Bericht ä.docx", "reviewer": "R. Viewer",
        "guidelines_name": "g.docx", "guidelines_preference": "both",
        "sections": { "One": "a long text" },
        "feedback_data": { "One": [{ "id": "1" }] },
        "accepted_feedback": { "Two": [{ "id": "2" }] },
        "rejected_feedback": { "Three": [{ "id": "3" }] },
        "user_feedback": { "Four": [{ "id": "4" }] },
        "activity_log": [{ "key": "activity" }], "chat_history": [{ "key": "chat" }],
        "audit_logs": [{ "key": "audit" }], "activity_timeline": [{ "key": "timeline" }],
        "performance_metrics": { "key": "metrics" },
    }));
    let expected = Review {
        document_name: "Bericht ä.docx".to_owned(),
        session_id: "s-1".to_owned(),
        reviewer: "R. Viewer".to_owned(),
        guidelines_name: Some("g.docx".to_owned()),
        guidelines_preference: "both".to_owned(),
        section_names: vec!["One".to_owned()],
        suggestions: vec![section("One", "1")],
        accepted: vec![section("Two", "2")],
        rejected: vec![section("Three", "3")],
        user_created: vec![section("Four", "4")],
        activity_log: vec![entry("activity")],
        chat_history: vec![entry("chat")],
        audit_logs: vec![entry("audit")],
        activity_timeline: vec![entry("timeline")],
        performance_metrics: Some(entry("metrics")),
        replacements: vec![],
    };
    assert_eq!(actual, expected);
}

#[test]
fn null_is_the_same_as_a_missing_key() {
    let text = r#"{"session_id":null,"document_name":null,"reviewer":null,"guidelines_name":null,
        "guidelines_preference":null,"sections":null,"feedback_data":null,"accepted_feedback":null,
        "rejected_feedback":null,"user_feedback":null,"activity_log":null,"chat_history":null,
        "audit_logs":null,"activity_timeline":null,"performance_metrics":null}"#;
    assert_eq!(review_from_json(text).unwrap(), (Review::default(), Vec::new()));
    assert_eq!(review_from_json("{}").unwrap(), (Review::default(), Vec::new()));
    assert_eq!(review(&json!({ "guidelines_name": "" })).guidelines_name.as_deref(), Some(""));
}

#[test]
fn order_is_preserved() {
    let text = r#"{"sections":{"b":1,"a":null},
        "feedback_data":{"z":[{"id":"2"},{"id":"1"}],"a":[],"":[]}}"#;
    let (review, _) = review_from_json(text).unwrap();
    assert_eq!(review.section_names, ["b", "a"]);
    let names: Vec<_> = review.suggestions.iter().map(|section| section.name.as_str()).collect();
    assert_eq!(names, ["z", "a", ""]);
    let ids: Vec<_> = review.suggestions[0].items.iter().map(|item| item.id.as_deref()).collect();
    assert_eq!(ids, [Some("2"), Some("1")]);
    let (review, _) = review_from_json(r#"{"sections":["b","a","b"]}"#).unwrap();
    assert_eq!(review.section_names, ["b", "a", "b"]);
}

#[test]
fn unknown_top_level_keys_cause_warnings() {
    let (_, warnings) = review_from_json(r#"{"extra":1,"more things":{}}"#).unwrap();
    assert_eq!(
        warnings,
        [
            "extra: not a key of a review, ignored",
            "[\"more things\"]: not a key of a review, ignored"
        ]
    );
}

#[test]
fn known_item_keys_are_typed() {
    let item = item(&json!({
        "id": "1", "type": "critical", "category": "c", "description": "", "suggestion": "s",
        "example": "e", "questions": ["q", ""], "hawkeye_refs": [7, i64::MAX, i64::MIN],
        "risk_level": "High", "confidence": 1, "user_created": false, "timestamp": "t",
        "ai_reference": "r", "ai_id": "i",
    }));
    let text = |text: &str| Some(text.to_owned());
    let expected = FeedbackItem {
        id: text("1"),
        r#type: text("critical"),
        category: text("c"),
        description: text(""),
        suggestion: text("s"),
        example: text("e"),
        questions: vec!["q".to_owned(), String::new()],
        hawkeye_refs: vec![7, i64::MAX, i64::MIN],
        risk_level: text("High"),
        confidence: Some(1.0),
        user_created: Some(false),
        timestamp: text("t"),
        ai_reference: text("r"),
        ai_id: text("i"),
        additional_fields: None,
    };
    assert_eq!(item, expected);
}

#[test]
fn known_keys_of_another_type_become_free_form_fields() {
    let json = json!({
        "id": 7, "type": null, "category": [], "description": {"a": 1}, "suggestion": true,
        "example": 0.5, "questions": [], "hawkeye_refs": [1.5], "risk_level": null,
        "confidence": "0.9", "user_created": "yes", "timestamp": 0, "ai_reference": null,
        "ai_id": [1], "other": [null, {"x": [false]}],
    });
    let item = item(&json);
    let expected =
        FeedbackItem { additional_fields: item.additional_fields.clone(), ..Default::default() };
    assert_eq!(item, expected);
    assert_eq!(struct_to_json(&item.additional_fields.unwrap()), json);
    for list in [json!(["q", 1]), json!(["q", null]), json!(null), json!("q")] {
        let item = self::item(&json!({ "questions": list, "hawkeye_refs": list }));
        assert!(item.questions.is_empty() && item.hawkeye_refs.is_empty(), "{list}");
        let expected = json!({ "questions": list, "hawkeye_refs": list });
        assert_eq!(struct_to_json(&item.additional_fields.unwrap()), expected);
    }
}

#[test]
fn text_that_is_no_object_is_an_error() {
    assert_eq!(error("[]"), "the JSON text: must be an object, but is a list");
    assert_eq!(error("{"), "line 1, column 1: EOF while parsing an object");
}

#[test]
fn doubles_represent_integers_up_to_two_to_the_53() {
    let limit = item(&json!({ "n": 9_007_199_254_740_992_i64 })).additional_fields.unwrap();
    assert_eq!(limit, structure([("n", Kind::NumberValue(9_007_199_254_740_992.0))]));
}

#[test]
fn free_form_fields_may_be_thirty_levels_deep() {
    // The item's free-form fields are the first level.
    let nested = |levels: usize| {
        let value = format!("{}1{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        review_from_json(format!(r#"{{"feedback_data":{{"S":[{{"w":{value}}}]}}}}"#)).unwrap().0
    };
    for levels in [30, 31, 500] {
        let review = nested(levels);
        assert_eq!(review.replacements.is_empty(), levels == 30);
        // The server can decode it: prost accepts at most 100 nested messages.
        let bytes = prost::Message::encode_to_vec(&review);
        assert_eq!(prost::Message::decode(bytes.as_slice()), Ok(review));
    }
}

#[test]
fn folder_is_read_with_review_and_documents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("session.json"), r#"{"document_name":"d.docx"}"#).unwrap();
    fs::write(path.join("guidelines.pdf"), "rules").unwrap();
    fs::write(path.join("BEFORE.docx"), "").unwrap();
    fs::write(path.join("notes.txt"), "").unwrap();
    fs::write(path.join(".hidden"), "").unwrap();
    fs::create_dir(path.join("attachments")).unwrap();
    let LoadedRequest { request, warnings, .. } = read(path).unwrap();
    let folder_warning =
        "attachments: it is a folder, not a plain file; copy its content to a file first, ignored";
    assert_eq!(warnings, [folder_warning, "notes.txt: not a file of a review, ignored"]);
    assert_eq!(request.review.unwrap().document_name, "d.docx");
    assert!(request.request_id.is_empty());
    let [before, guidelines] = request.documents.try_into().unwrap();
    assert_eq!(before.kind(), document::Kind::Before);
    assert_eq!(before.file_name, "BEFORE.docx");
    assert_eq!(before.source, Some(Source::Content(Default::default())));
    assert_eq!(guidelines.kind(), document::Kind::Guidelines);
    assert_eq!(guidelines.source, Some(Source::Content("rules".into())));
    assert_eq!(guidelines.sha256, tara_export_digest::Sha256::of(b"rules").to_string());
}

#[test]
#[cfg(target_os = "linux")]
fn file_name_that_is_not_unicode_is_replaced() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("session.json"), "{}").unwrap();
    fs::write(path.join("before.docx"), "1").unwrap();
    fs::write(path.join(OsStr::from_bytes(b"after.\xfcber.docx")), "2").unwrap();
    fs::write(path.join(OsStr::from_bytes(b"\xff.txt")), "3").unwrap();
    let LoadedRequest { request, warnings, .. } = read(path).unwrap();
    assert_eq!(request.documents[1].file_name, "after.\u{fffd}ber.docx");
    assert_eq!(request.documents[1].source, Some(Source::Content("2".into())));
    let [replacement] = request.review.unwrap().replacements.try_into().unwrap();
    assert_eq!(replacement.path, "documents[1].file_name");
    assert_eq!(replacement.reason, "NOT_UNICODE");
    let [ignored, replaced] = warnings.try_into().unwrap();
    assert_eq!(ignored, "\u{fffd}.txt: not a file of a review, ignored");
    assert!(replaced.starts_with("documents[1].file_name: "), "{replaced}");
}

#[test]
fn document_that_is_no_plain_file_is_not_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("session.json"), "{}").unwrap();
    let document = path.join("before.docx");
    std::os::unix::fs::symlink("gone.docx", &document).unwrap();
    let message = read(path).unwrap_err().to_string();
    assert!(message.contains("before.docx: it is a link that leads nowhere"), "{message}");
    fs::remove_file(&document).unwrap();
    fs::create_dir(&document).unwrap();
    let message = read(path).unwrap_err().to_string();
    assert!(message.contains("before.docx: it is a folder"), "{message}");
    assert!(message.contains("remove it to export the review without it"), "{message}");
    fs::remove_dir(&document).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&document).status().unwrap().success());
    let message = read(path).unwrap_err().to_string();
    assert!(message.contains("before.docx: it is a pipe"), "{message}");
    fs::remove_file(&document).unwrap();

    // A link to a document is one, and the reported size does not matter.
    std::os::unix::fs::symlink("/proc/cpuinfo", &document).unwrap();
    let request = read(path).unwrap().request;
    let counted = |source: &Source| matches!(source, Source::Content(bytes) if !bytes.is_empty());
    assert!(request.documents[0].source.as_ref().is_some_and(counted));

    let session = path.join("session.json");
    fs::remove_file(&session).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&session).status().unwrap().success());
    let message = read(path).unwrap_err().to_string();
    assert!(message.contains("session.json: it is a pipe"), "{message}");
}

#[test]
fn invalid_folders_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(matches!(read(path), Err(InputError::NoSession { .. })));
    fs::write(path.join("session.json"), b"{\xff").unwrap();
    assert!(matches!(read(path), Err(InputError::Json { .. })));
    fs::write(path.join("session.json"), "{}").unwrap();
    fs::write(path.join("before.docx"), "").unwrap();
    fs::write(path.join("before.pdf"), "").unwrap();
    let message = read(path).unwrap_err().to_string();
    assert!(message.contains("both before.docx and before.pdf"), "{message}");
    assert!(matches!(read(&path.join("missing")), Err(InputError::Io { .. })));
}

#[test]
fn large_document_is_listed_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("session.json"), "{}").unwrap();
    fs::write(folder.path().join("before.txt"), "small").unwrap();
    let path = folder.path().join("after.bin");
    // Too large for memory.
    let size_bytes = 1 << 40;
    fs::File::create(&path).unwrap().set_len(size_bytes).unwrap();
    let mut loaded = read(folder.path()).unwrap();
    let large = LargeDocument { index: 1, path, size_bytes };
    assert_eq!(loaded.large_documents, std::slice::from_ref(&large));
    assert_eq!((loaded.request.documents.len(), &loaded.request.documents[1].source), (2, &None));
    let sha256 = tara_export_digest::Sha256::of(b"content");
    let uploaded = UploadedFile { name: "uploads/1".to_owned(), size_bytes, sha256 };
    loaded.set_uploaded(&large, &uploaded);
    let document = &loaded.request.documents[1];
    assert_eq!(document.source, Some(Source::Upload("uploads/1".to_owned())));
    assert_eq!(document.sha256, sha256.to_string());
}

#[test]
fn too_large_session_or_request_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("session.json"), folder.path().join("request.json")] {
        fs::File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    }
    assert!(matches!(read(folder.path()), Err(InputError::TooLarge { .. })));
    let request = folder.path().join("request.json");
    assert!(matches!(read(&request), Err(InputError::TooLarge { .. })));
}

#[test]
fn example_is_read_completely() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/sample-review");
    let LoadedRequest { request, warnings, .. } = read(folder.as_ref()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(request.documents.len(), 3);
    let text = fs::read_to_string(format!("{folder}/session.json")).unwrap();
    let source: serde_json::Value = serde_json::from_str(&text).unwrap();
    let review = request.review.as_ref().unwrap();
    for (list, key) in [
        (&review.suggestions, "feedback_data"),
        (&review.accepted, "accepted_feedback"),
        (&review.rejected, "rejected_feedback"),
        (&review.user_created, "user_feedback"),
    ] {
        let sections = source[key].as_object().unwrap();
        assert_eq!(list.len(), sections.len(), "{key}");
        for section in list {
            let actual: serde_json::Value = section.items.iter().map(item_to_json).collect();
            assert_eq!(actual, with_plain_integers(&sections[&section.name]), "{key}");
        }
    }
    assert_eq!(request_from_json(to_json(&request)), Ok(request));
}

/// Converts the item back to the review application's JSON.
fn item_to_json(item: &FeedbackItem) -> serde_json::Value {
    let free = item.additional_fields.clone().unwrap_or_default();
    let mut json = struct_to_json(&free);
    let mut set = |key: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            assert!(json.get(key).is_none(), "{key} occurs twice");
            json[key] = value;
        }
    };
    for (key, text) in [
        ("id", &item.id),
        ("type", &item.r#type),
        ("category", &item.category),
        ("description", &item.description),
        ("suggestion", &item.suggestion),
        ("example", &item.example),
        ("risk_level", &item.risk_level),
        ("timestamp", &item.timestamp),
        ("ai_reference", &item.ai_reference),
        ("ai_id", &item.ai_id),
    ] {
        set(key, text.clone().map(Into::into));
    }
    set("confidence", item.confidence.map(number_to_json));
    set("user_created", item.user_created.map(Into::into));
    set("questions", (!item.questions.is_empty()).then(|| json!(item.questions)));
    set("hawkeye_refs", (!item.hawkeye_refs.is_empty()).then(|| json!(item.hawkeye_refs)));
    json
}

/// Converts a Struct to JSON, independently of the code under test. Integral doubles become integers, so
/// that they compare equal to the literals of the tests.
fn struct_to_json(structure: &Struct) -> serde_json::Value {
    let fields = structure.fields.iter();
    fields.map(|(key, value)| (key.clone(), value_to_json(value))).collect()
}

fn value_to_json(value: &Value) -> serde_json::Value {
    match value.kind.as_ref().unwrap() {
        Kind::NullValue(_) => json!(null),
        Kind::BoolValue(value) => json!(value),
        Kind::StringValue(text) => json!(text),
        Kind::NumberValue(number) => number_to_json(*number),
        Kind::ListValue(list) => list.values.iter().map(value_to_json).collect(),
        Kind::StructValue(structure) => struct_to_json(structure),
    }
}

fn number_to_json(number: f64) -> serde_json::Value {
    let is_integer = number.fract() == 0.0
        && number.abs() <= 9_007_199_254_740_992.0
        && !(number == 0.0 && number.is_sign_negative());
    if is_integer { json!(number as i64) } else { json!(number) }
}

/// Replaces `1.0` by `1`: a double does not distinguish them.
fn with_plain_integers(json: &serde_json::Value) -> serde_json::Value {
    match json {
        serde_json::Value::Number(number) => number_to_json(number.as_f64().unwrap()),
        serde_json::Value::Array(elements) => elements.iter().map(with_plain_integers).collect(),
        serde_json::Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), with_plain_integers(value))).collect()
        }
        other => other.clone(),
    }
}

/// Any JSON that free-form fields accept: integers to ±2^53, all finite doubles except such integers,
/// and strings with every kind of character.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let integer = -9_007_199_254_740_992_i64..=9_007_199_254_740_992;
    let double = any::<f64>().prop_filter("finite and not an exact integer", |double| {
        double.is_finite() && (double.fract() != 0.0 || double.abs() > 9.1e15)
    });
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        integer.prop_map(|integer| json!(integer)),
        double.prop_map(|double| json!(double)),
        any::<String>().prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn free_form_fields_round_trip(
        fields in prop::collection::btree_map("[a-z_ äß\u{1F600}\u{0}-\u{1F}]{1,12}", any_json(), 0..5),
        known in any_json(),
    ) {
        let mut source: serde_json::Value = fields.into_iter().collect();
        for key in FeedbackItem::KNOWN {
            source[key] = known.clone();
        }
        let entry = source.clone();
        let text = json!({
            "feedback_data": { "S": [source] },
            "activity_log": [entry],
            "performance_metrics": entry,
        })
        .to_string();
        let (review, _) = review_from_json(&text).unwrap();
        prop_assert_eq!(&item_to_json(&review.suggestions[0].items[0]), &entry);
        prop_assert_eq!(&struct_to_json(&review.activity_log[0]), &entry);
        prop_assert_eq!(&struct_to_json(review.performance_metrics.as_ref().unwrap()), &entry);

        // Also through proto3 JSON and back.
        let request = StartExportRequest { review: Some(review), ..Default::default() };
        prop_assert_eq!(request_from_json(to_json(&request)), Ok(request));
    }
}

impl FeedbackItem {
    const KNOWN: [&str; 14] = [
        "id",
        "type",
        "category",
        "description",
        "suggestion",
        "example",
        "questions",
        "hawkeye_refs",
        "risk_level",
        "confidence",
        "user_created",
        "timestamp",
        "ai_reference",
        "ai_id",
    ];
}

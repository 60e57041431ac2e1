#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use tara_export_digest::Sha256;

use super::*;
use crate::{FeedbackItem, FeedbackSection, Json, JsonObject, arbitrary};

/// The value as a JSON parser returns it.
fn parsed(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match number.as_integer() {
            Some(integer) => integer.into(),
            None => number.get().into(),
        },
        Json::String(text) => text.clone().into(),
        Json::Array(values) => values.iter().map(parsed).collect(),
        Json::Object(object) => parsed_object(object),
    }
}

fn parsed_object(object: &JsonObject) -> Value {
    Value::Object(object.0.iter().map(|(key, value)| (key.clone(), parsed(value))).collect())
}

fn parsed_item(item: &FeedbackItem) -> Value {
    let mut object = parsed_object(&item.additional_fields);
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object[key] = value;
        }
    };
    let text = |text: &Option<String>| text.clone().map(Value::from);
    set("id", text(&item.id));
    set("type", text(&item.r#type));
    set("category", text(&item.category));
    set("description", text(&item.description));
    set("suggestion", text(&item.suggestion));
    set("example", text(&item.example));
    set("questions", Some(item.questions.clone().into()).filter(|_| !item.questions.is_empty()));
    set(
        "hawkeye_refs",
        Some(item.hawkeye_refs.clone().into()).filter(|_| !item.hawkeye_refs.is_empty()),
    );
    set("risk_level", text(&item.risk_level));
    set("confidence", item.confidence.map(Value::from));
    set("user_created", item.user_created.map(Value::from));
    set("timestamp", text(&item.timestamp));
    set("ai_reference", text(&item.ai_reference));
    set("ai_id", text(&item.ai_id));
    object
}

fn parsed_sections(sections: &[FeedbackSection]) -> Value {
    let pairs = sections
        .iter()
        .map(|section| (section.name.clone(), section.items.iter().map(parsed_item).collect()));
    Value::Object(pairs.collect())
}

fn parsed_log(log: &[JsonObject]) -> Value {
    log.iter().map(parsed_object).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bundle_has_all_values_of_the_request(export in arbitrary::accepted_export()) {
        let bundle = render(&export).unwrap();
        let files: BTreeMap<&str, &Artifact> =
            bundle.artifacts.iter().map(|artifact| (artifact.path.as_str(), artifact)).collect();
        let json = |path: &str| serde_json::from_slice::<Value>(files[path].content.inline().unwrap()).unwrap();
        let review = &export.content.review;
        for (path, sections) in [
            ("feedback/all_ai_suggestions.json", &review.suggestions),
            ("feedback/accepted_feedback.json", &review.accepted),
            ("feedback/rejected_feedback.json", &review.rejected),
            ("feedback/user_custom_feedback.json", &review.user_created),
        ] {
            prop_assert_eq!(&json(path)["feedback_by_section"], &parsed_sections(sections));
        }
        prop_assert_eq!(&json("logs/activity_log.json")["activity_log"], &parsed_log(&review.activity_log));
        prop_assert_eq!(&json("logs/chat_history.json")["chat_history"], &parsed_log(&review.chat_history));
        let audit = json("logs/audit_logs.json");
        prop_assert_eq!(&audit["audit_logs"], &parsed_log(&review.audit_logs));
        prop_assert_eq!(&audit["activity_timeline"], &parsed_log(&review.activity_timeline));
        prop_assert_eq!(&audit["performance_metrics"], &parsed_object(&review.performance_metrics));
        for document in &export.content.documents {
            let prefix = format!("documents/{}_", document.kind.as_str());
            let stored = bundle.artifacts.iter().find(|a| a.path.as_str().starts_with(&prefix)).unwrap();
            prop_assert_eq!(&stored.content, &document.content);
        }
        let report = ComprehensiveReport::parse(files["comprehensive_report.json"].content.inline().unwrap()).unwrap();
        prop_assert_eq!(report, ComprehensiveReport::new(review, export.accepted_time, export.format_version));
    }

    #[test]
    fn bundles_are_complete_and_deterministic(export in arbitrary::accepted_export()) {
        let bundle = render(&export).unwrap();
        prop_assert_eq!(&bundle, &render(&export.clone()).unwrap());
        prop_assert_eq!(bundle.artifacts.len() + bundle.omitted.len(), 12);
        prop_assert!(bundle.artifacts.is_sorted_by(|one, other| one.path.as_str() < other.path.as_str()));
        for artifact in &bundle.artifacts {
            prop_assert_eq!(artifact.sha256, Sha256::of(artifact.content.inline().unwrap()));
            prop_assert_eq!(artifact.path.as_str().parse(), Ok(artifact.path.clone()));
        }

        let folder = FolderName::new(&export.folder_base, 2);
        let manifest = bundle.manifest(&export, &folder);
        prop_assert_eq!(&manifest, &bundle.manifest(&export, &folder));
        let parsed = Manifest::parse(manifest.content.inline().unwrap()).unwrap();
        prop_assert_eq!(&parsed, &Manifest::new(&bundle, &export, &folder));
        prop_assert_eq!(parsed.size_bytes(), bundle.size_bytes());
        prop_assert_eq!(&parsed.document_name, &export.content.review.document_name);
        prop_assert_eq!(&parsed.replacements, &export.content.review.replacements);
    }

    #[test]
    fn preview_has_the_files_and_sizes_of_the_export(export in arbitrary::accepted_export()) {
        let documents: Vec<PreviewDocument> = export.content.documents.iter().map(|document| PreviewDocument {
            kind: document.kind,
            file_name: document.file_name.clone(),
            size_bytes: document.content.size_bytes(),
        }).collect();
        prop_assume!(export.format_version == FormatVersion::CURRENT);
        let planned = preview(&export.content.review, &documents, export.accepted_time);
        let planned: Vec<(&str, u64)> = planned.iter().map(|file| (file.path.as_str(), file.size_bytes)).collect();
        let bundle = render(&export).unwrap();
        let rendered: Vec<(&str, u64)> =
            bundle.artifacts.iter().map(|file| (file.path.as_str(), file.size_bytes())).collect();
        prop_assert_eq!(planned, rendered);
    }
}

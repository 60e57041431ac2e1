//! Validates and converts a review field by field.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
};

use prost_types::{ListValue, Struct, Value, value::Kind};
use tara_export_bundle::{
    FeedbackItem, FeedbackSection, FiniteNumber, Json, JsonObject, Replacement, Review,
};

use super::path::Path;
use crate::{
    grpc::{status::Violations, wire_scan::DEPTH_LIMIT},
    proto,
};

/// The longest name of a document, person, session or file.
pub(super) const NAME_LIMIT_BYTES: usize = 2048;

/// Longest path and longest reason of a replacement, in bytes.
const REPLACEMENT_LIMIT_BYTES: usize = 1024;
/// Bytes of the paths and reasons of all replacements, so that a manifest with their escaped texts stays
/// below `MANIFEST_LIMIT_BYTES`.
const REPLACEMENTS_LIMIT_BYTES: usize = 128 * 1024;

/// Converts a review and adds all violations. If there are any, the result must not be used.
pub(in crate::grpc) fn review(review: proto::Review, violations: &mut Violations) -> Review {
    let path = Path::root("review");
    if review.document_name.is_empty() {
        violations.add(path.name("document_name"), "is required: 1 to 2048 bytes");
    }
    for (field, text) in [
        ("document_name", &review.document_name),
        ("session_id", &review.session_id),
        ("reviewer", &review.reviewer),
        ("guidelines_name", review.guidelines_name.as_ref().unwrap_or(&String::new())),
        ("guidelines_preference", &review.guidelines_preference),
    ] {
        name_limit(path.name(field), text, violations);
    }
    let metrics = review.performance_metrics.unwrap_or_default();
    let mut lists = |list, name| sections(list, path.name(name), violations);
    let suggestions = lists(review.suggestions, "suggestions");
    let accepted = lists(review.accepted, "accepted");
    let rejected = lists(review.rejected, "rejected");
    let user_created = lists(review.user_created, "user_created");
    let replacements = replacements(review.replacements, path.name("replacements"), violations);
    let mut logs = |log, name| entries(log, path.name(name), violations);
    Review {
        document_name: review.document_name,
        session_id: review.session_id,
        reviewer: review.reviewer,
        guidelines_name: review.guidelines_name,
        guidelines_preference: review.guidelines_preference,
        section_names: review.section_names,
        suggestions,
        accepted,
        rejected,
        user_created,
        activity_log: logs(review.activity_log, "activity_log"),
        chat_history: logs(review.chat_history, "chat_history"),
        audit_logs: logs(review.audit_logs, "audit_logs"),
        activity_timeline: logs(review.activity_timeline, "activity_timeline"),
        performance_metrics: object(metrics, path.name("performance_metrics"), violations),
        replacements,
    }
}

fn replacements(
    list: Vec<proto::Replacement>,
    path: Path<'_>,
    violations: &mut Violations,
) -> Vec<Replacement> {
    let all_bytes: usize = list.iter().map(|entry| entry.path.len() + entry.reason.len()).sum();
    if all_bytes > REPLACEMENTS_LIMIT_BYTES {
        violations.add(
            path,
            format_args!(
                "at most {REPLACEMENTS_LIMIT_BYTES} bytes of paths and reasons, these are {all_bytes}"
            ),
        );
    }
    let convert = |(number, entry): (usize, proto::Replacement)| {
        let path = path.index(number);
        for (field, text) in [("path", &entry.path), ("reason", &entry.reason)] {
            if text.is_empty() || text.len() > REPLACEMENT_LIMIT_BYTES {
                violations.add(
                    path.name(field),
                    format_args!(
                        "required: 1 to {REPLACEMENT_LIMIT_BYTES} bytes, these are {}",
                        text.len()
                    ),
                );
            }
        }
        Replacement { path: entry.path, reason: entry.reason }
    };
    list.into_iter().enumerate().map(convert).collect()
}

pub(super) fn name_limit(field: impl Display, text: &str, violations: &mut Violations) {
    if text.len() > NAME_LIMIT_BYTES {
        violations
            .add(field, format!("must have at most {NAME_LIMIT_BYTES} bytes, has {}", text.len()));
    }
}

fn sections(
    sections: Vec<proto::FeedbackSection>,
    path: Path<'_>,
    violations: &mut Violations,
) -> Vec<FeedbackSection> {
    let mut first_of_name: HashMap<String, usize> = HashMap::new();
    let mut converted = Vec::with_capacity(sections.len());
    for (number, section) in sections.into_iter().enumerate() {
        let path = path.index(number);
        if let Some(first) = first_of_name.get(&section.name) {
            violations.add(
                path.name("name"),
                format_args!("is also the name of the section at index {first}"),
            );
        } else {
            first_of_name.insert(section.name.clone(), number);
        }
        let list = path.name("items");
        let items = section.items.into_iter().enumerate();
        let items = items.map(|(number, item)| feedback_item(item, list.index(number), violations));
        converted.push(FeedbackSection { items: items.collect(), name: section.name });
    }
    converted
}

fn feedback_item(
    item: proto::FeedbackItem,
    path: Path<'_>,
    violations: &mut Violations,
) -> FeedbackItem {
    if item.confidence.is_some_and(|confidence| !confidence.is_finite()) {
        violations.add(path.name("confidence"), "must be a finite number: JSON has no others");
    }
    let free_path = path.name("additional_fields");
    let additional_fields =
        object(item.additional_fields.unwrap_or_default(), free_path, violations);
    let item = FeedbackItem {
        id: item.id,
        r#type: item.r#type,
        category: item.category,
        description: item.description,
        suggestion: item.suggestion,
        example: item.example,
        questions: item.questions,
        hawkeye_refs: item.hawkeye_refs,
        risk_level: item.risk_level,
        confidence: item.confidence,
        user_created: item.user_created,
        timestamp: item.timestamp,
        ai_reference: item.ai_reference,
        ai_id: item.ai_id,
        additional_fields,
    };
    for key in typed_keys(&item).filter(|key| item.additional_fields.0.contains_key(*key)) {
        violations.add(
            free_path.name(key),
            format_args!("is also set in {}: send it once", path.name(key)),
        );
    }
    item
}

/// The keys of an item's typed fields that are set.
fn typed_keys(item: &FeedbackItem) -> impl Iterator<Item = &'static str> {
    let is_set = [
        item.id.is_some(),
        item.r#type.is_some(),
        item.category.is_some(),
        item.description.is_some(),
        item.suggestion.is_some(),
        item.example.is_some(),
        !item.questions.is_empty(),
        !item.hawkeye_refs.is_empty(),
        item.risk_level.is_some(),
        item.confidence.is_some(),
        item.user_created.is_some(),
        item.timestamp.is_some(),
        item.ai_reference.is_some(),
        item.ai_id.is_some(),
    ];
    FeedbackItem::KEYS.into_iter().zip(is_set).filter_map(|(key, is_set)| is_set.then_some(key))
}

fn entries(entries: Vec<Struct>, path: Path<'_>, violations: &mut Violations) -> Vec<JsonObject> {
    let entries = entries.into_iter().enumerate();
    entries.map(|(number, entry)| object(entry, path.index(number), violations)).collect()
}

fn object(value: Struct, path: Path<'_>, violations: &mut Violations) -> JsonObject {
    JsonObject(fields(value, path, 0, violations))
}

/// Converts the fields of an object that is `depth` levels below a free field.
fn fields(
    value: Struct,
    path: Path<'_>,
    depth: usize,
    violations: &mut Violations,
) -> BTreeMap<String, Json> {
    let convert = |(key, value): (String, Value)| {
        let json = json(value, path.name(&key), depth + 1, violations);
        (key, json)
    };
    value.fields.into_iter().map(convert).collect()
}

fn json(value: Value, path: Path<'_>, depth: usize, violations: &mut Violations) -> Json {
    if depth > DEPTH_LIMIT {
        violations.add(path, format_args!("is nested deeper than {DEPTH_LIMIT} levels"));
        return Json::Null;
    }
    match value.kind {
        Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::NumberValue(number)) => match FiniteNumber::new(number) {
            Some(number) => Json::Number(number),
            None => {
                violations.add(path, "must be a finite number: JSON has no others");
                Json::Null
            }
        },
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(ListValue { values })) => {
            let values = values.into_iter().enumerate();
            let convert = |(index, value)| json(value, path.index(index), depth + 1, violations);
            Json::Array(values.map(convert).collect())
        }
        Some(Kind::StructValue(value)) => {
            Json::Object(JsonObject(fields(value, path, depth, violations)))
        }
        None => {
            violations.add(path, "has no kind: send null_value for null");
            Json::Null
        }
    }
}

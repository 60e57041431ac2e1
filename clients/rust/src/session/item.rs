//! Feedback items: known keys become typed fields, all others free-form fields.

use super::values::{object, to_value};
use crate::{
    exact_json::{Json, Number, Path},
    proto::FeedbackItem,
    replaced::Replacements,
};

/// Reads an item. A known key whose value is null, an empty list, a number that would be rounded, or of
/// another type becomes a free-form field, so that the bundle contains the same value.
pub(super) fn item(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> FeedbackItem {
    let mut item = FeedbackItem::default();
    for (key, value) in object(json, path, replaced) {
        if let Some(value) = set_known(&mut item, &key, value) {
            let value = to_value(value, &path.key(&key), replaced);
            item.additional_fields.get_or_insert_default().fields.insert(key, value);
        }
    }
    item
}

/// Sets the field of a known key. Returns the value if it belongs to the free-form fields.
fn set_known(item: &mut FeedbackItem, key: &str, value: Json) -> Option<Json> {
    let field = match key {
        "id" => &mut item.id,
        "type" => &mut item.r#type,
        "category" => &mut item.category,
        "description" => &mut item.description,
        "suggestion" => &mut item.suggestion,
        "example" => &mut item.example,
        "risk_level" => &mut item.risk_level,
        "timestamp" => &mut item.timestamp,
        "ai_reference" => &mut item.ai_reference,
        "ai_id" => &mut item.ai_id,
        _ => return set_non_text(item, key, value),
    };
    match value {
        Json::String(text) => *field = Some(text),
        other => return Some(other),
    }
    None
}

/// As `set_known`, for keys whose values are not texts.
fn set_non_text(item: &mut FeedbackItem, key: &str, value: Json) -> Option<Json> {
    match (key, value) {
        ("questions", Json::Array(elements)) => match convert_all(&elements, as_text) {
            Some(questions) => item.questions = questions,
            None => return Some(Json::Array(elements)),
        },
        ("hawkeye_refs", Json::Array(elements)) => match convert_all(&elements, as_integer) {
            Some(references) => item.hawkeye_refs = references,
            None => return Some(Json::Array(elements)),
        },
        ("confidence", Json::Number(number)) => match number.as_double() {
            Ok(double) => item.confidence = Some(double),
            Err(_) => return Some(Json::Number(number)),
        },
        ("user_created", Json::Bool(value)) => item.user_created = Some(value),
        (_, other) => return Some(other),
    }
    None
}

/// Converts all elements. `None` if the list is empty or an element cannot be converted.
fn convert_all<T>(elements: &[Json], convert: fn(&Json) -> Option<T>) -> Option<Vec<T>> {
    let converted: Vec<T> = elements.iter().map(convert).collect::<Option<_>>()?;
    (!converted.is_empty()).then_some(converted)
}

fn as_text(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn as_integer(json: &Json) -> Option<i64> {
    match json {
        Json::Number(Number::Integer(integer)) => Some(*integer),
        _ => None,
    }
}

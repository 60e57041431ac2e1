//! One piece of feedback: known keys typed, the rest free.

use super::{values::to_value, wrong_type};
use crate::{
    client::exact_json::{Json, JsonError, Number, Path},
    proto::FeedbackItem,
};

/// Reads an item. A known key whose value is null, an empty list or of another type than it should
/// have goes to the free fields, so that it comes out of the bundle as it came in.
///
/// # Errors
/// The item is no object, or has an integer that would be rounded, or is nested too deep.
pub(super) fn item(json: Json, path: &Path<'_>) -> Result<FeedbackItem, JsonError> {
    let Json::Object(entries) = json else {
        return Err(wrong_type(path, "an object", &json));
    };
    let mut item = FeedbackItem::default();
    for (key, value) in entries {
        let path = path.key(&key);
        if let Some(free) = set_known(&mut item, &key, value, &path)? {
            let value = to_value(free, &path)?;
            item.additional_fields.get_or_insert_default().fields.insert(key, value);
        }
    }
    Ok(item)
}

/// Sets the field of a known key and gives back what belongs to the free fields.
fn set_known(
    item: &mut FeedbackItem,
    key: &str,
    value: Json,
    path: &Path<'_>,
) -> Result<Option<Json>, JsonError> {
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
        _ => return set_other(item, key, value, path),
    };
    match value {
        Json::String(text) => *field = Some(text),
        other => return Ok(Some(other)),
    }
    Ok(None)
}

/// As `set_known`, for keys that are no texts.
fn set_other(
    item: &mut FeedbackItem,
    key: &str,
    value: Json,
    path: &Path<'_>,
) -> Result<Option<Json>, JsonError> {
    match (key, value) {
        ("questions", Json::Array(elements)) => match all(&elements, as_text) {
            Some(questions) => item.questions = questions,
            None => return Ok(Some(Json::Array(elements))),
        },
        ("hawkeye_refs", Json::Array(elements)) => match all(&elements, as_integer) {
            Some(references) => item.hawkeye_refs = references,
            None => return Ok(Some(Json::Array(elements))),
        },
        ("confidence", Json::Number(number)) => {
            let double = number.as_double().map_err(|digits| JsonError::rounded(path, &digits))?;
            item.confidence = Some(double);
        }
        ("user_created", Json::Bool(value)) => item.user_created = Some(value),
        (_, other) => return Ok(Some(other)),
    }
    Ok(None)
}

/// All elements converted, if there are any and each can be.
fn all<T>(elements: &[Json], convert: fn(&Json) -> Option<T>) -> Option<Vec<T>> {
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

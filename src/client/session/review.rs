//! `session.json`, key by key.

use super::{
    item::item,
    values::{structs, text, to_struct},
    wrong_type,
};
use crate::{
    client::exact_json::{Json, JsonError, Path, read},
    proto::{FeedbackSection, Review},
};

/// A review from the text of a `session.json`, and a warning for each key that doesn't travel. A
/// missing key and one that is null are the same.
///
/// # Errors
/// Where the text is no JSON, has a value of the wrong type, or one that would be rounded.
pub fn review_from_json(text: &str) -> Result<(Review, Vec<String>), JsonError> {
    let json = read(text)?;
    let Json::Object(entries) = json else {
        return Err(wrong_type(&Path::Top, "an object", &json));
    };
    let mut review = Review::default();
    let mut warnings = Vec::new();
    for (key, value) in entries {
        let path = Path::Top.key(&key);
        if !set(&mut review, &key, value, &path)? {
            warnings.push(format!("{path}: not a key of a review, left out"));
        }
    }
    Ok((review, warnings))
}

/// Sets what `key` stands for, and says whether it stands for anything.
fn set(review: &mut Review, key: &str, value: Json, path: &Path<'_>) -> Result<bool, JsonError> {
    match key {
        "session_id" => review.session_id = text(value, path)?.unwrap_or_default(),
        "document_name" => review.document_name = text(value, path)?.unwrap_or_default(),
        "reviewer" => review.reviewer = text(value, path)?.unwrap_or_default(),
        "guidelines_name" => review.guidelines_name = text(value, path)?,
        "guidelines_preference" => {
            review.guidelines_preference = text(value, path)?.unwrap_or_default();
        }
        "sections" => review.section_names = section_names(value, path)?,
        "feedback_data" => review.suggestions = sections(value, path)?,
        "accepted_feedback" => review.accepted = sections(value, path)?,
        "rejected_feedback" => review.rejected = sections(value, path)?,
        "user_feedback" => review.user_created = sections(value, path)?,
        "activity_log" => review.activity_log = structs(value, path)?,
        "chat_history" => review.chat_history = structs(value, path)?,
        "audit_logs" => review.audit_logs = structs(value, path)?,
        "activity_timeline" => review.activity_timeline = structs(value, path)?,
        "performance_metrics" => {
            review.performance_metrics = match value {
                Json::Null => None,
                Json::Object(entries) => Some(to_struct(entries, path)?),
                other => return Err(wrong_type(path, "an object", &other)),
            };
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The sections' names: the keys of an object whose texts stay behind, or a list of names.
fn section_names(json: Json, path: &Path<'_>) -> Result<Vec<String>, JsonError> {
    match json {
        Json::Null => Ok(Vec::new()),
        Json::Object(entries) => Ok(entries.into_iter().map(|(name, _)| name).collect()),
        Json::Array(elements) => elements
            .into_iter()
            .enumerate()
            .map(|(index, element)| match element {
                Json::String(name) => Ok(name),
                other => Err(wrong_type(&path.index(index), "a string", &other)),
            })
            .collect(),
        other => Err(wrong_type(path, "an object or a list of names", &other)),
    }
}

/// Feedback by section, in the order of the text. The reader has refused equal names.
fn sections(json: Json, path: &Path<'_>) -> Result<Vec<FeedbackSection>, JsonError> {
    let entries = match json {
        Json::Null => return Ok(Vec::new()),
        Json::Object(entries) => entries,
        other => return Err(wrong_type(path, "an object of sections", &other)),
    };
    entries
        .into_iter()
        .map(|(name, value)| {
            let path = path.key(&name);
            let elements = match value {
                Json::Array(elements) => elements,
                other => return Err(wrong_type(&path, "a list of items", &other)),
            };
            let items = elements
                .into_iter()
                .enumerate()
                .map(|(index, element)| item(element, &path.index(index)))
                .collect::<Result<_, _>>()?;
            Ok(FeedbackSection { name, items })
        })
        .collect()
}

//! Loads a review from a `session.json` of the review application. Objects become sorted maps, so the
//! names of sections must be sorted, as in the sample.

use serde_json::{Map, Value};
use tara_export_bundle::{FeedbackItem, FeedbackSection, FiniteNumber, Json, JsonObject, Review};

/// The review in a `session.json`.
pub(crate) fn load(session: &Value) -> Review {
    let text = |key: &str| session[key].as_str().unwrap_or_default().to_owned();
    Review {
        document_name: text("document_name"),
        session_id: text("session_id"),
        reviewer: text("reviewer"),
        guidelines_name: session["guidelines_name"].as_str().map(str::to_owned),
        guidelines_preference: text("guidelines_preference"),
        section_names: object(&session["sections"]).keys().cloned().collect(),
        suggestions: sections(&session["feedback_data"]),
        accepted: sections(&session["accepted_feedback"]),
        rejected: sections(&session["rejected_feedback"]),
        user_created: sections(&session["user_feedback"]),
        activity_log: log(&session["activity_log"]),
        chat_history: log(&session["chat_history"]),
        audit_logs: log(&session["audit_logs"]),
        activity_timeline: log(&session["activity_timeline"]),
        performance_metrics: json_object(object(&session["performance_metrics"])),
        replacements: vec![],
    }
}

/// An item. Known keys with values of their type become typed fields, all others free ones.
pub(crate) fn item(value: &Value) -> FeedbackItem {
    let mut item = FeedbackItem::default();
    for (key, value) in object(value) {
        if !set_typed(&mut item, key, value) {
            item.additional_fields.0.insert(key.clone(), json(value));
        }
    }
    item
}

fn set_typed(item: &mut FeedbackItem, key: &str, value: &Value) -> bool {
    match (key, value) {
        ("confidence", Value::Number(number)) => item.confidence = number.as_f64(),
        ("user_created", Value::Bool(value)) => item.user_created = Some(*value),
        ("questions", Value::Array(values)) if !values.is_empty() => {
            item.questions = values.iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        }
        ("hawkeye_refs", Value::Array(values)) if !values.is_empty() => {
            item.hawkeye_refs = values.iter().map(|number| number.as_i64().unwrap()).collect();
        }
        (_, Value::String(text)) => {
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
                _ => return false,
            };
            *field = Some(text.clone());
        }
        _ => return false,
    }
    true
}

/// Log entries.
pub(crate) fn log(value: &Value) -> Vec<JsonObject> {
    value.as_array().unwrap().iter().map(|entry| json_object(object(entry))).collect()
}

fn sections(value: &Value) -> Vec<FeedbackSection> {
    let section = |(name, items): (&String, &Value)| FeedbackSection {
        name: name.clone(),
        items: items.as_array().unwrap().iter().map(item).collect(),
    };
    object(value).iter().map(section).collect()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// A free object.
pub(crate) fn json_object(object: &Map<String, Value>) -> JsonObject {
    JsonObject(object.iter().map(|(key, value)| (key.clone(), json(value))).collect())
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => Json::Number(FiniteNumber::new(number.as_f64().unwrap()).unwrap()),
        Value::String(text) => Json::String(text.clone()),
        Value::Array(values) => Json::Array(values.iter().map(json).collect()),
        Value::Object(object) => Json::Object(json_object(object)),
    }
}

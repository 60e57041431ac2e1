//! A review as it came, checked field by field.

use std::collections::{BTreeMap, HashMap};

use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::{
    bundle::{FeedbackItem, FeedbackSection, FiniteNumber, Json, JsonObject, Review},
    grpc::status::Violations,
    proto,
};

/// Longest name of a document, person, session or file, in bytes.
pub(super) const NAME_LIMIT_BYTES: usize = 2048;
/// Deepest nesting of free fields. Protobuf decoders stop at about 31 (100 messages).
const DEPTH_LIMIT: usize = 30;

/// The review, with every fault noted; with faults the result is not to be used.
pub(super) fn review(review: proto::Review, violations: &mut Violations) -> Review {
    if review.document_name.is_empty() {
        violations.add("review.document_name", "required: 1 to 2048 bytes");
    }
    for (field, text) in [
        ("document_name", &review.document_name),
        ("session_id", &review.session_id),
        ("reviewer", &review.reviewer),
        ("guidelines_name", review.guidelines_name.as_ref().unwrap_or(&String::new())),
        ("guidelines_preference", &review.guidelines_preference),
    ] {
        name_limit(&format!("review.{field}"), text, violations);
    }
    let metrics = review.performance_metrics.unwrap_or_default();
    Review {
        document_name: review.document_name,
        session_id: review.session_id,
        reviewer: review.reviewer,
        guidelines_name: review.guidelines_name,
        guidelines_preference: review.guidelines_preference,
        section_names: review.section_names,
        suggestions: sections(review.suggestions, "review.suggestions", violations),
        accepted: sections(review.accepted, "review.accepted", violations),
        rejected: sections(review.rejected, "review.rejected", violations),
        user_created: sections(review.user_created, "review.user_created", violations),
        activity_log: entries(review.activity_log, "review.activity_log", violations),
        chat_history: entries(review.chat_history, "review.chat_history", violations),
        audit_logs: entries(review.audit_logs, "review.audit_logs", violations),
        activity_timeline: entries(
            review.activity_timeline,
            "review.activity_timeline",
            violations,
        ),
        performance_metrics: object(metrics, "review.performance_metrics", violations),
    }
}

pub(super) fn name_limit(field: &str, text: &str, violations: &mut Violations) {
    if text.len() > NAME_LIMIT_BYTES {
        violations
            .add(field, format!("at most {NAME_LIMIT_BYTES} bytes, these are {}", text.len()));
    }
}

fn sections(
    sections: Vec<proto::FeedbackSection>,
    field: &str,
    violations: &mut Violations,
) -> Vec<FeedbackSection> {
    let mut first_of_name: HashMap<String, usize> = HashMap::new();
    let mut converted = Vec::with_capacity(sections.len());
    for (number, section) in sections.into_iter().enumerate() {
        let field = format!("{field}[{number}]");
        if let Some(first) = first_of_name.get(&section.name) {
            violations.add(
                format!("{field}.name"),
                format!("the section at {first} has this name already"),
            );
        } else {
            first_of_name.insert(section.name.clone(), number);
        }
        let items = section.items.into_iter().enumerate();
        let items = items.map(|(number, item)| {
            feedback_item(item, &format!("{field}.items[{number}]"), violations)
        });
        converted.push(FeedbackSection { items: items.collect(), name: section.name });
    }
    converted
}

fn feedback_item(
    item: proto::FeedbackItem,
    field: &str,
    violations: &mut Violations,
) -> FeedbackItem {
    if item.confidence.is_some_and(|confidence| !confidence.is_finite()) {
        violations.add(format!("{field}.confidence"), "a finite number: JSON has no other");
    }
    let free_field = format!("{field}.additional_fields");
    let additional_fields =
        object(item.additional_fields.unwrap_or_default(), &free_field, violations);
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
            format!("{free_field}.{key}"),
            format!("stands in {field}.{key} too: send it once"),
        );
    }
    item
}

/// The keys of an item that are set as typed fields.
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

fn entries(entries: Vec<Struct>, field: &str, violations: &mut Violations) -> Vec<JsonObject> {
    let entries = entries.into_iter().enumerate();
    entries
        .map(|(number, entry)| object(entry, &format!("{field}[{number}]"), violations))
        .collect()
}

fn object(value: Struct, field: &str, violations: &mut Violations) -> JsonObject {
    JsonObject(fields(value, &mut Place { field, path: Vec::new() }, violations))
}

/// Where in a free field a value stands. Written out only for a fault.
struct Place<'a> {
    field: &'a str,
    path: Vec<Step>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Place<'_> {
    fn within<T>(&mut self, step: Step, convert: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let converted = convert(self);
        self.path.pop();
        converted
    }

    fn fault(&self, description: &str, violations: &mut Violations) -> Json {
        let mut field = self.field.to_owned();
        for step in &self.path {
            match step {
                Step::Key(key) => field.push_str(&format!(".{key}")),
                Step::Index(index) => field.push_str(&format!("[{index}]")),
            }
        }
        violations.add(field, description);
        Json::Null
    }
}

fn fields(
    value: Struct,
    place: &mut Place<'_>,
    violations: &mut Violations,
) -> BTreeMap<String, Json> {
    let convert = |(key, value): (String, Value)| {
        let json = place.within(Step::Key(key.clone()), |place| json(value, place, violations));
        (key, json)
    };
    value.fields.into_iter().map(convert).collect()
}

fn json(value: Value, place: &mut Place<'_>, violations: &mut Violations) -> Json {
    if place.path.len() > DEPTH_LIMIT {
        return place.fault("nested deeper than 30 levels", violations);
    }
    match value.kind {
        Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::NumberValue(number)) => match FiniteNumber::new(number) {
            Some(number) => Json::Number(number),
            None => place.fault("a finite number: JSON has no other", violations),
        },
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(ListValue { values })) => {
            let convert = |(index, value)| {
                place.within(Step::Index(index), |place| json(value, place, violations))
            };
            Json::Array(values.into_iter().enumerate().map(convert).collect())
        }
        Some(Kind::StructValue(value)) => {
            Json::Object(JsonObject(fields(value, place, violations)))
        }
        None => place.fault("a Value without a kind: send null_value for null", violations),
    }
}

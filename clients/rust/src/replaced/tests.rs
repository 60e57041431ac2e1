#![allow(clippy::unwrap_used)]

use prost_types::{Struct, Value, value::Kind};
use serde_json::{Value as Json, json};

use crate::{
    proto::{FeedbackItem, Review},
    request_from_json,
    session::review_from_json,
};

/// The cases that all clients share.
fn table() -> Json {
    serde_json::from_str(include_str!("../../../values.json")).unwrap()
}

fn cases(table: &Json, key: &str) -> Vec<Json> {
    let cases = table[key].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

/// Writes the value of a case as a program in another language would.
fn text(value: &Json) -> String {
    let list = |elements: &[Json]| elements.iter().map(text).collect::<Vec<_>>().join(",");
    let object = |entries: &mut dyn Iterator<Item = (String, &Json)>| {
        let entries = entries.map(|(key, value)| format!("{key}: {}", text(value)));
        format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
    };
    match value {
        Json::Array(elements) => format!("[{}]", list(elements)),
        Json::Object(fields) => {
            match fields.iter().next().map(|(key, value)| (key.as_str(), value)) {
                Some(("$utf16", units)) => {
                    let units = units.as_str().unwrap().split(' ');
                    format!("\"{}\"", units.map(|unit| format!("\\u{unit}")).collect::<String>())
                }
                Some(("$number" | "$integer", digits)) => digits.as_str().unwrap().to_owned(),
                Some(("$entries", entries)) => {
                    let entries = entries.as_array().unwrap();
                    object(&mut entries.iter().map(|entry| (text(&entry[0]), &entry[1])))
                }
                Some(("$nested", nested)) => {
                    let levels = nested[0].as_u64().unwrap() as usize;
                    format!("{}{}{}", "[".repeat(levels), text(&nested[1]), "]".repeat(levels))
                }
                _ => object(&mut fields.iter().map(|(key, value)| (json!(key).to_string(), value))),
            }
        }
        other => other.to_string(),
    }
}

/// The value that a case expects.
fn decoded(value: &Json) -> Json {
    match value.get("$nested") {
        Some(nested) => {
            let levels = nested[0].as_u64().unwrap();
            (0..levels).fold(nested[1].clone(), |value, _| json!([value]))
        }
        None => value.clone(),
    }
}

fn struct_json(structure: &Struct) -> Json {
    structure.fields.iter().map(|(key, value)| (key.clone(), value_json(value))).collect()
}

fn value_json(value: &Value) -> Json {
    match value.kind.as_ref().unwrap() {
        Kind::NullValue(_) => json!(null),
        Kind::BoolValue(value) => json!(value),
        Kind::StringValue(text) => json!(text),
        Kind::NumberValue(number) if number.fract() == 0.0 && number.abs() < 9.1e15 => {
            json!(*number as i64)
        }
        Kind::NumberValue(number) => json!(number),
        Kind::ListValue(list) => list.values.iter().map(value_json).collect(),
        Kind::StructValue(structure) => struct_json(structure),
    }
}

fn listed(review: &Review) -> Vec<(String, String)> {
    let entries = review.replacements.iter();
    let mut listed: Vec<_> =
        entries.map(|entry| (entry.path.clone(), entry.reason.clone())).collect();
    listed.sort();
    listed
}

fn expected(case: &Json, places: &[&str]) -> Vec<(String, String)> {
    let entries = case["replacements"].as_array().unwrap();
    let mut expected = Vec::new();
    for place in places {
        for entry in entries {
            let (path, reason) = (entry[0].as_str().unwrap(), entry[1].as_str().unwrap());
            expected.push((format!("{place}{path}"), reason.to_owned()));
        }
    }
    expected.sort();
    expected
}

#[test]
fn free_form_values_of_the_table_are_sent() {
    let places = [r#"suggestions["Section 1"][0].x"#, "chat_history[0].x", "performance_metrics.x"];
    for case in cases(&table(), "values") {
        let name = &case["name"];
        let value = text(&case["value"]);
        let session = format!(
            r#"{{"feedback_data": {{"Section 1": [{{"x": {value}}}]}}, "chat_history": [{{"x": {value}}}],
                "performance_metrics": {{"x": {value}}}}}"#
        );
        let request = format!(
            r#"{{"review": {{"suggestions": [{{"name": "Section 1", "items": [{{"additionalFields":
                {{"x": {value}}}}}]}}], "chatHistory": [{{"x": {value}}}],
                "performance_metrics": {{"x": {value}}}}}}}"#
        );
        let (from_session, warnings) = review_from_json(&session).unwrap();
        let from_request = request_from_json(&request).unwrap().review.unwrap();
        for review in [&from_session, &from_request] {
            let free = review.suggestions[0].items[0].additional_fields.as_ref().unwrap();
            let metrics = review.performance_metrics.as_ref().unwrap();
            for actual in [free, &review.chat_history[0], metrics] {
                assert_eq!(struct_json(actual), json!({ "x": decoded(&case["sent"]) }), "{name}");
            }
            assert_eq!(listed(review), expected(&case, &places), "{name}");
        }
        // People read the paths of their file.
        for warning in &warnings {
            let path = warning.split(": ").next().unwrap();
            let place = [r#"feedback_data["Section 1"][0].x"#, places[1], places[2]];
            assert!(place.iter().any(|place| path.starts_with(place)), "{warning}");
        }
        assert_eq!(warnings.len(), from_session.replacements.len(), "{name}");
    }
}

#[test]
fn items_of_the_table_are_sent() {
    for case in cases(&table(), "items") {
        let name = &case["name"];
        let (known, free): (serde_json::Map<_, _>, serde_json::Map<_, _>) = case["item"]
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .partition(|(key, _)| key != "other");
        let known: String =
            known.iter().map(|(key, value)| format!("\"{key}\": {}, ", text(value))).collect();
        let (session, _) = review_from_json(format!(
            r#"{{"accepted_feedback": {{"S": [{}]}}}}"#,
            text(&case["item"])
        ))
        .unwrap();
        let request = request_from_json(format!(
            r#"{{"review": {{"accepted": [{{"name": "S", "items": [{{{known} "additional_fields": {}}}]}}]}}}}"#,
            text(&Json::from(free))
        ))
        .unwrap();
        for review in [session, request.review.unwrap()] {
            let item = &review.accepted[0].items[0];
            assert_eq!(item_json(item), case["sent"], "{name}");
            assert_eq!(listed(&review), expected(&case, &["accepted.S[0]"]), "{name}");
        }
    }
}

fn item_json(item: &FeedbackItem) -> Json {
    let mut json = struct_json(&item.additional_fields.clone().unwrap_or_default());
    for (key, text) in [("id", &item.id), ("description", &item.description)] {
        if let Some(text) = text {
            json[key] = json!(text);
        }
    }
    if let Some(confidence) = item.confidence {
        json["confidence"] = json!(confidence);
    }
    if !item.questions.is_empty() {
        json["questions"] = json!(item.questions);
    }
    json
}

#[test]
fn list_of_replacements_has_a_limit() {
    let limits = &table()["limits"];
    let limit = |key: &str| limits[key].as_u64().unwrap() as usize;
    for key in ["k", &"ä".repeat(1000)] {
        let fields: Vec<_> = (0..3000).map(|index| format!("\"{key}{index}\": NaN")).collect();
        let fields = fields.join(",");
        let (from_session, warnings) =
            review_from_json(format!(r#"{{"performance_metrics": {{{fields}}}}}"#)).unwrap();
        // A list that the request already has counts too.
        let old = r#"{"path": "a", "reason": "OLD"}"#;
        let from_request = request_from_json(format!(
            r#"{{"review": {{"replacements": [{old}], "performanceMetrics": {{{fields}}}}}}}"#
        ))
        .unwrap()
        .review
        .unwrap();
        assert_eq!(from_request.replacements[0].reason, "OLD");
        for (review, old) in [(&from_session, 0), (&from_request, 1)] {
            let list = &review.replacements;
            assert!(list.len() <= limit("entries"));
            let texts = || list.iter().flat_map(|entry| [entry.path.len(), entry.reason.len()]);
            assert!(texts().all(|bytes| (1..=limit("text_bytes")).contains(&bytes)));
            let bytes: usize = texts().sum();
            assert!(bytes <= limit("bytes") && (bytes > limit("bytes") * 9 / 10 || key == "k"));
            let more = 3000 - (list.len() - 1 - old);
            let last = list.last().unwrap();
            assert_eq!(last.path, "review");
            assert_eq!(last.reason, format!("{more} more values were replaced and are not listed"));
        }
        let last = format!("review: {}", from_session.replacements.last().unwrap().reason);
        assert_eq!(warnings.last(), Some(&last));
    }
}

#[test]
fn values_of_another_type_are_replaced() {
    let item = |key: &str, value: Json| json!([{ "name": key, "items": [value] }]);
    let value = |value: Json| json!({ "additionalFields": { "value": value } });
    for (session, field, sent, path) in [
        (r#"{"session_id": 7}"#, "sessionId", json!("7"), "session_id"),
        (r#"{"document_name": [1.0]}"#, "documentName", json!("[1]"), "document_name"),
        (r#"{"sections": ["a", 1]}"#, "sectionNames", json!(["a", "1"]), "section_names[1]"),
        (
            r#"{"chat_history": [{}, "x"]}"#,
            "chatHistory",
            json!([{}, { "value": "x" }]),
            "chat_history[1]",
        ),
        (r#"{"chat_history": {"a": "b"}}"#, "chatHistory", json!([{ "a": "b" }]), "chat_history"),
        (
            r#"{"performance_metrics": ["x"]}"#,
            "performanceMetrics",
            json!({ "value": ["x"] }),
            "performance_metrics",
        ),
        (
            r#"{"accepted_feedback": [{"id": "1"}]}"#,
            "accepted",
            json!([{ "items": [{ "id": "1" }] }]),
            "accepted",
        ),
        (
            r#"{"rejected_feedback": {"S": ["x"]}}"#,
            "rejected",
            item("S", value(json!("x"))),
            "rejected.S[0]",
        ),
        (
            r#"{"rejected_feedback": {"S": {"id": "1"}}}"#,
            "rejected",
            item("S", json!({ "id": "1" })),
            "rejected.S",
        ),
    ] {
        let (review, warnings) = review_from_json(session).unwrap();
        assert_eq!(listed(&review), [(path.to_owned(), "WRONG_TYPE".to_owned())], "{session}");
        assert_eq!(warnings.len(), 1);
        let request =
            crate::proto::StartExportRequest { review: Some(review), ..Default::default() };
        let json: Json = serde_json::from_str(&crate::to_json(&request)).unwrap();
        assert_eq!(json["review"][field], sent, "{session}");
    }
    let (review, _) = review_from_json(r#"{"reviewer": NaN}"#).unwrap();
    assert_eq!(review.reviewer, "NaN");
    assert_eq!(listed(&review), [("reviewer".to_owned(), "NOT_FINITE".to_owned())]);
}

#[test]
fn integers_that_no_field_has_become_free_form_fields() {
    let text = r#"{"hawkeye_refs": [1, 9223372036854775808], "confidence": 9007199254740993}"#;
    let sent = json!({
        "hawkeye_refs": [1, "9223372036854775808"], "confidence": "9007199254740993",
    });
    let (session, _) =
        review_from_json(format!(r#"{{"user_feedback": {{"S": [{text}]}}}}"#)).unwrap();
    let request = request_from_json(format!(
        r#"{{"review": {{"userCreated": [{{"name": "S", "items": [{text}]}}]}}}}"#
    ));
    for review in [session, request.unwrap().review.unwrap()] {
        let item = &review.user_created[0].items[0];
        assert_eq!((item.hawkeye_refs.len(), item.confidence), (0, None));
        assert_eq!(struct_json(item.additional_fields.as_ref().unwrap()), sent);
        let expected = ["user_created.S[0].confidence", "user_created.S[0].hawkeye_refs[1]"]
            .map(|path| (path.to_owned(), "NOT_EXACT".to_owned()));
        assert_eq!(listed(&review), expected);
    }
}

#[test]
fn only_exported_texts_are_listed() {
    let (review, _) = review_from_json(
        br#"{"sections": {"\ud800": "\ud800"}, "extra": "\ud800", "reviewer": "a"}"#,
    )
    .unwrap();
    assert_eq!(review.section_names, ["\u{fffd}"]);
    let path = "section_names[\"\u{fffd}\"]".to_owned();
    assert_eq!(listed(&review), [(path, "NOT_UNICODE".to_owned())]);
    let (review, _) = review_from_json(br#"{"sections": ["a", "\ud800"]}"#).unwrap();
    assert_eq!(listed(&review), [("section_names[1]".to_owned(), "NOT_UNICODE".to_owned())]);
}

#[test]
fn proto_json_texts_for_numbers_that_are_not_finite_are_replaced() {
    let request = request_from_json(
        r#"{"review": {"suggestions": [{"name": "", "items": [{"confidence": "Infinity"}]}]}}"#,
    );
    let review = request.unwrap().review.unwrap();
    assert_eq!(item_json(&review.suggestions[0].items[0]), json!({ "confidence": "Infinity" }));
    let path = r#"suggestions[""][0].confidence"#.to_owned();
    assert_eq!(listed(&review), [(path, "NOT_FINITE".to_owned())]);
}

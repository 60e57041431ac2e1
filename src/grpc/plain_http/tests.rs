//! The conversion between JSON and protobuf, with prost-reflect's as the reference.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::{
    from_json::{JsonError, message_from_json},
    to_json::JsonText,
    well_known::{WellKnown, well_known},
    writer::DEPTH_LIMIT,
};
use crate::proto::{
    Artifact, ExportEvent, FeedbackItem, FeedbackSection, GetReportResponse, Review,
    StartExportRequest, get_report_response,
};

fn pool() -> DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(crate::proto::FILE_DESCRIPTOR_SET).unwrap());
    POOL.clone()
}

fn message_type(name: &str) -> MessageDescriptor {
    pool().get_message_by_name(&format!("tara.export.v1.{name}")).unwrap()
}

fn start() -> MessageDescriptor {
    message_type("StartExportRequest")
}

/// The text of a message, in pieces that are joined.
fn text(message_type: &MessageDescriptor, message: impl Into<Bytes>) -> String {
    let mut text = JsonText::new(message_type, message.into());
    let length = text.length().unwrap();
    let mut joined = Vec::new();
    while let Some(piece) = text.next_piece().unwrap() {
        assert!(piece.len() < 128 * 1024, "{}", piece.len());
        joined.extend(piece);
    }
    assert_eq!(joined.len(), length);
    String::from_utf8(joined).unwrap()
}

fn converted(message_type: &MessageDescriptor, text: &str) -> Result<Vec<u8>, JsonError> {
    message_from_json(message_type, text.as_bytes(), 1 << 20)
}

/// The field, the fault and the position of an invalid text.
fn fault(text: &str) -> (String, String, usize, usize) {
    match converted(&start(), text).unwrap_err() {
        JsonError::Invalid { field, fault, line, column } => (field, fault, line, column),
        JsonError::TooLarge => panic!("too large: {text}"),
    }
}

/// A request with every kind of field.
fn request_json() -> Value {
    json!({
        "requestId": "6f1c7a52-3b0e-4c59-9d7e-000000000001",
        "review": {
            "documentName": "incident \"7\" – Übersicht \u{1F600}\u{7}.docx",
            "sectionNames": ["Summary", ""],
            "suggestions": [
                {"name": "Summary", "items": [
                    {"id": "1", "confidence": 0.25, "hawkeyeRefs": ["1", "-9007199254740993"],
                     "questions": ["why?"],
                     "additionalFields": {"a": null, "b": [1, 2.5, true, "x", {}, []], "": {"c": {"d": -1e300}}}},
                    {},
                ]},
            ],
            "activityLog": [{"action": "opened"}, {}],
            "performanceMetrics": {"n": 3},
        },
        "documents": [{"kind": "KIND_BEFORE", "content": "AAECA/8="}],
        "destination": "DESTINATION_LOCAL",
        "notifyEmails": ["a@example.com"],
    })
}

#[test]
fn request_is_the_same_as_that_of_prost_reflect() {
    let text = request_json().to_string();
    let expected =
        DynamicMessage::deserialize(start(), &mut serde_json::Deserializer::from_str(&text))
            .unwrap();
    let expected = StartExportRequest::decode(&*expected.encode_to_vec()).unwrap();
    let message = converted(&start(), &text).unwrap();
    assert_eq!(StartExportRequest::decode(&*message).unwrap(), expected);
    assert_eq!(
        expected.review.unwrap().suggestions[0].items[0].hawkeye_refs,
        [1, -9007199254740993]
    );
    // Names as in the proto are accepted too, and numbers of 64 bits as numbers.
    let text = text.replace("documentName", "document_name").replace("\"-9007199254740993\"", "-5");
    let message = converted(&start(), &text).unwrap();
    let review = StartExportRequest::decode(&*message).unwrap().review.unwrap();
    assert_eq!(review.suggestions[0].items[0].hawkeye_refs, [1, -5]);
}

#[test]
fn text_is_the_same_as_that_of_prost_reflect() {
    let message = converted(&start(), &request_json().to_string()).unwrap();
    let message = StartExportRequest::decode(&*message).unwrap().encode_to_vec();
    let written: Value = serde_json::from_str(&text(&start(), message.clone())).unwrap();
    let reference = DynamicMessage::decode(start(), &*message).unwrap();
    let reference: Value =
        serde_json::from_str(&serde_json::to_string(&reference).unwrap()).unwrap();
    // prost-reflect writes 3 as 3.0.
    let numbers = |value: &Value| value.to_string().replace(".0,", ",").replace(".0}", "}");
    assert_eq!(numbers(&written), numbers(&reference));
    // And it becomes the same message.
    let again = converted(&start(), &written.to_string()).unwrap();
    assert_eq!(
        StartExportRequest::decode(&*again).unwrap(),
        StartExportRequest::decode(&*message).unwrap()
    );
}

#[test]
fn long_texts_are_written_in_pieces() {
    let long = "ü\u{1}\"".repeat(100_000);
    let review = Review { document_name: long.clone(), ..Review::default() };
    let request = StartExportRequest { review: Some(review), ..StartExportRequest::default() };
    let written: Value = serde_json::from_str(&text(&start(), request.encode_to_vec())).unwrap();
    assert_eq!(written["review"]["documentName"], long);
    let bytes: Vec<u8> = (0..100_001_u32).map(|number| (number % 251) as u8).collect();
    let response = GetReportResponse {
        sha256: "x".to_owned(),
        report: Some(get_report_response::Report::Json(bytes.clone().into())),
    };
    let json = text(&message_type("GetReportResponse"), response.encode_to_vec());
    let again = converted(&message_type("GetReportResponse"), &json).unwrap();
    assert_eq!(GetReportResponse::decode(&*again).unwrap(), response);
}

#[test]
fn empty_message_is_an_empty_object() {
    assert_eq!(text(&message_type("ExportEvent"), ExportEvent::default().encode_to_vec()), "{}");
    assert_eq!(converted(&start(), "{}").unwrap(), Vec::<u8>::new());
    let unset = converted(&start(), "{\"review\": null, \"documents\": null}").unwrap();
    assert!(unset.is_empty(), "{unset:?}");
}

#[test]
fn undecodable_message_has_no_text() {
    for bytes in [
        &b"\x0a"[..],
        b"\x0a\x05ab",
        b"\x0a\x01\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let text = JsonText::new(&message_type("Artifact"), Bytes::copy_from_slice(bytes));
        assert!(text.length().is_err(), "{bytes:?}");
    }
    let artifact = Artifact { path: "a".to_owned(), ..Artifact::default() };
    let mut twice = artifact.encode_to_vec();
    twice.extend(artifact.encode_to_vec());
    assert!(JsonText::new(&message_type("Artifact"), twice.into()).length().is_err());
}

#[test]
fn fault_has_its_field_line_and_column() {
    for (text, field, part, line, column) in [
        ("{\"reqestId\": \"x\"}", "reqestId", "no such field", 1, 11),
        (
            "{\n  \"review\": {\n    \"sections\": 1\n  }\n}",
            "review.sections",
            "no such field",
            3,
            14,
        ),
        (
            "{\"review\": {\"sectionNames\": [\"a\", 7]}}",
            "review.section_names[1]",
            "expected a text",
            1,
            35,
        ),
        ("{\"destination\": \"DESTINATION_MARS\"}", "destination", "has no value", 1, 34),
        ("{\"review\": []}", "review", "expected an object, found a list", 1, 12),
        (
            "{\"documents\": [{\"content\": \"%%\"}]}",
            "documents[0].content",
            "not in base64",
            1,
            31,
        ),
        ("{\"documents\": [null]}", "documents[0]", "null", 1, 19),
        ("{\"review\": {}, \"review\": {}}", "review", "given twice", 1, 23),
        (
            "{\"documents\": [{\"content\": \"\", \"upload\": \"x\"}]}",
            "documents[0].upload",
            "another field of the same oneof",
            1,
            44,
        ),
        ("{\"requestId\": \"x\",}", "", "trailing comma", 1, 19),
        ("{\"requestId\": \"x\"} x", "", "trailing characters", 1, 20),
        ("", "", "EOF while parsing a value", 1, 0),
        ("[]", "", "expected an object, found a list", 1, 1),
        ("null", "", "expected an object, found null", 1, 4),
        ("{\"requestId\": \"\u{7}\"}", "request_id", "control character", 1, 15),
    ] {
        let (actual, fault, actual_line, actual_column) = fault(text);
        assert_eq!(actual, field, "{text}: {fault}");
        assert!(fault.contains(part), "{text}: {fault}");
        assert!(!fault.contains("line"), "{fault}");
        assert_eq!(actual_line, line, "{text}: {fault}");
        assert!(actual_column.abs_diff(column) <= 2, "{text}: {fault} at column {actual_column}");
    }
}

#[test]
fn deep_text_is_refused() {
    let nested = |levels: usize| {
        let (open, close) = ("{\"a\":".repeat(levels), "}".repeat(levels));
        format!("{{\"review\": {{\"performanceMetrics\": {open}1{close}}}}}")
    };
    assert!(converted(&start(), &nested(20)).is_ok());
    let (field, fault, ..) = fault(&nested(DEPTH_LIMIT));
    assert!(field.starts_with("review.performance_metrics.a.a"), "{field}");
    assert!(fault.contains("deeper than 64 levels"), "{fault}");
    for text in ["[".repeat(1_000_000), "{\"review\":".repeat(100_000)] {
        assert!(converted(&start(), &text).is_err());
    }
}

#[test]
fn message_stays_within_the_limit() {
    // Each element of two bytes becomes eleven bytes.
    let numbers = vec!["1"; 10_000].join(",");
    let text = format!("{{\"review\": {{\"performanceMetrics\": {{\"a\": [{numbers}]}}}}}}");
    let message = message_from_json(&start(), text.as_bytes(), 1 << 20).unwrap();
    assert!(message.len() > 5 * text.len() && message.capacity() == message.len());
    for limit in [0, 1, 100, message.len() - 1] {
        let refused = message_from_json(&start(), text.as_bytes(), limit);
        assert_eq!(refused, Err(JsonError::TooLarge), "{limit}");
    }
    assert_eq!(message_from_json(&start(), text.as_bytes(), message.len()), Ok(message));
}

#[test]
fn lengths_of_every_size_are_written() {
    for length in [0, 1, 126, 127, 128, 129, 16_382, 16_383, 16_384, 16_385, 100_000] {
        let section = FeedbackSection {
            name: "x".repeat(length),
            items: vec![FeedbackItem { id: Some("y".repeat(length)), ..FeedbackItem::default() }],
        };
        let review = Review { suggestions: vec![section], ..Review::default() };
        let request = StartExportRequest { review: Some(review), ..StartExportRequest::default() };
        let json = text(&start(), request.encode_to_vec());
        assert_eq!(converted(&start(), &json).unwrap(), request.encode_to_vec(), "{length}");
    }
}

#[test]
fn every_field_of_every_method_has_a_form_in_json() {
    let mut pending: Vec<MessageDescriptor> = pool()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .flat_map(|method| [method.input(), method.output()])
        .collect();
    let mut seen = Vec::new();
    while let Some(message) = pending.pop() {
        if seen.contains(&message.full_name().to_owned()) {
            continue;
        }
        seen.push(message.full_name().to_owned());
        assert_ne!(well_known(&message), WellKnown::Other, "{}", message.full_name());
        let messages = message.fields().filter_map(|field| match field.kind() {
            Kind::Message(message) => Some(message),
            _ => None,
        });
        pending.extend(messages);
    }
    assert!(seen.len() > 40, "{seen:?}");
}

/// JSON with mistakes: parts of a request in any order.
fn parts() -> impl Strategy<Value = String> {
    let part = proptest::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "true",
        "-1",
        "1e400",
        "0.5",
        "\"\"",
        "\"NaN\"",
        "\"review\":",
        "\"documents\":",
        "\"suggestions\":",
        "\"items\":",
        "\"confidence\":",
        "\"hawkeyeRefs\":",
        "\"additionalFields\":",
        "\"content\":",
        "\"destination\":",
        "\"kind\":",
        "\"AAE=\"",
        "\"-_8\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"DESTINATION_S3\"",
        " ",
        "\n",
        "é",
    ]);
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A text that is accepted is a message, and prost-reflect accepts it too.
    #[test]
    fn any_text_is_a_message_or_a_fault(text in prop_oneof![parts(), ".{0,60}"]) {
        if let Ok(message) = converted(&start(), &text) {
            let decoded = StartExportRequest::decode(&*message);
            prop_assert!(decoded.is_ok(), "{text}");
            let reference = DynamicMessage::deserialize(start(), &mut serde_json::Deserializer::from_str(&text));
            let reference = reference.map(|reference| reference.encode_to_vec());
            prop_assert!(reference.is_ok(), "{text}: {reference:?}");
            let reference = StartExportRequest::decode(&*reference.unwrap()).unwrap();
            prop_assert_eq!(format!("{:?}", decoded.unwrap()), format!("{reference:?}"), "{}", text);
        }
    }

    /// Bytes have a text in JSON, or none at all.
    #[test]
    fn any_bytes_have_valid_json_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for name in ["StartExportRequest", "Export", "Review", "GetReportResponse"] {
            let text_of = JsonText::new(&message_type(name), Bytes::copy_from_slice(&bytes));
            if text_of.length().is_ok() {
                let json = text(&message_type(name), bytes.clone());
                let parsed = serde_json::from_str::<Value>(&json);
                prop_assert!(parsed.is_ok(), "{name} {json}");
            }
        }
    }
}

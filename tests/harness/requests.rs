//! Requests that tests send.

use std::collections::BTreeMap;

use prost_types::{Struct, Value, value::Kind};
use tara_export_client::proto::{
    Destination, Document, Fallback, FeedbackItem, FeedbackSection, Review, StartExportRequest,
    document::{self, Source},
};

/// The request id of a number.
pub(crate) fn id(number: u32) -> String {
    format!("6f1c7a52-3b0e-4c59-9d7e-{number:012x}")
}

/// The export name of a number.
pub(crate) fn name(number: u32) -> String {
    format!("exports/{}", id(number))
}

/// A request with two documents and some feedback, for the server's default destination.
pub(crate) fn request(number: u32, document_name: &str) -> StartExportRequest {
    StartExportRequest {
        request_id: id(number),
        review: Some(review(document_name)),
        documents: vec![
            document(document::Kind::Before, "as it was"),
            document(document::Kind::After, "as it is now"),
        ],
        ..StartExportRequest::default()
    }
}

/// The same request for S3 without fallback.
pub(crate) fn s3_or_nothing(number: u32, document_name: &str) -> StartExportRequest {
    let mut request = request(number, document_name);
    request.set_destination(Destination::S3);
    request.set_fallback(Fallback::None);
    request
}

pub(crate) fn review(document_name: &str) -> Review {
    Review {
        document_name: document_name.to_owned(),
        session_id: "session-1".to_owned(),
        reviewer: "Ada".to_owned(),
        guidelines_preference: "both".to_owned(),
        section_names: vec!["Summary".to_owned()],
        suggestions: vec![section("Summary", vec![item("1"), item("2")])],
        accepted: vec![section("Summary", vec![item("1")])],
        rejected: vec![section("Summary", vec![item("2")])],
        activity_log: vec![object([("action", "opened"), ("timestamp", "2026-11-22T18:00:00")])],
        ..Review::default()
    }
}

pub(crate) fn section(name: &str, items: Vec<FeedbackItem>) -> FeedbackSection {
    FeedbackSection { name: name.to_owned(), items }
}

pub(crate) fn item(id: &str) -> FeedbackItem {
    FeedbackItem {
        id: Some(id.to_owned()),
        description: Some("The cause is missing.".to_owned()),
        risk_level: Some("High".to_owned()),
        ..FeedbackItem::default()
    }
}

pub(crate) fn document(kind: document::Kind, content: impl Into<Vec<u8>>) -> Document {
    Document {
        kind: kind.into(),
        source: Some(Source::Content(content.into().into())),
        ..Document::default()
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

pub(crate) fn object<const N: usize>(fields: [(&str, &str); N]) -> Struct {
    fields_of(fields.map(|(key, value)| (key, text(value))))
}

pub(crate) fn fields_of<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    let fields: BTreeMap<String, Value> =
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Struct { fields }
}

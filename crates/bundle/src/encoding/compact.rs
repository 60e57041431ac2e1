//! The body of encoding versions 3 and 4: the review as CBOR, then the bytes of the documents.
//!
//! Keys have one character, and empty values are left out, so that a body is about as large as the
//! request on the wire. Unlike the canonical encoding of the content digest, it distinguishes typed
//! and free values, and can be decoded.

use cbor4ii::core::{
    dec::Read as _,
    utils::{BufWriter, SliceReader},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tara_export_digest::Sha256;

use super::{
    UndecodableExport,
    content::{ReadContent, ReadDocument},
    meter::{self, Meter},
};
use crate::{
    Content, Destination, DocumentKind, ExportContent, Fallback, FeedbackItem, FeedbackSection,
    JsonObject, Reference, Replacement, Review,
};

/// Encodes the body without its documents.
pub(super) fn encode_content(content: &ExportContent) -> Vec<u8> {
    // Names every field, so that a new field does not compile until it is handled here.
    let ExportContent { review, documents, destination, fallback } = content;
    let documents = documents.iter().map(|document| {
        // The digest of inline bytes is computed again when they are decoded.
        let reference = match &document.content {
            Content::Inline(_) => None,
            Content::Referenced { reference, .. } => {
                Some(ReferenceV3 { sha256: document.sha256, place: reference.clone() })
            }
        };
        DocumentV3 {
            kind: document.kind,
            file_name: document.file_name.clone(),
            media_type: document.media_type.clone(),
            size_bytes: document.content.size_bytes(),
            reference,
        }
    });
    let written = WrittenContentV3 {
        review,
        documents: documents.collect(),
        destination: *destination,
        fallback: *fallback,
    };
    let mut serializer = cbor4ii::serde::Serializer::new(BufWriter::new(Vec::new()));
    let result = written.serialize(&mut serializer);
    // Writing to memory fails only if there is none left, which ends the process elsewhere, too.
    #[allow(clippy::expect_used, reason = "serializing the values of this crate does not fail")]
    result.expect("a review is CBOR");
    let mut bytes = serializer.into_inner().into_inner();
    bytes.shrink_to_fit();
    bytes
}

/// Decodes the body without its documents.
pub(super) fn decode_content(
    bytes: &[u8],
    meter: &Meter,
) -> Result<ReadContent, UndecodableExport> {
    let mut deserializer = cbor4ii::serde::Deserializer::new(SliceReader::new(bytes));
    let read: Result<ReadContentV3, _> = meter::read(&mut deserializer, meter);
    let mut rest = deserializer.into_inner();
    let rest_is_empty = rest.fill(1).is_ok_and(|rest| rest.as_ref().is_empty());
    let ReadContentV3 { review, documents, destination, fallback } = read.map_err(|_| {
        // The error may quote the content.
        UndecodableExport::damaged("cannot decode the review")
    })?;
    if !rest_is_empty {
        return Err(UndecodableExport::damaged("the review has bytes after its end"));
    }
    let documents = documents.into_iter().map(|document| ReadDocument {
        kind: document.kind,
        file_name: document.file_name,
        media_type: document.media_type,
        size_bytes: document.size_bytes,
        reference: document.reference.map(|reference| (reference.sha256, reference.place)),
    });
    Ok(ReadContent { review, documents: documents.collect(), destination, fallback })
}

#[derive(Serialize)]
struct WrittenContentV3<'a> {
    #[serde(rename = "r", with = "ReviewV3")]
    review: &'a Review,
    #[serde(rename = "d", skip_serializing_if = "Vec::is_empty")]
    documents: Vec<DocumentV3>,
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    destination: Option<Destination>,
    #[serde(rename = "f")]
    fallback: Fallback,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadContentV3 {
    #[serde(rename = "r", with = "ReviewV3")]
    review: Review,
    #[serde(rename = "d", default)]
    documents: Vec<DocumentV3>,
    #[serde(rename = "t", default)]
    destination: Option<Destination>,
    #[serde(rename = "f")]
    fallback: Fallback,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentV3 {
    #[serde(rename = "k")]
    kind: DocumentKind,
    #[serde(rename = "f", default, skip_serializing_if = "String::is_empty")]
    file_name: String,
    #[serde(rename = "m", default, skip_serializing_if = "String::is_empty")]
    media_type: String,
    #[serde(rename = "s")]
    size_bytes: u64,
    /// The location of a document that is not in the body.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    reference: Option<ReferenceV3>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceV3 {
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(rename = "p")]
    place: Reference,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Review", deny_unknown_fields)]
struct ReviewV3 {
    #[serde(rename = "n", default, skip_serializing_if = "String::is_empty")]
    document_name: String,
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    session_id: String,
    #[serde(rename = "w", default, skip_serializing_if = "String::is_empty")]
    reviewer: String,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    guidelines_name: Option<String>,
    #[serde(rename = "p", default, skip_serializing_if = "String::is_empty")]
    guidelines_preference: String,
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    section_names: Vec<String>,
    #[serde(rename = "1", default, skip_serializing_if = "Vec::is_empty", with = "sections_v3")]
    suggestions: Vec<FeedbackSection>,
    #[serde(rename = "2", default, skip_serializing_if = "Vec::is_empty", with = "sections_v3")]
    accepted: Vec<FeedbackSection>,
    #[serde(rename = "3", default, skip_serializing_if = "Vec::is_empty", with = "sections_v3")]
    rejected: Vec<FeedbackSection>,
    #[serde(rename = "4", default, skip_serializing_if = "Vec::is_empty", with = "sections_v3")]
    user_created: Vec<FeedbackSection>,
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    activity_log: Vec<JsonObject>,
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    chat_history: Vec<JsonObject>,
    #[serde(rename = "u", default, skip_serializing_if = "Vec::is_empty")]
    audit_logs: Vec<JsonObject>,
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    activity_timeline: Vec<JsonObject>,
    #[serde(rename = "m", default, skip_serializing_if = "is_empty")]
    performance_metrics: JsonObject,
    /// From encoding version 4 on.
    #[serde(
        rename = "x",
        default,
        skip_serializing_if = "Vec::is_empty",
        with = "replacements_v4"
    )]
    replacements: Vec<Replacement>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Replacement", deny_unknown_fields)]
struct ReplacementV4 {
    #[serde(rename = "p", default, skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FeedbackSection", deny_unknown_fields)]
struct SectionV3 {
    #[serde(rename = "n", default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty", with = "items_v3")]
    items: Vec<FeedbackItem>,
}

/// An absent value has no key; an empty text has one.
#[derive(Serialize, Deserialize)]
#[serde(remote = "FeedbackItem", deny_unknown_fields)]
struct ItemV3 {
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    example: Option<String>,
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    questions: Vec<String>,
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    hawkeye_refs: Vec<i64>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    risk_level: Option<String>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    user_created: Option<bool>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    ai_reference: Option<String>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    ai_id: Option<String>,
    #[serde(rename = "x", default, skip_serializing_if = "is_empty")]
    additional_fields: JsonObject,
}

fn is_empty(object: &JsonObject) -> bool {
    object.0.is_empty()
}

/// Defines a module for `#[serde(with)]` of a list whose values have one of the forms above.
macro_rules! list_of {
    ($module:ident, $value:ty, $form:literal) => {
        mod $module {
            use super::*;

            pub(super) fn serialize<S: Serializer>(
                list: &[$value],
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                #[derive(Serialize)]
                struct Written<'a>(#[serde(with = $form)] &'a $value);
                serializer.collect_seq(list.iter().map(Written))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Vec<$value>, D::Error> {
                #[derive(Deserialize)]
                struct Read(#[serde(with = $form)] $value);
                let list = Vec::<Read>::deserialize(deserializer)?;
                Ok(list.into_iter().map(|read| read.0).collect())
            }
        }
    };
}

list_of!(sections_v3, FeedbackSection, "SectionV3");
list_of!(items_v3, FeedbackItem, "ItemV3");
list_of!(replacements_v4, Replacement, "ReplacementV4");

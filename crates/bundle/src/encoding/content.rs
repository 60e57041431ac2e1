//! Decodes bodies: the common part of all versions, and the JSON of versions 1 and 2, which this
//! release no longer writes.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use tara_export_digest::Sha256;

use super::{
    UndecodableExport,
    meter::{self, Meter},
};
use crate::{
    Content, Destination, Document, DocumentKind, ExportContent, Fallback, FeedbackItem,
    FeedbackSection, JsonObject, Reference, Replacement, Review,
};

/// A decoded body without the bytes of its documents.
pub(super) struct ReadContent {
    pub review: Review,
    pub documents: Vec<ReadDocument>,
    pub destination: Option<Destination>,
    pub fallback: Fallback,
}

pub(super) struct ReadDocument {
    pub kind: DocumentKind,
    pub file_name: String,
    pub media_type: String,
    pub size_bytes: u64,
    /// The location of a document that is not in the body, and its digest if it is known.
    pub reference: Option<(Option<Sha256>, Reference)>,
}

/// Decodes a body whose digest is right. The documents share its bytes.
pub(super) fn decode_content(
    body: &Bytes,
    content_size_bytes: u64,
    read: impl FnOnce(&[u8]) -> Result<ReadContent, UndecodableExport>,
) -> Result<ExportContent, UndecodableExport> {
    let end = usize::try_from(content_size_bytes).ok().filter(|end| *end <= body.len());
    let end = end.ok_or_else(|| UndecodableExport::damaged("the body ends within the review"))?;
    let ReadContent { review, documents, destination, fallback } = read(&body[..end])?;
    if documents.len() > DocumentKind::ALL.len() {
        return Err(UndecodableExport::damaged("more documents than kinds"));
    }
    let mut rest = body.slice(end..);
    let mut all = Vec::with_capacity(documents.len());
    for ReadDocument { kind, file_name, media_type, size_bytes, reference } in documents {
        if let Some((sha256, reference)) = reference {
            let content = Content::Referenced { size_bytes, reference };
            all.push(Document { kind, file_name, media_type, sha256, content });
            continue;
        }
        let size = usize::try_from(size_bytes).ok().filter(|size| *size <= rest.len());
        let size = size.ok_or_else(|| {
            UndecodableExport::damaged(format!("the body ends within document {}", kind.as_str()))
        })?;
        all.push(Document::inline(kind, file_name, media_type, rest.split_to(size)));
    }
    if !rest.is_empty() {
        return Err(UndecodableExport::damaged("the body has bytes after its documents"));
    }
    Ok(ExportContent { review, documents: all, destination, fallback })
}

/// Decodes the JSON of versions 1 and 2.
pub(super) fn decode_json(bytes: &[u8], meter: &Meter) -> Result<ReadContent, UndecodableExport> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = meter::read(&mut deserializer, meter)
        .and_then(|read| deserializer.end().map(|()| read))
        .map_err(|error| UndecodableExport::unreadable_json("review", &error))?;
    let ReadContentV1 { review, documents, destination, fallback } = read;
    let documents = documents.into_iter().map(|document| ReadDocument {
        kind: document.kind,
        file_name: document.file_name,
        media_type: document.media_type,
        size_bytes: document.size_bytes,
        reference: document.reference.map(|reference| (reference.sha256, reference.place)),
    });
    Ok(ReadContent { review, documents: documents.collect(), destination, fallback })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadContentV1 {
    #[serde(with = "ReviewV1")]
    review: Review,
    documents: Vec<DocumentV1>,
    destination: Option<Destination>,
    fallback: Fallback,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentV1 {
    #[serde(with = "DocumentKindV1")]
    kind: DocumentKind,
    file_name: String,
    media_type: String,
    size_bytes: u64,
    /// Location of a document that is not in the body; in version 2.
    #[serde(default)]
    reference: Option<ReferenceV2>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceV2 {
    #[serde(default)]
    sha256: Option<Sha256>,
    place: Reference,
}

#[derive(Deserialize)]
#[serde(remote = "DocumentKind", rename_all = "snake_case")]
enum DocumentKindV1 {
    Before,
    After,
    Guidelines,
}

#[derive(Deserialize)]
#[serde(remote = "Review", deny_unknown_fields)]
struct ReviewV1 {
    document_name: String,
    session_id: String,
    reviewer: String,
    guidelines_name: Option<String>,
    guidelines_preference: String,
    section_names: Vec<String>,
    #[serde(with = "sections_v1")]
    suggestions: Vec<FeedbackSection>,
    #[serde(with = "sections_v1")]
    accepted: Vec<FeedbackSection>,
    #[serde(with = "sections_v1")]
    rejected: Vec<FeedbackSection>,
    #[serde(with = "sections_v1")]
    user_created: Vec<FeedbackSection>,
    activity_log: Vec<JsonObject>,
    chat_history: Vec<JsonObject>,
    audit_logs: Vec<JsonObject>,
    activity_timeline: Vec<JsonObject>,
    performance_metrics: JsonObject,
    /// These versions have none.
    #[serde(skip)]
    replacements: Vec<Replacement>,
}

#[derive(Deserialize)]
#[serde(remote = "FeedbackSection", deny_unknown_fields)]
struct SectionV1 {
    name: String,
    #[serde(with = "items_v1")]
    items: Vec<FeedbackItem>,
}

/// An absent value has no key; an empty text has one.
#[derive(Deserialize)]
#[serde(remote = "FeedbackItem", deny_unknown_fields)]
struct ItemV1 {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    suggestion: Option<String>,
    #[serde(default)]
    example: Option<String>,
    #[serde(default)]
    questions: Vec<String>,
    #[serde(default)]
    hawkeye_refs: Vec<i64>,
    #[serde(default)]
    risk_level: Option<String>,
    #[serde(default)]
    confidence: Option<f64>,
    #[serde(default)]
    user_created: Option<bool>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    ai_reference: Option<String>,
    #[serde(default)]
    ai_id: Option<String>,
    additional_fields: JsonObject,
}

/// Defines a module for `#[serde(with)]` of a list whose values have one of the forms above.
macro_rules! list_of {
    ($module:ident, $value:ty, $form:literal) => {
        mod $module {
            use super::*;

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

list_of!(sections_v1, FeedbackSection, "SectionV1");
list_of!(items_v1, FeedbackItem, "ItemV1");

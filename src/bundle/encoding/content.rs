//! The body of encoding version 1: the review as JSON, then the documents as they are.
//!
//! Unlike the canonical encoding behind the content digest, it keeps apart what came typed and what
//! came free, and is read back.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::UndecodableExport;
use crate::{
    bundle::{
        Destination, Document, DocumentKind, ExportContent, Fallback, FeedbackItem,
        FeedbackSection, JsonObject, Review, format::to_json_compact,
    },
    digest::Sha256,
};

/// The body without its documents.
pub(super) fn encode_content(content: &ExportContent) -> Vec<u8> {
    // Every field by name: a field that is added has to be decided upon here.
    let ExportContent { review, documents, destination, fallback } = content;
    let documents = documents.iter().map(|document| {
        // The digest is computed again from the bytes when they are read.
        let Document { kind, file_name, media_type, sha256: _, content } = document;
        DocumentV1 {
            kind: *kind,
            file_name: file_name.clone(),
            media_type: media_type.clone(),
            size_bytes: content.len() as u64,
        }
    });
    to_json_compact(&WrittenContentV1 {
        review,
        documents: documents.collect(),
        destination: *destination,
        fallback: *fallback,
    })
}

/// Reads a body whose digest is right. The documents share its bytes.
pub(super) fn decode_content(
    body: &Bytes,
    content_size_bytes: u64,
) -> Result<ExportContent, UndecodableExport> {
    let end = usize::try_from(content_size_bytes).ok().filter(|end| *end <= body.len());
    let end = end.ok_or_else(|| UndecodableExport::damaged("its body ends within the review"))?;
    let ReadContentV1 { review, documents, destination, fallback } =
        serde_json::from_slice(&body[..end])
            .map_err(|error| UndecodableExport::unreadable_json("review", &error))?;
    let mut rest = body.slice(end..);
    let mut read = Vec::with_capacity(documents.len());
    for DocumentV1 { kind, file_name, media_type, size_bytes } in documents {
        let size = usize::try_from(size_bytes).ok().filter(|size| *size <= rest.len());
        let size = size.ok_or_else(|| {
            UndecodableExport::damaged(format!("its body ends within document {}", kind.as_str()))
        })?;
        let content = rest.split_to(size);
        let sha256 = Sha256::of(&content);
        read.push(Document { kind, file_name, media_type, sha256, content });
    }
    if !rest.is_empty() {
        return Err(UndecodableExport::damaged("its body goes on after its documents"));
    }
    Ok(ExportContent { review, documents: read, destination, fallback })
}

#[derive(Serialize)]
struct WrittenContentV1<'a> {
    #[serde(with = "ReviewV1")]
    review: &'a Review,
    documents: Vec<DocumentV1>,
    destination: Option<Destination>,
    fallback: Fallback,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentV1 {
    #[serde(with = "DocumentKindV1")]
    kind: DocumentKind,
    file_name: String,
    media_type: String,
    size_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "DocumentKind", rename_all = "snake_case")]
enum DocumentKindV1 {
    Before,
    After,
    Guidelines,
}

#[derive(Serialize, Deserialize)]
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
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FeedbackSection", deny_unknown_fields)]
struct SectionV1 {
    name: String,
    #[serde(with = "items_v1")]
    items: Vec<FeedbackItem>,
}

/// What is absent is left out; an empty text is there.
#[derive(Serialize, Deserialize)]
#[serde(remote = "FeedbackItem", deny_unknown_fields)]
struct ItemV1 {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    example: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    questions: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hawkeye_refs: Vec<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    risk_level: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_created: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ai_reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ai_id: Option<String>,
    additional_fields: JsonObject,
}

/// A list of values whose form is defined above, for `#[serde(with)]`.
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

list_of!(sections_v1, FeedbackSection, "SectionV1");
list_of!(items_v1, FeedbackItem, "ItemV1");

//! The body of encoding versions 1 and 2: the review as JSON, then the documents as they are.
//!
//! Unlike the canonical encoding behind the content digest, it keeps apart what came typed and what
//! came free, and is read back.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::UndecodableExport;
use crate::{
    bundle::{
        Content, Destination, Document, DocumentKind, ExportContent, Fallback, FeedbackItem,
        FeedbackSection, JsonObject, Reference, Review, format::to_json_compact,
    },
    digest::Sha256,
};

/// The body without its documents.
pub(super) fn encode_content(content: &ExportContent) -> Vec<u8> {
    // Every field by name: a field that is added has to be decided upon here.
    let ExportContent { review, documents, destination, fallback } = content;
    let documents = documents.iter().map(|document| {
        let Document { kind, file_name, media_type, sha256, content } = document;
        // Of bytes that follow, the digest is computed again when they are read.
        let reference = match content {
            Content::Inline(_) => None,
            Content::Referenced { reference, .. } => {
                Some(ReferenceV2 { sha256: *sha256, place: reference.clone() })
            }
        };
        DocumentV1 {
            kind: *kind,
            file_name: file_name.clone(),
            media_type: media_type.clone(),
            size_bytes: content.size_bytes(),
            reference,
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
    for DocumentV1 { kind, file_name, media_type, size_bytes, reference } in documents {
        if let Some(ReferenceV2 { sha256, place: reference }) = reference {
            let content = Content::Referenced { size_bytes, reference };
            read.push(Document { kind, file_name, media_type, sha256, content });
            continue;
        }
        let size = usize::try_from(size_bytes).ok().filter(|size| *size <= rest.len());
        let size = size.ok_or_else(|| {
            UndecodableExport::damaged(format!("its body ends within document {}", kind.as_str()))
        })?;
        read.push(Document::inline(kind, file_name, media_type, rest.split_to(size)));
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
    /// In version 2: where it lies that is not in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<ReferenceV2>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceV2 {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    place: Reference,
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

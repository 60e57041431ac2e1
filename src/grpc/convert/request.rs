//! Requests that carry a review, checked whole: every fault is named at once.

use tonic::Status;
use uuid::Uuid;

use super::{
    names::request_id,
    review::{name_limit, review},
};
use crate::{
    bundle::{
        Destination, Document, DocumentKind, ExportContent, Fallback, FeedbackSection,
        PreviewDocument, Review,
    },
    digest::Sha256,
    grpc::status::Violations,
    proto,
};

/// Longest media type in bytes: RFC 6838 allows 127 for each half.
const MEDIA_TYPE_LIMIT_BYTES: usize = 255;

/// StartExport's request in domain types.
#[derive(Debug)]
pub(in crate::grpc) struct StartRequest {
    pub request_id: Option<Uuid>,
    pub content: ExportContent,
}

/// PreviewExport's request in domain types.
#[derive(Debug)]
pub(in crate::grpc) struct PreviewRequest {
    pub review: Review,
    pub documents: Vec<PreviewDocument>,
}

/// Checks and converts a request to start an export. Digests its documents: takes a while for
/// large ones.
pub(in crate::grpc) fn start_request(
    request: proto::StartExportRequest,
) -> Result<StartRequest, Status> {
    let mut violations = Violations::default();
    let id = request_id(&request.request_id).unwrap_or_else(|description| {
        violations.add("request_id", description);
        None
    });
    let review = required_review(request.review, &mut violations);
    let mut documents = Vec::with_capacity(request.documents.len());
    for (number, document) in request.documents.into_iter().enumerate() {
        documents.extend(convert_document(
            document,
            &format!("documents[{number}]"),
            &mut violations,
        ));
    }
    unique_kinds(documents.iter().map(|document| document.kind), &mut violations);
    documents.sort_by_key(|document| document.kind);
    let destination = match proto::Destination::try_from(request.destination) {
        Ok(proto::Destination::Unspecified) => None,
        Ok(proto::Destination::S3) => Some(Destination::S3),
        Ok(proto::Destination::Local) => Some(Destination::Local),
        Err(_) => {
            violations.add("destination", "DESTINATION_S3, DESTINATION_LOCAL or unspecified");
            None
        }
    };
    let fallback = match proto::Fallback::try_from(request.fallback) {
        Ok(proto::Fallback::Unspecified | proto::Fallback::Local) => Fallback::Local,
        Ok(proto::Fallback::None) => Fallback::None,
        Err(_) => {
            violations.add("fallback", "FALLBACK_LOCAL, FALLBACK_NONE or unspecified");
            Fallback::Local
        }
    };
    if documents.is_empty() && !has_feedback(&review) {
        violations.add(
            "documents",
            "a request needs a document or some feedback: this one has nothing to export",
        );
    }
    let content = ExportContent { review, documents, destination, fallback };
    violations.into_result(StartRequest { request_id: id, content })
}

/// Checks and converts a request for a preview.
pub(in crate::grpc) fn preview_request(
    request: proto::PreviewExportRequest,
) -> Result<PreviewRequest, Status> {
    let mut violations = Violations::default();
    let review = required_review(request.review, &mut violations);
    let mut documents = Vec::with_capacity(request.documents.len());
    for (number, document) in request.documents.into_iter().enumerate() {
        let field = format!("documents[{number}]");
        name_limit(&format!("{field}.file_name"), &document.file_name, &mut violations);
        let kind = document_kind(document.kind, &field, &mut violations);
        let Ok(size_bytes) = u64::try_from(document.size_bytes) else {
            violations.add(format!("{field}.size_bytes"), "0 or more");
            continue;
        };
        documents.extend(kind.map(|kind| PreviewDocument {
            kind,
            file_name: document.file_name,
            size_bytes,
        }));
    }
    unique_kinds(documents.iter().map(|document| document.kind), &mut violations);
    documents.sort_by_key(|document| document.kind);
    violations.into_result(PreviewRequest { review, documents })
}

fn required_review(message: Option<proto::Review>, violations: &mut Violations) -> Review {
    if let Some(message) = message {
        review(message, violations)
    } else {
        violations.add("review", "required");
        Review::default()
    }
}

fn has_feedback(review: &Review) -> bool {
    let lists = [&review.suggestions, &review.accepted, &review.rejected, &review.user_created];
    let has_items = |section: &FeedbackSection| !section.items.is_empty();
    lists.into_iter().flatten().any(has_items)
}

fn convert_document(
    document: proto::Document,
    field: &str,
    violations: &mut Violations,
) -> Option<Document> {
    name_limit(&format!("{field}.file_name"), &document.file_name, violations);
    let media_type = &document.media_type;
    if media_type.len() > MEDIA_TYPE_LIMIT_BYTES
        || !media_type.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    {
        let rule = format!(
            "a media type (RFC 6838) of at most {MEDIA_TYPE_LIMIT_BYTES} printable ASCII characters"
        );
        violations.add(format!("{field}.media_type"), rule);
    }
    let kind = document_kind(document.kind, field, violations);
    let Some(proto::document::Source::Content(content)) = document.source else {
        violations
            .add(format!("{field}.content"), "required, and may be empty: the document's bytes");
        return None;
    };
    let sha256 = Sha256::of(&content);
    if !document.sha256.is_empty() {
        match document.sha256.parse::<Sha256>() {
            Err(error) => violations.add(format!("{field}.sha256"), error.to_string()),
            Ok(claimed) if claimed != sha256 => {
                violations.add(
                    format!("{field}.sha256"),
                    format!("the content that arrived has {sha256}"),
                );
            }
            Ok(_) => {}
        }
    }
    Some(Document {
        kind: kind?,
        file_name: document.file_name,
        media_type: document.media_type,
        sha256,
        content,
    })
}

fn document_kind(kind: i32, field: &str, violations: &mut Violations) -> Option<DocumentKind> {
    match proto::document::Kind::try_from(kind) {
        Ok(proto::document::Kind::Before) => Some(DocumentKind::Before),
        Ok(proto::document::Kind::After) => Some(DocumentKind::After),
        Ok(proto::document::Kind::Guidelines) => Some(DocumentKind::Guidelines),
        Ok(proto::document::Kind::Unspecified) | Err(_) => {
            violations.add(format!("{field}.kind"), "KIND_BEFORE, KIND_AFTER or KIND_GUIDELINES");
            None
        }
    }
}

fn unique_kinds(kinds: impl Iterator<Item = DocumentKind>, violations: &mut Violations) {
    let mut seen = [false; 3];
    for kind in kinds {
        if std::mem::replace(&mut seen[kind as usize], true) {
            violations
                .add("documents", format!("two documents of the kind {}: send one", kind.as_str()));
        }
    }
}

//! Validates and converts requests with a review. Reports all invalid fields at once.

use tara_export_bundle::{
    Destination, Document, DocumentKind, Fallback, FeedbackSection, PreviewDocument, Review,
};
use tara_export_notify::{AllowedRecipients, EmailAddress};
use tara_export_store::SourceLocation;
use tonic::Status;
use uuid::Uuid;

use super::{
    names::{optional_sha256, parse_upload_id, request_id},
    path::Path,
    review::{name_limit, review},
};
use crate::{
    export::{DocumentLocation, NamedDocument, RequestedContent, RequestedDocument},
    grpc::status::Violations,
    proto::{self, document::Source},
};

/// Addresses in one request.
const MAX_RECIPIENTS: usize = 10;

/// The longest media type: RFC 6838 allows 127 bytes for each half.
const MEDIA_TYPE_LIMIT_BYTES: usize = 255;

/// The longest key of an object (Amazon S3 User Guide, "Naming objects").
const KEY_LIMIT_BYTES: usize = 1024;

/// A StartExport request in domain types.
#[derive(Debug)]
pub(in crate::grpc) struct StartRequest {
    pub request_id: Option<Uuid>,
    pub content: RequestedContent,
}

/// A PreviewExport request in domain types.
#[derive(Debug)]
pub(in crate::grpc) struct PreviewRequest {
    pub review: Review,
    pub documents: Vec<PreviewDocument>,
}

/// Validates and converts a StartExport request. Computes digests of inline documents, which takes long for large
/// ones.
pub(in crate::grpc) fn start_request(
    request: proto::StartExportRequest,
    allowed: &AllowedRecipients,
) -> Result<StartRequest, Status> {
    let mut violations = Violations::default();
    let converted = convert_request(request, allowed, &mut violations);
    violations.into_result(converted)
}

/// Converts a StartExport request. If it has violations, the result must not be used.
pub(super) fn convert_request(
    request: proto::StartExportRequest,
    allowed: &AllowedRecipients,
    violations: &mut Violations,
) -> StartRequest {
    let id = request_id(&request.request_id).unwrap_or_else(|description| {
        violations.add("request_id", description);
        None
    });
    let review = required_review(request.review, violations);
    let mut documents = Vec::with_capacity(request.documents.len());
    for (number, document) in request.documents.into_iter().enumerate() {
        documents.extend(convert_document(
            number,
            document,
            Path::root("documents").index(number),
            violations,
        ));
    }
    unique_kinds(documents.iter().map(RequestedDocument::kind), violations);
    documents.sort_by_key(RequestedDocument::kind);
    let destination = match proto::Destination::try_from(request.destination) {
        Ok(proto::Destination::Unspecified) => None,
        Ok(proto::Destination::S3) => Some(Destination::S3),
        Ok(proto::Destination::Local) => Some(Destination::Local),
        Err(_) => {
            violations
                .add("destination", "must be DESTINATION_S3, DESTINATION_LOCAL or unspecified");
            None
        }
    };
    let fallback = match proto::Fallback::try_from(request.fallback) {
        Ok(proto::Fallback::Unspecified | proto::Fallback::Local) => Fallback::Local,
        Ok(proto::Fallback::None) => Fallback::None,
        Err(_) => {
            violations.add("fallback", "must be FALLBACK_LOCAL, FALLBACK_NONE or unspecified");
            Fallback::Local
        }
    };
    if documents.is_empty() && !has_feedback(&review) {
        violations.add("documents", "nothing to export: the request needs a document or feedback");
    }
    let recipients = recipients(&request.notify_emails, allowed, violations);
    let content = RequestedContent { review, documents, destination, fallback, recipients };
    StartRequest { request_id: id, content }
}

/// The addresses of `notify_emails`, each once, in their normal form.
fn recipients(
    texts: &[String],
    allowed: &AllowedRecipients,
    violations: &mut Violations,
) -> Vec<String> {
    let mut addresses = Vec::new();
    if texts.len() > MAX_RECIPIENTS {
        let message =
            format!("has {} addresses; at most {MAX_RECIPIENTS} are allowed", texts.len());
        violations.add("notify_emails", message);
        return addresses;
    }
    let list = Path::root("notify_emails");
    for (number, text) in texts.iter().enumerate() {
        let field = list.index(number);
        match EmailAddress::parse(text) {
            Ok(address) if allowed.allow(&address) => {
                let address = address.as_str().to_owned();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(_) if allowed.is_empty() => violations.add(
                field,
                "must not be set: this server sends no mails to addresses in requests (NOTIFY_FILE, \
                 NOTIFY_RECIPIENTS)",
            ),
            Ok(_) => violations
                .add(field, "must be in a domain that this server allows (NOTIFY_RECIPIENTS)"),
            Err(error) => violations.add(field, error),
        }
    }
    addresses
}

/// Validates and converts a PreviewExport request.
pub(in crate::grpc) fn preview_request(
    request: proto::PreviewExportRequest,
) -> Result<PreviewRequest, Status> {
    let mut violations = Violations::default();
    let review = required_review(request.review, &mut violations);
    let mut documents = Vec::with_capacity(request.documents.len());
    for (number, document) in request.documents.into_iter().enumerate() {
        let list = Path::root("documents");
        let path = list.index(number);
        name_limit(path.name("file_name"), &document.file_name, &mut violations);
        let kind = document_kind(document.kind, path, &mut violations);
        let Ok(size_bytes) = u64::try_from(document.size_bytes) else {
            violations.add(path.name("size_bytes"), "must be 0 or greater");
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
        violations.add("review", "is required");
        Review::default()
    }
}

fn has_feedback(review: &Review) -> bool {
    let lists = [&review.suggestions, &review.accepted, &review.rejected, &review.user_created];
    let has_items = |section: &FeedbackSection| !section.items.is_empty();
    lists.into_iter().flatten().any(has_items)
}

fn convert_document(
    number: usize,
    document: proto::Document,
    path: Path<'_>,
    violations: &mut Violations,
) -> Option<RequestedDocument> {
    name_limit(path.name("file_name"), &document.file_name, violations);
    let media_type = &document.media_type;
    if media_type.len() > MEDIA_TYPE_LIMIT_BYTES
        || !media_type.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    {
        let rule = format!(
            "must be a media type (RFC 6838) of at most {MEDIA_TYPE_LIMIT_BYTES} printable ASCII characters"
        );
        violations.add(path.name("media_type"), rule);
    }
    let kind = document_kind(document.kind, path, violations);
    let expected_sha256 = optional_sha256(path.name("sha256"), &document.sha256, violations);
    let proto::Document { file_name, media_type, source, .. } = document;
    let location = match source {
        Some(Source::Content(content)) => {
            let document = Document::inline(kind?, file_name, media_type, content);
            if let (Some(expected_sha256), Some(sha256)) = (expected_sha256, document.sha256)
                && expected_sha256 != sha256
            {
                let description =
                    format!("does not match the received content, which has {sha256}");
                violations.add(path.name("sha256"), description);
            }
            return Some(RequestedDocument::Inline(document));
        }
        Some(Source::Upload(name)) => parse_upload_id(&name)
            .map(DocumentLocation::Upload)
            .map_err(|description| violations.add(path.name("upload"), description)),
        Some(Source::S3(source)) => source_location(source)
            .map(DocumentLocation::Object)
            .map_err(|description| violations.add(path.name("s3.uri"), description)),
        None => {
            let description = "is required: the document's bytes (may be empty), the name of an upload, or an object \
                               in S3";
            violations.add(path.name("content"), description);
            Err(())
        }
    };
    let (kind, location) = (kind?, location.ok()?);
    let named =
        NamedDocument { number, kind, file_name, media_type, claimed: expected_sha256, location };
    Some(RequestedDocument::Named(named))
}

fn source_location(source: proto::S3Source) -> Result<SourceLocation, String> {
    let proto::S3Source { uri, version_id } = source;
    let location = uri.strip_prefix("s3://").and_then(|location| location.split_once('/'));
    match location {
        Some((bucket, key))
            if !bucket.is_empty() && !key.is_empty() && key.len() <= KEY_LIMIT_BYTES =>
        {
            let version_id = Some(version_id).filter(|version_id| !version_id.is_empty());
            Ok(SourceLocation { bucket: bucket.to_owned(), key: key.to_owned(), version_id })
        }
        _ => Err("must be an object in S3, such as s3://bucket/reports/before.docx".to_owned()),
    }
}

fn document_kind(kind: i32, path: Path<'_>, violations: &mut Violations) -> Option<DocumentKind> {
    match proto::document::Kind::try_from(kind) {
        Ok(proto::document::Kind::Before) => Some(DocumentKind::Before),
        Ok(proto::document::Kind::After) => Some(DocumentKind::After),
        Ok(proto::document::Kind::Guidelines) => Some(DocumentKind::Guidelines),
        Ok(proto::document::Kind::Unspecified) | Err(_) => {
            violations.add(path.name("kind"), "must be KIND_BEFORE, KIND_AFTER or KIND_GUIDELINES");
            None
        }
    }
}

fn unique_kinds(kinds: impl Iterator<Item = DocumentKind>, violations: &mut Violations) {
    let mut seen = [false; 3];
    for kind in kinds {
        if std::mem::replace(&mut seen[kind as usize], true) {
            violations.add(
                "documents",
                format!("has two documents of the kind {}: send one", kind.as_str()),
            );
        }
    }
}

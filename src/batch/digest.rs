//! Digests of requests: whether a batch that is sent again is the same.
//!
//! A document counts by its digest or its source. Of an upload without a digest in the request, only kind and names
//! count, because a caller that sends the batch again may have uploaded the document again; the export itself compares
//! the content.

use tara_export_bundle::{Content, Document, ExportContent, ExportId, FormatVersion, Reference};
use tara_export_digest::{Crc64Nvme, Sha256, Sha256Hasher};
use tara_export_store::SourceLocation;
use uuid::Uuid;

use crate::export::{DocumentLocation, NamedDocument, RequestedContent, RequestedDocument};

/// All releases compute the same digests: those of a note are compared after an upgrade.
const ENCODING: FormatVersion = FormatVersion::V1;

/// The digest of a request, before its documents are pinned. Takes a while for a large review.
pub(super) fn of_request(requested: RequestedContent) -> (Sha256, RequestedContent) {
    let RequestedContent { review, documents, destination, fallback, recipients } = requested;
    let described = documents.iter().map(described).collect();
    let content = ExportContent { review, documents: described, destination, fallback };
    let digest = content.digest(ENCODING);
    let review = content.review;
    (digest, RequestedContent { review, documents, destination, fallback, recipients })
}

/// The digest of a batch: of the ids and digests of its requests in their order.
pub(super) fn of_batch(requests: impl Iterator<Item = (ExportId, Sha256)>) -> Sha256 {
    let mut digest = Sha256Hasher::default();
    for (export_id, request) in requests {
        digest.update(format!("{export_id} {request}\n").as_bytes());
    }
    digest.finish()
}

fn described(document: &RequestedDocument) -> Document {
    let (kind, file_name, media_type) = match document {
        RequestedDocument::Inline(Document { kind, file_name, media_type, .. })
        | RequestedDocument::Named(NamedDocument { kind, file_name, media_type, .. }) => {
            (*kind, file_name.clone(), media_type.clone())
        }
    };
    let uploaded = Reference::Upload {
        upload_id: Uuid::nil(),
        e_tag: String::new(),
        crc64nvme: Crc64Nvme::of(b""),
    };
    let (sha256, reference) = match document {
        RequestedDocument::Inline(document) => (document.sha256, uploaded),
        RequestedDocument::Named(named) => match &named.location {
            DocumentLocation::Upload(_) => (named.claimed, uploaded),
            DocumentLocation::Object(SourceLocation { bucket, key, version_id }) => {
                let (bucket, key, version_id) = (bucket.clone(), key.clone(), version_id.clone());
                let e_tag = String::new();
                let object = Reference::Object { bucket, key, version_id, e_tag, crc64nvme: None };
                (named.claimed, object)
            }
        },
    };
    let content = Content::Referenced { size_bytes: 0, reference };
    Document { kind, file_name, media_type, sha256, content }
}

//! Pins the documents that a request names when it is accepted, so that their content cannot change afterwards.

use std::path::PathBuf;

use tara_export_bundle::{Content, Document, DocumentKind, ExportId, Reference};
use tara_export_digest::{ContentChecksums, Sha256};
use tara_export_store::{SourceLocation, SourceObject, StoreErrorKind};
use uuid::Uuid;

use crate::{
    export::{
        accept::prior::find,
        error::{DocumentProblem, StartError},
        failure::Failure,
        shared::Shared,
    },
    transfer::RetryBudget,
    upload::{FinishedUpload, UploadLocation},
};

/// A document of a request.
#[derive(Debug, Clone)]
pub enum RequestedDocument {
    /// Inline, with its bytes.
    Inline(Document),
    /// Named: an upload or an S3 source.
    Named(NamedDocument),
}

/// A document that a request names.
#[derive(Debug, Clone)]
pub struct NamedDocument {
    /// Its index in the request, for messages.
    pub number: usize,
    /// The kind of the document.
    pub kind: DocumentKind,
    /// The caller's file name; empty if not set.
    pub file_name: String,
    /// The caller's media type; empty if not set.
    pub media_type: String,
    /// The expected digest, if the caller sent one.
    pub claimed: Option<Sha256>,
    /// Where the document is stored.
    pub location: DocumentLocation,
}

/// The location of a named document.
#[derive(Debug, Clone)]
pub enum DocumentLocation {
    /// An upload.
    Upload(Uuid),
    /// An S3 source.
    Object(SourceLocation),
}

impl RequestedDocument {
    /// The kind of the document.
    pub fn kind(&self) -> DocumentKind {
        match self {
            Self::Inline(document) => document.kind,
            Self::Named(named) => named.kind,
        }
    }
}

/// The pinned documents of a request.
pub(in crate::export) struct Pinned {
    pub documents: Vec<Document>,
    /// Files that the journal stores with the entry.
    pub attachments: Vec<(DocumentKind, PathBuf)>,
}

/// Pins every document, so that its content cannot change afterwards.
///
/// # Errors
/// [`StartError::Document`] if a document cannot be used, and [`StartError::Store`] if S3 fails.
pub(in crate::export) async fn pin(
    shared: &Shared,
    export_id: ExportId,
    requested: Vec<RequestedDocument>,
) -> Result<Pinned, StartError> {
    let mut pinned = Pinned { documents: Vec::new(), attachments: Vec::new() };
    for (number, document) in requested.into_iter().enumerate() {
        match document {
            RequestedDocument::Inline(document) => {
                let limit_bytes = shared.settings.document_size_bytes;
                let size_bytes = document.content.size_bytes();
                if size_bytes > limit_bytes {
                    let field = "content";
                    let problem = DocumentProblem::TooLarge { field, size_bytes, limit_bytes };
                    return Err(StartError::Document { number, problem });
                }
                pinned.documents.push(document);
            }
            RequestedDocument::Named(named) => {
                let number = named.number;
                let (document, file) = match &named.location {
                    DocumentLocation::Upload(upload_id) => {
                        pin_upload(shared, *upload_id, &named).await?
                    }
                    DocumentLocation::Object(location) => {
                        (pin_object(shared, export_id, location, &named).await?, None)
                    }
                };
                if let (Some(claimed), Some(actual)) = (named.claimed, document.sha256)
                    && claimed != actual
                {
                    let problem = DocumentProblem::DigestMismatch { actual };
                    return Err(StartError::Document { number, problem });
                }
                pinned.attachments.extend(file.map(|file| (named.kind, file)));
                pinned.documents.push(document);
            }
        }
    }
    Ok(pinned)
}

async fn pin_upload(
    shared: &Shared,
    upload_id: Uuid,
    named: &NamedDocument,
) -> Result<(Document, Option<PathBuf>), StartError> {
    let finished = shared.uploads.finished(upload_id).await;
    let FinishedUpload { location, checksums } = finished.map_err(|error| {
        let number = named.number;
        StartError::Document { number, problem: DocumentProblem::Upload(error) }
    })?;
    let ContentChecksums { size_bytes, sha256, crc64nvme } = checksums;
    let (reference, file) = match location {
        UploadLocation::Store { e_tag } => {
            (Reference::Upload { upload_id, e_tag, crc64nvme }, None)
        }
        UploadLocation::Disk { file } => {
            (Reference::Attachment { kind: named.kind, crc64nvme }, Some(file))
        }
    };
    Ok((document(named, Some(sha256), size_bytes, reference), file))
}

async fn pin_object(
    shared: &Shared,
    export_id: ExportId,
    location: &SourceLocation,
    named: &NamedDocument,
) -> Result<Document, StartError> {
    let number = named.number;
    let refused = |problem| StartError::Document { number, problem };
    let uri = location.to_string();
    if !shared.settings.allowed_sources.iter().any(|allowed| allowed.covers(location)) {
        return Err(refused(DocumentProblem::NotAllowed { uri }));
    }
    let Some(parts) = shared.stores.s3.as_ref().and_then(|s3| s3.parts()) else {
        return Err(StartError::NoBucket);
    };
    let budget = RetryBudget::new(shared.settings.accept_timeout);
    let found = budget.run(|| parts.look_up_source(location), |_, _| {}).await;
    let source = match found {
        Ok(source) => source,
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            return match find_in_bundle(shared, export_id, location, named).await {
                Some(document) => Ok(document),
                None => Err(refused(DocumentProblem::NotFound { uri })),
            };
        }
        Err(error) => return Err(StartError::Store(Failure::from(error))),
    };
    let SourceObject { location, e_tag, info } = source;
    let limit_bytes = shared.settings.document_size_bytes;
    if info.size_bytes > limit_bytes {
        let size_bytes = info.size_bytes;
        let field = "s3.uri";
        return Err(refused(DocumentProblem::TooLarge { field, size_bytes, limit_bytes }));
    }
    let SourceLocation { bucket, key, version_id } = location;
    let reference = Reference::Object { bucket, key, version_id, e_tag, crc64nvme: None };
    Ok(document(named, info.sha256.or(named.claimed), info.size_bytes, reference))
}

/// A source object that is gone, reconstructed from the committed bundle of this id. Together with the claimed
/// digest, this is enough to compute the content digest, so that a repeated request finds its export.
async fn find_in_bundle(
    shared: &Shared,
    export_id: ExportId,
    location: &SourceLocation,
    named: &NamedDocument,
) -> Option<Document> {
    let claimed = named.claimed?;
    for store in [Some(&shared.stores.local), shared.stores.s3.as_ref()] {
        let Some(bundle) = find(shared, store, export_id).await else { continue };
        let artifact =
            bundle.artifacts().into_iter().find(|artifact| artifact.sha256 == claimed)?;
        let SourceLocation { bucket, key, version_id } = location.clone();
        let reference =
            Reference::Object { bucket, key, version_id, e_tag: String::new(), crc64nvme: None };
        return Some(document(named, Some(claimed), artifact.size_bytes, reference));
    }
    None
}

fn document(
    named: &NamedDocument,
    sha256: Option<Sha256>,
    size_bytes: u64,
    reference: Reference,
) -> Document {
    Document {
        kind: named.kind,
        file_name: named.file_name.clone(),
        media_type: named.media_type.clone(),
        sha256,
        content: Content::Referenced { size_bytes, reference },
    }
}

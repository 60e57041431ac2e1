//! Documents that don't come with their request: pinned when it is accepted, found again when its bundle
//! is made.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use uuid::Uuid;

use super::{
    DocumentProblem, FailureReason, Journal, StartError, earlier::find, failure::Failure,
    shared::Shared,
};
use crate::{
    bundle::{
        AcceptedExport, Content, ContentDigest, Document, DocumentKind, ExportId, ReadDigest,
        Reference,
    },
    catalog::{StoredBundle, layout},
    digest::{ContentChecksums, Sha256},
    limits::Pool,
    store::{ObjectInfo, SourceLocation, SourceObject, Store, StoreError, StoreErrorKind},
    transfer::{ContentSource, RetryBudget, checksums_of},
    upload::{FinishedUpload, UploadPlace},
};

/// A document as a request has it.
#[derive(Debug, Clone)]
pub enum RequestedDocument {
    /// With its bytes.
    Here(Document),
    /// As a name.
    Elsewhere(NamedDocument),
}

/// A document that a request names.
#[derive(Debug, Clone)]
pub struct NamedDocument {
    /// Its place among the request's documents, for messages.
    pub number: usize,
    /// Which document it is.
    pub kind: DocumentKind,
    /// The caller's own name of the file; empty where the caller gave none.
    pub file_name: String,
    /// The media type the caller gave; empty where none.
    pub media_type: String,
    /// The digest that the caller says it has.
    pub claimed: Option<Sha256>,
    /// Where it is.
    pub place: NamedPlace,
}

/// Where a request says that a document is.
#[derive(Debug, Clone)]
pub enum NamedPlace {
    /// It was uploaded before.
    Upload(Uuid),
    /// It lies in S3.
    Object(SourceLocation),
}

/// Objects that documents may be copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSource {
    /// Their bucket.
    pub bucket: String,
    /// What their keys start with; empty, or ends with `/`.
    pub prefix: String,
}

impl AllowedSource {
    fn covers(&self, location: &SourceLocation) -> bool {
        // A key may have `..` in it, which S3 takes as it is.
        self.bucket == location.bucket && location.key.starts_with(&self.prefix)
    }
}

impl RequestedDocument {
    /// Which document it is.
    pub fn kind(&self) -> DocumentKind {
        match self {
            Self::Here(document) => document.kind,
            Self::Elsewhere(named) => named.kind,
        }
    }
}

/// Documents as they are accepted.
pub(super) struct Pinned {
    pub documents: Vec<Document>,
    /// Files that the journal keeps with the export.
    pub attachments: Vec<(DocumentKind, PathBuf)>,
}

/// Pins every document: from here on it has one content.
///
/// # Errors
/// [`StartError::Document`] where one can't be used, and [`StartError::Store`] where S3 does not say.
pub(super) async fn pin(
    shared: &Shared,
    export_id: ExportId,
    requested: Vec<RequestedDocument>,
) -> Result<Pinned, StartError> {
    let mut pinned = Pinned { documents: Vec::new(), attachments: Vec::new() };
    for (number, document) in requested.into_iter().enumerate() {
        match document {
            RequestedDocument::Here(document) => {
                let limit_bytes = shared.settings.document_size_bytes;
                let size_bytes = document.content.size_bytes();
                if size_bytes > limit_bytes {
                    let field = "content";
                    let problem = DocumentProblem::TooLarge { field, size_bytes, limit_bytes };
                    return Err(StartError::Document { number, problem });
                }
                pinned.documents.push(document);
            }
            RequestedDocument::Elsewhere(named) => {
                let number = named.number;
                let (document, file) = match &named.place {
                    NamedPlace::Upload(upload_id) => pin_upload(shared, *upload_id, &named).await?,
                    NamedPlace::Object(location) => {
                        (pin_object(shared, export_id, location, &named).await?, None)
                    }
                };
                if let (Some(claimed), Some(actual)) = (named.claimed, document.sha256)
                    && claimed != actual
                {
                    let problem = DocumentProblem::OtherDigest { actual };
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
    let FinishedUpload { place, checksums } = finished.map_err(|error| {
        let number = named.number;
        StartError::Document { number, problem: DocumentProblem::Upload(error) }
    })?;
    let ContentChecksums { size_bytes, sha256, crc64nvme } = checksums;
    let (reference, file) = match place {
        UploadPlace::Store { e_tag } => (Reference::Upload { upload_id, e_tag, crc64nvme }, None),
        UploadPlace::Disk { file } => {
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
            return match committed_earlier(shared, export_id, location, named).await {
                Some(document) => Ok(document),
                None => Err(refused(DocumentProblem::NotFound { uri })),
            };
        }
        Err(error) => {
            let Failure { reason, message } = error.into();
            return Err(StartError::Store { reason, message });
        }
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

/// An object that is gone, as an export under this id has committed it. With a claimed digest that is
/// enough for the content's digest, so that a request that comes again finds its export.
async fn committed_earlier(
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

/// Whether a document can be had from S3 only.
pub(super) fn need_s3(documents: &[Document]) -> bool {
    documents.iter().any(|document| {
        matches!(
            document.content,
            Content::Referenced {
                reference: Reference::Upload { .. } | Reference::Object { .. },
                ..
            }
        )
    })
}

/// Whether a document lies on this machine's disk only.
pub(super) fn lie_on_this_machine(documents: &[Document]) -> bool {
    documents.iter().any(|document| {
        let place = &document.content;
        matches!(place, Content::Referenced { reference: Reference::Attachment { .. }, .. })
    })
}

/// Whether a document must be read before the bundle can be rendered.
pub(super) fn must_be_read(documents: &[Document]) -> bool {
    documents.iter().any(|document| object_of(document).is_some())
}

fn object_of(document: &Document) -> Option<SourceObject> {
    let Content::Referenced { size_bytes, reference } = &document.content else { return None };
    let Reference::Object { bucket, key, version_id, e_tag, .. } = reference else { return None };
    let (bucket, key, version_id) = (bucket.clone(), key.clone(), version_id.clone());
    Some(source_object(SourceLocation { bucket, key, version_id }, e_tag, *size_bytes))
}

fn source_object(location: SourceLocation, e_tag: &str, size_bytes: u64) -> SourceObject {
    let info = ObjectInfo { size_bytes, sha256: None, crc64nvme: None, modified_time: None };
    SourceObject { location, e_tag: e_tag.to_owned(), info }
}

/// Where an export's documents lie.
pub(super) struct Documents<'a> {
    s3: Option<&'a Arc<dyn Store>>,
    journal: Option<&'a Journal>,
    /// Threads that read files of this machine.
    files: &'a Pool,
    /// The export as this machine accepted it, under which the journal keeps its attachments.
    export_id: ExportId,
    content_digest: ContentDigest,
}

impl<'a> Documents<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        export_id: ExportId,
        content_digest: ContentDigest,
    ) -> Self {
        let (s3, journal) = (shared.stores.s3.as_ref(), shared.journal().ok());
        Self { s3, journal, files: shared.transfers.files(), export_id, content_digest }
    }

    /// Where content comes from.
    pub(super) fn source(&self, content: &Content) -> Result<ContentSource, StoreError> {
        let (size_bytes, reference) = match content {
            Content::Inline(bytes) => return Ok(ContentSource::Memory(bytes.clone())),
            Content::Referenced { size_bytes, reference } => (*size_bytes, reference),
        };
        match reference {
            Reference::Attachment { kind, .. } => match self.journal {
                Some(journal) => Ok(ContentSource::File(journal.attachment(
                    self.export_id,
                    self.content_digest.sha256,
                    *kind,
                ))),
                None => Err(unreachable_source("this server only reads")),
            },
            Reference::Upload { upload_id, e_tag, .. } => self.object(|parts| {
                let location = parts.source_location(&layout::upload_document(*upload_id));
                source_object(location, e_tag, size_bytes)
            }),
            Reference::Object { bucket, key, version_id, e_tag, .. } => self.object(|_| {
                let (bucket, key) = (bucket.clone(), key.clone());
                let location = SourceLocation { bucket, key, version_id: version_id.clone() };
                source_object(location, e_tag, size_bytes)
            }),
        }
    }

    fn object(
        &self,
        source: impl FnOnce(&dyn crate::store::PartStore) -> SourceObject,
    ) -> Result<ContentSource, StoreError> {
        let store =
            self.s3.ok_or_else(|| unreachable_source("this server has no S3 bucket now"))?;
        let parts = store.parts().ok_or_else(|| {
            unreachable_source("this server's S3 store takes no objects in parts")
        })?;
        Ok(ContentSource::Object { store: store.clone(), source: source(parts) })
    }

    /// Reads every document that was pinned by its ETag alone. Where the bundle is committed, its
    /// manifest tells, and the objects may be gone.
    ///
    /// # Errors
    /// [`FailureReason::SourceLost`] where one is gone, or is not what the request said.
    pub(super) async fn read(
        &self,
        export: &AcceptedExport,
        budget: &RetryBudget,
    ) -> Result<BTreeMap<DocumentKind, ReadDigest>, Failure> {
        let mut digests = BTreeMap::new();
        for document in &export.content.documents {
            let Some(object) = object_of(document) else { continue };
            let source = self.source(&document.content)?;
            let read =
                || async { checksums_of(source.open(self.files).await?, || budget.renew()).await };
            let checksums = budget.run(read, |_, _| {}).await?;
            let is_other = document.sha256.is_some_and(|claimed| claimed != checksums.sha256);
            if is_other || checksums.size_bytes != document.content.size_bytes() {
                let message = format!(
                    "{} is not the document that the request names: its SHA-256 is {}",
                    object.location, checksums.sha256
                );
                return Err(Failure { reason: FailureReason::SourceLost, message });
            }
            let ContentChecksums { sha256, crc64nvme, .. } = checksums;
            digests.insert(document.kind, ReadDigest { sha256, crc64nvme: Some(crc64nvme) });
        }
        Ok(digests)
    }
}

/// The digests of the documents of a bundle that is there.
pub(super) async fn digests_of_committed(
    store: &Arc<dyn Store>,
    export_id: ExportId,
) -> Result<BTreeMap<DocumentKind, ReadDigest>, Failure> {
    let found = StoredBundle::find(store, export_id).await;
    let bundle = found.map_err(|error| {
        let reason = match error.is_data_loss() {
            true => FailureReason::DataLoss,
            false => FailureReason::StoreUnavailable,
        };
        Failure { reason, message: error.to_string() }
    })?;
    let artifacts = bundle.iter().flat_map(|bundle| &bundle.manifest().artifacts);
    let digests = artifacts.filter_map(|artifact| {
        let name = artifact.path.as_str().strip_prefix("documents/")?;
        let kind = DocumentKind::ALL
            .into_iter()
            .find(|kind| name.starts_with(&format!("{}_", kind.as_str())))?;
        Some((kind, ReadDigest { sha256: artifact.sha256, crc64nvme: None }))
    });
    Ok(digests.collect())
}

fn unreachable_source(why: &str) -> StoreError {
    let message = format!("a document of this export lies where it can't be reached: {why}");
    StoreError::new(StoreErrorKind::Misconfigured, message)
}

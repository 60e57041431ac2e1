//! Referenced documents: their content is read when the bundle is written. Step 14 of docs/design/commit-protocol.md: a document that
//! is already in the bundle's folder is not read again.

use std::{collections::BTreeMap, sync::Arc};

use tara_export_bundle::{
    AcceptedExport, Content, ContentDigest, Document, DocumentKind, ExportId, ReadDigest, Reference,
};
use tara_export_catalog::{StoredBundle, layout};
use tara_export_digest::ContentChecksums;
use tara_export_limits::Pool;
use tara_export_store::{
    ObjectInfo, SourceLocation, SourceObject, Store, StoreError, StoreErrorKind,
};

use crate::{
    export::{
        failure::{Failure, FailureReason},
        journal::Journal,
        shared::Shared,
    },
    transfer::{ContentSource, RetryBudget, checksums_of},
};

/// Whether a document is stored only in S3.
pub(in crate::export) fn need_s3(documents: &[Document]) -> bool {
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

/// Whether a document is stored only on this machine's disk.
pub(in crate::export) fn have_attachments(documents: &[Document]) -> bool {
    documents.iter().any(|document| {
        let content = &document.content;
        matches!(content, Content::Referenced { reference: Reference::Attachment { .. }, .. })
    })
}

/// Whether a document must be read before the bundle can be rendered.
pub(in crate::export) fn must_be_read(documents: &[Document]) -> bool {
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

/// Locates the content of an export's documents.
pub(in crate::export) struct Documents<'a> {
    s3: Option<&'a Arc<dyn Store>>,
    journal: Option<&'a Journal>,
    /// Threads that read files on this machine.
    files: &'a Pool,
    /// The id under which this machine accepted the export. The journal stores its attachments under it.
    export_id: ExportId,
    content_digest: ContentDigest,
}

impl<'a> Documents<'a> {
    pub(in crate::export) fn new(
        shared: &'a Shared,
        export_id: ExportId,
        content_digest: ContentDigest,
    ) -> Self {
        let (s3, journal) = (shared.stores.s3.as_ref(), shared.journal().ok());
        Self { s3, journal, files: shared.transfers.files(), export_id, content_digest }
    }

    /// The source of a document's content.
    pub(in crate::export) fn source(&self, content: &Content) -> Result<ContentSource, StoreError> {
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
                None => Err(unreachable_source("this server is read-only")),
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
        source: impl FnOnce(&dyn tara_export_store::PartStore) -> SourceObject,
    ) -> Result<ContentSource, StoreError> {
        let store =
            self.s3.ok_or_else(|| unreachable_source("this server has no S3 bucket now"))?;
        let parts = store.parts().ok_or_else(|| {
            unreachable_source("this server's S3 store does not support multipart uploads")
        })?;
        Ok(ContentSource::Object { store: store.clone(), source: source(parts) })
    }

    /// Reads every document that is pinned only by its ETag, and returns the digests. For a committed bundle, use
    /// [`digests_of_committed`] instead, because the objects may be gone.
    ///
    /// # Errors
    /// [`FailureReason::SourceLost`] if a document is gone or does not match the request.
    pub(in crate::export) async fn read(
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
            let is_different = document.sha256.is_some_and(|claimed| claimed != checksums.sha256);
            if is_different || checksums.size_bytes != document.content.size_bytes() {
                let message = format!(
                    "{} does not match the document in the request: its SHA-256 is {}",
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

/// Reads the digests of the documents from the manifest of a committed bundle.
pub(in crate::export) async fn digests_of_committed(
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
    let message = format!("cannot reach a document of this export: {why}");
    StoreError::new(StoreErrorKind::Misconfigured, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "documents_tests.rs"]
mod tests;

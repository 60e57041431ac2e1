//! Which documents a bundle has, and where.

use super::{
    artifact::{ArtifactPath, Omitted},
    document::DocumentKind,
    names::FolderBase,
    review::Review,
};

/// A document's place in the bundle.
pub(super) struct PlannedDocument {
    pub(super) kind: DocumentKind,
    pub(super) path: ArtifactPath,
    pub(super) size_bytes: u64,
}

/// Where a document goes.
pub(super) fn plan_document(
    base: &FolderBase,
    review: &Review,
    kind: DocumentKind,
    file_name: &str,
    size_bytes: u64,
) -> PlannedDocument {
    let path = ArtifactPath::document(kind, base, file_name, &review.document_name);
    PlannedDocument { kind, path, size_bytes }
}

/// The documents that the review doesn't have, in the order of their kinds.
pub(super) fn plan_omissions(
    base: &FolderBase,
    review: &Review,
    planned: &[PlannedDocument],
) -> Vec<Omitted> {
    DocumentKind::ALL
        .into_iter()
        .filter(|kind| planned.iter().all(|document| document.kind != *kind))
        .map(|kind| Omitted {
            path: ArtifactPath::document(kind, base, "", &review.document_name).to_string(),
            reason: match kind {
                DocumentKind::Before => "no document from before the review was sent",
                DocumentKind::After => "no document from after the review was sent",
                DocumentKind::Guidelines => "no guidelines document was sent",
            }
            .to_owned(),
        })
        .collect()
}

//! The documents of a bundle and their paths.

use super::{
    artifact::{ArtifactPath, Omitted},
    document::DocumentKind,
    identity::FormatVersion,
    names::FolderBase,
    review::Review,
};

/// A document in the bundle.
pub(super) struct PlannedDocument {
    pub(super) kind: DocumentKind,
    pub(super) path: ArtifactPath,
    pub(super) size_bytes: u64,
}

/// Determines the path of a document.
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

/// The missing documents in the order of their kinds.
pub(super) fn plan_omissions(
    base: &FolderBase,
    review: &Review,
    planned: &[PlannedDocument],
    format_version: FormatVersion,
) -> Vec<Omitted> {
    DocumentKind::ALL
        .into_iter()
        .filter(|kind| planned.iter().all(|document| document.kind != *kind))
        .map(|kind| Omitted {
            path: ArtifactPath::document(kind, base, "", &review.document_name).to_string(),
            reason: match (kind, format_version) {
                (DocumentKind::Before, FormatVersion::V1) => {
                    "no document from before the review was sent"
                }
                (DocumentKind::After, FormatVersion::V1) => {
                    "no document from after the review was sent"
                }
                (DocumentKind::Before, _) => "no pre-review document was sent",
                (DocumentKind::After, _) => "no post-review document was sent",
                (DocumentKind::Guidelines, _) => "no guidelines document was sent",
            }
            .to_owned(),
        })
        .collect()
}

//! From an accepted request to the files of its bundle.

use super::{
    AcceptedExport, AcceptedTime, Artifact, ArtifactPath, ComprehensiveReport, Content, Document,
    DocumentKind, FolderBase, FolderName, FormatVersion, Manifest, Omitted, Reference, Review,
    artifact::{document_media_type, rendered_media_type},
    feedback,
    format::to_json_pretty,
    logs,
    plan::{PlannedDocument, plan_document, plan_omissions},
    readable_report,
};

/// The files of a bundle, the manifest not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its files, in byte order of their paths.
    pub artifacts: Vec<Artifact>,
    /// What the layout knows and this bundle doesn't have.
    pub omitted: Vec<Omitted>,
}

/// Renders everything of a bundle but its manifest. The same export gives the same bytes, always.
///
/// # Errors
/// [`Undigested`] where a document's digest is not known yet.
pub fn render(export: &AcceptedExport) -> Result<Bundle, Undigested> {
    // The one place that tells format versions apart; the content's digest has its own.
    match export.format_version {
        FormatVersion::V1 => render_v1(export),
        #[cfg(feature = "next-format")]
        FormatVersion::Next => render_v1(export).map(super::next_format::change),
    }
}

/// A document has to be read before its bundle can be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the digest of the document {} is not known yet", .0.as_str())]
pub struct Undigested(pub DocumentKind);

impl Bundle {
    /// The manifest of this bundle in this folder.
    pub fn manifest(&self, export: &AcceptedExport, folder_name: &FolderName) -> Artifact {
        let manifest = Manifest::new(self, export, folder_name);
        Artifact::rendered(ArtifactPath::manifest(), to_json_pretty(&manifest))
    }

    /// Bytes of all artifacts, the manifest not counted.
    pub fn size_bytes(&self) -> u64 {
        self.artifacts.iter().map(Artifact::size_bytes).sum()
    }
}

fn render_v1(export: &AcceptedExport) -> Result<Bundle, Undigested> {
    let content = &*export.content;
    let planned: Vec<PlannedDocument> = content
        .documents
        .iter()
        .map(|document| {
            let size_bytes = document.content.size_bytes();
            plan_document(
                &export.folder_base,
                &content.review,
                document.kind,
                &document.file_name,
                size_bytes,
            )
        })
        .collect();
    let omitted = plan_omissions(&export.folder_base, &content.review, &planned);

    let mut artifacts: Vec<Artifact> =
        render_files(&content.review, export.accepted_time, &planned, &omitted)
            .into_iter()
            .map(|(path, bytes)| Artifact::rendered(path, bytes))
            .collect();
    for (document, planned) in content.documents.iter().zip(planned) {
        artifacts.push(Artifact {
            media_type: document_media_type(&document.media_type, &planned.path),
            path: planned.path,
            content: with_checksum(document, export),
            sha256: export.sha256_of(document).ok_or(Undigested(document.kind))?,
            file_name: Some(document.file_name.clone()).filter(|name| !name.is_empty()),
        });
    }
    artifacts.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Bundle { artifacts, omitted })
}

/// A document's content with the checksum that reading it told.
fn with_checksum(document: &Document, export: &AcceptedExport) -> Content {
    let mut content = document.content.clone();
    if let Content::Referenced { reference: Reference::Object { crc64nvme, .. }, .. } = &mut content
        && let Some(read) = export.read_digests.get(&document.kind)
    {
        *crc64nvme = read.crc64nvme;
    }
    content
}

/// A document that has not been sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewDocument {
    /// Which document it is.
    pub kind: DocumentKind,
    /// The caller's own name of the file; empty where the caller gave none.
    pub file_name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// A file that an export would write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedArtifact {
    /// Where it would lie in the bundle's folder.
    pub path: ArtifactPath,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its media type, where the document's sender gives no other.
    pub media_type: String,
}

/// The files that an export accepted at this time would write but its manifest, in path order,
/// with their exact sizes.
pub fn preview(
    review: &Review,
    documents: &[PreviewDocument],
    accepted_time: AcceptedTime,
) -> Vec<PlannedArtifact> {
    let base = FolderBase::new(&accepted_time, &review.document_name);
    let planned: Vec<PlannedDocument> = documents
        .iter()
        .map(|document| {
            plan_document(&base, review, document.kind, &document.file_name, document.size_bytes)
        })
        .collect();
    let omitted = plan_omissions(&base, review, &planned);
    let mut artifacts: Vec<PlannedArtifact> =
        render_files(review, accepted_time, &planned, &omitted)
            .into_iter()
            .map(|(path, bytes)| PlannedArtifact {
                media_type: rendered_media_type(&path).to_owned(),
                path,
                size_bytes: bytes.len() as u64,
            })
            .collect();
    artifacts.extend(planned.into_iter().map(|document| PlannedArtifact {
        media_type: document_media_type("", &document.path),
        path: document.path,
        size_bytes: document.size_bytes,
    }));
    artifacts.sort_by(|one, other| one.path.cmp(&other.path));
    artifacts
}

/// Every file that is made from the review.
fn render_files(
    review: &Review,
    accepted_time: AcceptedTime,
    documents: &[PlannedDocument],
    omitted: &[Omitted],
) -> Vec<(ArtifactPath, Vec<u8>)> {
    let report = ComprehensiveReport::new(review, accepted_time);
    let readable = readable_report::render(review, &report, accepted_time, documents, omitted);
    let mut files = Vec::with_capacity(9);
    files.extend(feedback::render(review, accepted_time));
    files.extend(logs::render(review, accepted_time));
    files.push((ArtifactPath::comprehensive_report(), to_json_pretty(&report)));
    files.push((ArtifactPath::readable_report(), readable.into_bytes()));
    files
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;

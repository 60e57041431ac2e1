//! Renders the files of a bundle.

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

/// The files of a bundle without its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its files, in byte order of their paths.
    pub artifacts: Vec<Artifact>,
    /// Files of the layout that this bundle does not have.
    pub omitted: Vec<Omitted>,
}

/// Renders a bundle without its manifest. The same export always has the same bytes.
///
/// # Errors
/// [`MissingDigest`] if the digest of a document is not known yet.
pub fn render(export: &AcceptedExport) -> Result<Bundle, MissingDigest> {
    let bundle = render_artifacts(export)?;
    #[cfg(feature = "next-format")]
    if export.format_version == FormatVersion::Next {
        return Ok(super::next_format::change(bundle));
    }
    Ok(bundle)
}

/// The digest of a document is unknown: the document must be read before its bundle is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown digest of document {}", .0.as_str())]
pub struct MissingDigest(pub DocumentKind);

impl Bundle {
    /// The manifest of this bundle in this folder.
    pub fn manifest(&self, export: &AcceptedExport, folder_name: &FolderName) -> Artifact {
        let manifest = Manifest::new(self, export, folder_name);
        Artifact::rendered(ArtifactPath::manifest(), to_json_pretty(&manifest))
    }

    /// Size of all artifacts in bytes, without the manifest.
    pub fn size_bytes(&self) -> u64 {
        self.artifacts.iter().map(Artifact::size_bytes).sum()
    }
}

fn render_artifacts(export: &AcceptedExport) -> Result<Bundle, MissingDigest> {
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
    let omitted =
        plan_omissions(&export.folder_base, &content.review, &planned, export.format_version);

    let mut artifacts: Vec<Artifact> = render_files(
        &content.review,
        export.accepted_time,
        &planned,
        &omitted,
        export.format_version,
    )
    .into_iter()
    .map(|(path, bytes)| Artifact::rendered(path, bytes))
    .collect();
    for (document, planned) in content.documents.iter().zip(planned) {
        artifacts.push(Artifact {
            media_type: document_media_type(&document.media_type, &planned.path),
            path: planned.path,
            content: with_checksum(document, export),
            sha256: export.sha256_of(document).ok_or(MissingDigest(document.kind))?,
            file_name: Some(document.file_name.clone()).filter(|name| !name.is_empty()),
        });
    }
    artifacts.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Bundle { artifacts, omitted })
}

/// A document's content, with the checksum if the document was read.
fn with_checksum(document: &Document, export: &AcceptedExport) -> Content {
    let mut content = document.content.clone();
    if let Content::Referenced { reference: Reference::Object { crc64nvme, .. }, .. } = &mut content
        && let Some(read) = export.read_digests.get(&document.kind)
    {
        *crc64nvme = read.crc64nvme;
    }
    content
}

/// A document that was not sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewDocument {
    /// Its role.
    pub kind: DocumentKind,
    /// The caller's name of the file; empty if the request has none.
    pub file_name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// A file that an export would write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedArtifact {
    /// Path within the bundle's folder.
    pub path: ArtifactPath,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its media type, unless the export request has another.
    pub media_type: String,
}

/// The files of an export that would be accepted at this time, without its manifest, in path order
/// and with their exact sizes.
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
    let omitted = plan_omissions(&base, review, &planned, FormatVersion::CURRENT);
    let mut artifacts: Vec<PlannedArtifact> =
        render_files(review, accepted_time, &planned, &omitted, FormatVersion::CURRENT)
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

/// Renders every file that is made from the review.
fn render_files(
    review: &Review,
    accepted_time: AcceptedTime,
    documents: &[PlannedDocument],
    omitted: &[Omitted],
    format_version: FormatVersion,
) -> Vec<(ArtifactPath, Vec<u8>)> {
    let report = ComprehensiveReport::new(review, accepted_time, format_version);
    let render_readable = match format_version {
        FormatVersion::V1 => readable_report::v1::render,
        _ => readable_report::v2::render,
    };
    let readable = render_readable(review, &report, accepted_time, documents, omitted);
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

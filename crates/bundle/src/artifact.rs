//! The files of a bundle and their paths.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tara_export_digest::{ContentChecksums, Crc64Nvme, Sha256};

use super::{
    Content, DocumentKind, FolderBase, InvalidName, Reference,
    clean::extension,
    names::{component_violation, text_newtype},
};

/// The path of a file within its bundle's folder: safe components joined by `/`. It has at most 600
/// bytes, so that it is a valid object key with the longest folder name. Ordered by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactPath(Cow<'static, str>);

impl ArtifactPath {
    const MAX_BYTES: usize = 600;

    const fn fixed(path: &'static str) -> Self {
        Self(Cow::Borrowed(path))
    }

    /// `manifest.json`
    pub const fn manifest() -> Self {
        Self::fixed("manifest.json")
    }

    /// `comprehensive_report.json`
    pub const fn comprehensive_report() -> Self {
        Self::fixed("comprehensive_report.json")
    }

    /// `readable_report.txt`
    pub const fn readable_report() -> Self {
        Self::fixed("readable_report.txt")
    }

    /// `feedback/all_ai_suggestions.json`
    pub const fn all_ai_suggestions() -> Self {
        Self::fixed("feedback/all_ai_suggestions.json")
    }

    /// `feedback/accepted_feedback.json`
    pub const fn accepted_feedback() -> Self {
        Self::fixed("feedback/accepted_feedback.json")
    }

    /// `feedback/rejected_feedback.json`
    pub const fn rejected_feedback() -> Self {
        Self::fixed("feedback/rejected_feedback.json")
    }

    /// `feedback/user_custom_feedback.json`
    pub const fn user_custom_feedback() -> Self {
        Self::fixed("feedback/user_custom_feedback.json")
    }

    /// `logs/activity_log.json`
    pub const fn activity_log() -> Self {
        Self::fixed("logs/activity_log.json")
    }

    /// `logs/chat_history.json`
    pub const fn chat_history() -> Self {
        Self::fixed("logs/chat_history.json")
    }

    /// `logs/audit_logs.json`
    pub const fn audit_logs() -> Self {
        Self::fixed("logs/audit_logs.json")
    }

    /// `documents/before_incident_report.docx`. The stem is that of the folder, which is pinned; the
    /// extension is that of the file, or else of the document's name.
    pub(super) fn document(
        kind: DocumentKind,
        base: &FolderBase,
        file_name: &str,
        document_name: &str,
    ) -> Self {
        let mut dotted = extension(file_name);
        if dotted.is_empty() {
            dotted = extension(document_name);
        }
        Self(Cow::Owned(format!("documents/{}_{}{dotted}", kind.as_str(), base.stem())))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ArtifactPath {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let too_long = (text.len() > Self::MAX_BYTES).then_some("longer than 600 bytes");
        match too_long.or_else(|| text.split('/').find_map(component_violation)) {
            None => Ok(Self(Cow::Owned(text.to_owned()))),
            Some(reason) => Err(InvalidName::new(text, reason)),
        }
    }
}

text_newtype!(ArtifactPath);

/// A file of a bundle with its bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Path within the bundle's folder.
    pub path: ArtifactPath,
    /// Its content.
    pub content: Content,
    /// The content's digest.
    pub sha256: Sha256,
    /// Its media type.
    pub media_type: String,
    /// The caller's name of the file; only of documents, and only if the request has one.
    pub file_name: Option<String>,
}

impl Artifact {
    /// A file that this crate renders.
    pub(super) fn rendered(path: ArtifactPath, bytes: Vec<u8>) -> Self {
        let sha256 = Sha256::of(&bytes);
        let media_type = rendered_media_type(&path).to_owned();
        Self { path, content: Content::Inline(bytes.into()), sha256, media_type, file_name: None }
    }

    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.content.size_bytes()
    }

    /// Size and digests; `None` for a document that was not read.
    pub fn checksums(&self) -> Option<ContentChecksums> {
        let crc64nvme = match &self.content {
            Content::Inline(bytes) => Crc64Nvme::of(bytes),
            Content::Referenced { reference, .. } => match reference {
                Reference::Upload { crc64nvme, .. } | Reference::Attachment { crc64nvme, .. } => {
                    *crc64nvme
                }
                Reference::Object { crc64nvme, .. } => (*crc64nvme)?,
            },
        };
        let size_bytes = self.size_bytes();
        Some(ContentChecksums { size_bytes, sha256: self.sha256, crc64nvme })
    }
}

impl fmt::Debug for Artifact {
    // Never the content.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Artifact")
            .field("path", &self.path.as_str())
            .field("content", &self.content)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

/// The media type of a rendered file.
pub(super) fn rendered_media_type(path: &ArtifactPath) -> &'static str {
    if path.as_str().ends_with(".txt") { "text/plain; charset=utf-8" } else { "application/json" }
}

/// A file of the bundle's layout that this bundle does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// Path that it would have within the bundle's folder.
    pub path: String,
    /// Human-readable reason for its absence.
    pub reason: String,
}

/// The media type of a document: that of the request if it is valid in an HTTP header, else the one
/// for the extension of its path.
pub(super) fn document_media_type(given: &str, path: &ArtifactPath) -> String {
    let is_printable = given.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !given.trim().is_empty() && is_printable {
        return given.trim().to_owned();
    }
    media_type_of_extension(&extension(path.as_str()).to_ascii_lowercase()).to_owned()
}

/// From the IANA registry of media types.
fn media_type_of_extension(dotted: &str) -> &'static str {
    match dotted {
        ".docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ".doc" => "application/msword",
        ".pdf" => "application/pdf",
        ".txt" => "text/plain",
        ".md" => "text/markdown",
        ".rtf" => "application/rtf",
        ".odt" => "application/vnd.oasis.opendocument.text",
        ".html" | ".htm" => "text/html",
        ".xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ".xls" => "application/vnd.ms-excel",
        ".pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ".ppt" => "application/vnd.ms-powerpoint",
        ".csv" => "text/csv",
        ".json" => "application/json",
        ".xml" => "application/xml",
        ".png" => "image/png",
        ".jpg" | ".jpeg" => "image/jpeg",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_paths_are_rejected() {
        for valid in ["manifest.json", "documents/before_報告.docx", "a/b/c", "foo..bar"] {
            assert_eq!(valid.parse::<ArtifactPath>().unwrap().as_str(), valid);
        }
        let long = vec!["x".repeat(200); 3].join("/");
        for invalid in
            ["", "/a", "a/", "a//b", "../a", "a/./b", "a/.hidden", "a\\b", "a\u{9f}", &long]
        {
            assert!(invalid.parse::<ArtifactPath>().is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn documents_keep_the_pinned_stem_and_their_own_extension() {
        let base: FolderBase = "20261122_183700_incident_report".parse().unwrap();
        for (kind, file_name, path) in [
            (DocumentKind::Before, "", "documents/before_incident_report.docx"),
            (DocumentKind::After, "C:\\tmp\\x.PDF", "documents/after_incident_report.PDF"),
            (DocumentKind::Guidelines, "guide", "documents/guidelines_incident_report.docx"),
            (DocumentKind::Before, "../../x.a/b", "documents/before_incident_report.docx"),
        ] {
            let actual = ArtifactPath::document(kind, &base, file_name, "incident report.docx");
            assert_eq!(actual.as_str(), path);
            assert_eq!(path.parse(), Ok(actual));
        }
        let longest: FolderBase = format!("20261122_183700_{}", "x".repeat(200)).parse().unwrap();
        let actual = ArtifactPath::document(DocumentKind::Guidelines, &longest, "a.0123456abc", "");
        assert_eq!(actual.as_str().parse(), Ok(actual));
    }

    #[test]
    fn media_type_is_the_callers_or_that_of_the_extension() {
        let path = |text: &str| text.parse::<ArtifactPath>().unwrap();
        for (given, file, media_type) in [
            ("", "a.pdf", "application/pdf"),
            ("", "a.JPEG", "image/jpeg"),
            ("", "a", "application/octet-stream"),
            ("", "a.unknown", "application/octet-stream"),
            (" text/x-own; charset=utf-8", "a.pdf", "text/x-own; charset=utf-8"),
            ("text/plain\r\nX-Injected: 1", "a.pdf", "application/pdf"),
            (" ", "a.pdf", "application/pdf"),
        ] {
            assert_eq!(document_media_type(given, &path(file)), media_type, "{given:?} {file}");
        }
    }
}

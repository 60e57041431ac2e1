//! The files of a bundle and their paths.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Content, DocumentKind, FolderBase, InvalidName, Reference,
    clean::extension,
    names::{component_violation, reads_and_writes_as_text},
};
use crate::digest::{ContentChecksums, Crc64Nvme, Sha256};

/// The path of a file within its bundle's folder: safe components joined by `/`, at most 600
/// bytes, so that with the longest folder name it is still an object's key. Ordered by its bytes.
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

    /// `documents/before_incident_report.docx`: the stem is the folder's, so that it is pinned with
    /// it; the extension is the file's own, or that of the document's name.
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

    /// The path's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ArtifactPath {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let too_long = (text.len() > Self::MAX_BYTES).then_some("it is longer than 600 bytes");
        match too_long.or_else(|| text.split('/').find_map(component_violation)) {
            None => Ok(Self(Cow::Owned(text.to_owned()))),
            Some(reason) => Err(InvalidName::new(text, reason)),
        }
    }
}

reads_and_writes_as_text!(ArtifactPath);

/// A file of a bundle with its bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it lies in the bundle's folder.
    pub path: ArtifactPath,
    /// Its content.
    pub content: Content,
    /// The content's digest.
    pub sha256: Sha256,
    /// Its media type.
    pub media_type: String,
    /// The caller's own name of the file; of documents only, where the caller gave one.
    pub file_name: Option<String>,
}

impl Artifact {
    /// A file rendered by this room.
    pub(super) fn rendered(path: ArtifactPath, bytes: Vec<u8>) -> Self {
        let sha256 = Sha256::of(&bytes);
        let media_type = rendered_media_type(&path).to_owned();
        Self { path, content: Content::Inline(bytes.into()), sha256, media_type, file_name: None }
    }

    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.content.size_bytes()
    }

    /// Size and digests; none of a document that was not read.
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

/// A file that the bundle's layout knows and this bundle doesn't have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// Where it would lie in the bundle's folder.
    pub path: String,
    /// Why it isn't there, for a person.
    pub reason: String,
}

/// The media type of a document: what the caller gave, if an HTTP header can carry it, else what
/// the extension of its path says.
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
    fn only_safe_paths_are_read() {
        for good in ["manifest.json", "documents/before_報告.docx", "a/b/c", "foo..bar"] {
            assert_eq!(good.parse::<ArtifactPath>().unwrap().as_str(), good);
        }
        let long = vec!["x".repeat(200); 3].join("/");
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a/.hidden", "a\\b", "a\u{9f}", &long]
        {
            assert!(bad.parse::<ArtifactPath>().is_err(), "{bad:?}");
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
            let made = ArtifactPath::document(kind, &base, file_name, "incident report.docx");
            assert_eq!(made.as_str(), path);
            assert_eq!(path.parse(), Ok(made));
        }
        let longest: FolderBase = format!("20261122_183700_{}", "x".repeat(200)).parse().unwrap();
        let made = ArtifactPath::document(DocumentKind::Guidelines, &longest, "a.0123456abc", "");
        assert_eq!(made.as_str().parse(), Ok(made));
    }

    #[test]
    fn media_types_are_the_callers_or_follow_the_extension() {
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

//! The documents of a review.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tara_export_digest::{Crc64Nvme, Sha256};
use uuid::Uuid;

/// The role of a document in the review. Ordered as in bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// The document before the review.
    Before,
    /// The document after the review.
    After,
    /// The guidelines of the review.
    Guidelines,
}

impl DocumentKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Guidelines];

    /// The word in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Guidelines => "guidelines",
        }
    }
}

/// One document.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// Its role.
    pub kind: DocumentKind,
    /// The caller's name of the file; empty if the request has none.
    pub file_name: String,
    /// The media type in the request; empty if it has none.
    pub media_type: String,
    /// The content's digest; `None` for a pinned object in S3 that was not read yet.
    pub sha256: Option<Sha256>,
    /// The content.
    pub content: Content,
}

/// The content of a file of a bundle. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Inline(Bytes),
    /// Bytes that are stored elsewhere until the bundle has them.
    Referenced {
        /// Their number.
        size_bytes: u64,
        /// Their location.
        reference: Reference,
    },
}

/// The location of content that is not in its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reference {
    /// An upload in the store.
    Upload {
        /// The upload.
        upload_id: Uuid,
        /// The store's entity tag of the content.
        e_tag: String,
        /// Its checksum, computed in the same pass as the document's SHA-256.
        crc64nvme: Crc64Nvme,
    },
    /// A file on this machine that belongs to the export's journal entry.
    Attachment {
        /// Its role.
        kind: DocumentKind,
        /// Its checksum, computed in the same pass as the document's SHA-256.
        crc64nvme: Crc64Nvme,
    },
    /// An object of the caller in S3, as it was when the request was accepted.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
        /// Its version; `None` in a bucket without versions.
        version_id: Option<String>,
        /// S3's entity tag of the content.
        e_tag: String,
        /// Its checksum after it was read; never in an accepted request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crc64nvme: Option<Crc64Nvme>,
    },
}

impl Document {
    /// A document whose bytes are in the request.
    pub fn inline(kind: DocumentKind, file_name: String, media_type: String, bytes: Bytes) -> Self {
        let sha256 = Some(Sha256::of(&bytes));
        Self { kind, file_name, media_type, sha256, content: Content::Inline(bytes) }
    }
}

impl Content {
    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Referenced { size_bytes, .. } => *size_bytes,
        }
    }

    /// The bytes, if they are in the request.
    pub fn inline(&self) -> Option<&Bytes> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Referenced { .. } => None,
        }
    }
}

impl std::fmt::Debug for Content {
    // Never the bytes.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(bytes) => write!(formatter, "Inline({} bytes)", bytes.len()),
            Self::Referenced { size_bytes, reference } => {
                write!(formatter, "Referenced({size_bytes} bytes, {reference:?})")
            }
        }
    }
}

impl std::fmt::Debug for Document {
    // Never the content.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Document")
            .field("kind", &self.kind)
            .field("content", &self.content)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

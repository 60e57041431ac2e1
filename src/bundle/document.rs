//! The documents of a review.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::{Crc64Nvme, Sha256};

/// Which of the review's documents one is. Ordered as bundles list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// As it was before the review.
    Before,
    /// As it is after the review.
    After,
    /// The guidelines it was held against.
    Guidelines,
}

impl DocumentKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Guidelines];

    /// The word for it in paths.
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
    /// Which document it is.
    pub kind: DocumentKind,
    /// The caller's own name of the file; empty where the caller gave none.
    pub file_name: String,
    /// The media type the caller gave; empty where none.
    pub media_type: String,
    /// The content's digest; none of an object in S3 that was pinned and not read yet.
    pub sha256: Option<Sha256>,
    /// The content.
    pub content: Content,
}

/// What a file of a bundle consists of. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Inline(Bytes),
    /// Bytes that lie still elsewhere until the bundle has them.
    Referenced {
        /// How many there are.
        size_bytes: u64,
        /// Where they lie.
        reference: Reference,
    },
}

/// Where content lies that did not come with its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reference {
    /// An upload in the store.
    Upload {
        /// The upload.
        upload_id: Uuid,
        /// What names its very content to the store.
        e_tag: String,
        /// Its checksum, taken in the same pass as the document's SHA-256.
        crc64nvme: Crc64Nvme,
    },
    /// A file on this machine that belongs to the journal's entry of the export.
    Attachment {
        /// Which of the entry's documents it is.
        kind: DocumentKind,
        /// As above.
        crc64nvme: Crc64Nvme,
    },
    /// The caller's own object in S3, as it was when the request was accepted.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its whole key.
        key: String,
        /// Its version; none in a bucket that keeps none.
        version_id: Option<String>,
        /// What names its very content to S3.
        e_tag: String,
        /// Its checksum, once it was read; never of an accepted request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crc64nvme: Option<Crc64Nvme>,
    },
}

impl Document {
    /// A document that came with its request.
    pub fn inline(kind: DocumentKind, file_name: String, media_type: String, bytes: Bytes) -> Self {
        let sha256 = Some(Sha256::of(&bytes));
        Self { kind, file_name, media_type, sha256, content: Content::Inline(bytes) }
    }
}

impl Content {
    /// How many bytes it has.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Referenced { size_bytes, .. } => *size_bytes,
        }
    }

    /// The bytes that came with the request; none of what lies elsewhere.
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

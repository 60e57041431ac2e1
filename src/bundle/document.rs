//! The documents of a review.

use bytes::Bytes;

use crate::digest::Sha256;

/// Which of the review's documents one is. Ordered as bundles list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// One document with its bytes.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// Which document it is.
    pub kind: DocumentKind,
    /// The caller's own name of the file; empty where the caller gave none.
    pub file_name: String,
    /// The media type the caller gave; empty where none.
    pub media_type: String,
    /// The content's digest.
    pub sha256: Sha256,
    /// The content.
    pub content: Bytes,
}

impl std::fmt::Debug for Document {
    // Never the content.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Document")
            .field("kind", &self.kind)
            .field("size_bytes", &self.content.len())
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

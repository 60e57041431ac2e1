//! What is asked for, and what its acceptance adds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AcceptedTime, Document, ExportId, FolderBase, FormatVersion, Review};
use crate::digest::Sha256;

/// Where a bundle is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// The S3 bucket.
    S3,
    /// The local store.
    Local,
}

/// What happens when S3 can't take the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// It goes to the local store.
    #[default]
    Local,
    /// The export fails.
    None,
}

/// What a caller asks for: the part of a request that makes two requests the same.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportContent {
    /// The review.
    pub review: Review,
    /// Its documents, in the order of their kinds, at most one of each.
    pub documents: Vec<Document>,
    /// Where the bundle is to be stored; none: the server's default.
    pub destination: Option<Destination>,
    /// What happens when S3 can't take it.
    pub fallback: Fallback,
}

/// What tells one request's content from another's: its digest, and the format version in whose
/// encoding that is. Two releases may digest the same content differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest {
    /// Whose encoding.
    pub format_version: FormatVersion,
    /// The digest.
    pub sha256: Sha256,
}

/// An accepted request with all that its bundle's bytes depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedExport {
    /// The export's id.
    pub export_id: ExportId,
    /// What was asked for.
    pub content: Arc<ExportContent>,
    /// The digest of the content's canonical encoding.
    pub content_digest: Sha256,
    /// When it was accepted.
    pub accepted_time: AcceptedTime,
    /// How it is rendered.
    pub format_version: FormatVersion,
    /// Where the bundle is to be stored, the server's default filled in.
    pub destination: Destination,
    /// The authenticated caller; empty where the server asks for none.
    pub requested_by: String,
    /// What its folder's name starts with.
    pub folder_base: FolderBase,
}

impl AcceptedExport {
    /// The content's digest, in this export's own format version.
    pub fn digest(&self) -> ContentDigest {
        ContentDigest { format_version: self.format_version, sha256: self.content_digest }
    }

    /// The content's digest in the encoding of another format version.
    pub fn digest_in(&self, format_version: FormatVersion) -> Sha256 {
        if format_version == self.format_version {
            self.content_digest
        } else {
            self.content.digest(format_version)
        }
    }

    /// Whether this is the content that has this digest.
    pub fn has(&self, digest: ContentDigest) -> bool {
        self.digest_in(digest.format_version) == digest.sha256
    }
}

//! What is asked for, and what its acceptance adds.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{AcceptedTime, Document, DocumentKind, ExportId, FolderBase, FormatVersion, Review};
use crate::digest::{Crc64Nvme, Sha256};

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
    /// The digests of those documents that were pinned without one, as far as they were read since.
    /// What was pinned has only these, so this says nothing that the rest does not.
    pub read_digests: BTreeMap<DocumentKind, ReadDigest>,
}

/// What reading a pinned document told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadDigest {
    /// Its digest.
    pub sha256: Sha256,
    /// Its checksum, taken in the same pass; none where a manifest told the digest.
    pub crc64nvme: Option<Crc64Nvme>,
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

    /// A document's digest, as far as it is known.
    pub fn sha256_of(&self, document: &Document) -> Option<Sha256> {
        document.sha256.or_else(|| Some(self.read_digests.get(&document.kind)?.sha256))
    }

    /// Whether this is the content that has this digest.
    pub fn has(&self, digest: ContentDigest) -> bool {
        self.digest_in(digest.format_version) == digest.sha256
    }
}

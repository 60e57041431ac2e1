//! The content of a request, and the accepted export that is made of it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tara_export_digest::{Crc64Nvme, Sha256};

use super::{
    AcceptedTime, Document, DocumentKind, ExportId, FolderBase, FormatVersion, Replacement, Review,
    StoreId,
};

/// Where the caller requests the bundle to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// The S3 bucket.
    S3,
    /// The local store.
    Local,
}

/// What happens if the bundle cannot be stored in S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The bundle is stored in the local store.
    #[default]
    Local,
    /// The export fails.
    None,
}

/// The content of a request. Two requests with equal contents are the same request.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportContent {
    /// The review.
    pub review: Review,
    /// Its documents, in the order of their kinds, at most one of each.
    pub documents: Vec<Document>,
    /// The requested destination; `None` is the server's default.
    pub destination: Option<Destination>,
    /// What happens if the bundle cannot be stored in S3.
    pub fallback: Fallback,
}

/// The digest of a content, and the format version of the encoding that was digested. Two format
/// versions may have different digests of the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest {
    /// The format version of the encoding.
    pub format_version: FormatVersion,
    /// The digest.
    pub sha256: Sha256,
}

/// An accepted request with everything that the bytes of its bundle depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedExport {
    /// The export's id.
    pub export_id: ExportId,
    /// The content of the request.
    pub content: Arc<ExportContent>,
    /// The digest of the content's canonical encoding.
    pub content_digest: Sha256,
    /// When it was accepted.
    pub accepted_time: AcceptedTime,
    /// How it is rendered.
    pub format_version: FormatVersion,
    /// The requested destination, or the server's default.
    pub destination: Destination,
    /// The authenticated caller; empty without authentication.
    pub requested_by: String,
    /// Start of the folder's name.
    pub folder_base: FolderBase,
    /// The identity of the store that was configured at acceptance, even if the store did not have it yet.
    /// `None` without a bucket, and in entries of earlier releases. The bundle does not depend on it.
    pub store_id: Option<StoreId>,
    /// Digests of documents that were pinned without one and were read since. They follow from the
    /// pinned objects, so they are not part of the encoding.
    pub read_digests: BTreeMap<DocumentKind, ReadDigest>,
}

/// The digests of a pinned document that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadDigest {
    /// Its digest.
    pub sha256: Sha256,
    /// Its checksum, computed in the same pass; `None` if the digest comes from a manifest.
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

    /// The digest of a document, if it is known.
    pub fn sha256_of(&self, document: &Document) -> Option<Sha256> {
        document.sha256.or_else(|| Some(self.read_digests.get(&document.kind)?.sha256))
    }

    /// The replaced values that the bundle lists: none in format version 1.
    pub fn replacements(&self) -> &[Replacement] {
        match self.format_version {
            FormatVersion::V1 => &[],
            _ => &self.content.review.replacements,
        }
    }

    /// Whether the content has this digest.
    pub fn has(&self, digest: ContentDigest) -> bool {
        self.digest_in(digest.format_version) == digest.sha256
    }
}

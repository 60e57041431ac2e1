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

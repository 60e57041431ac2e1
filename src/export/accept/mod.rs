//! From a request to an accepted export: admission, lookup of prior exports, and pinning of documents.

pub(in crate::export) mod acceptance;
pub(super) mod admission;
pub(super) mod pinning;
pub(in crate::export) mod prior;
pub(in crate::export) mod start;

use std::path::PathBuf;

use tara_export_bundle::DocumentKind;

/// What is written beside a journal entry, before the entry.
#[derive(Debug, Default)]
pub(in crate::export) struct Beside {
    /// Documents that are files on this disk.
    pub attachments: Vec<(DocumentKind, PathBuf)>,
    /// Whom the export notifies.
    pub recipients: Vec<String>,
}

//! From a request to an accepted export: admission, lookup of prior exports, and pinning of documents.

pub(in crate::export) mod acceptance;
pub(super) mod admission;
pub(super) mod pinning;
pub(in crate::export) mod prior;
pub(in crate::export) mod start;

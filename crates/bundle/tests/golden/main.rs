//! Compares every byte of bundles and journal entries with the files in `tests/golden` of the repository.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tara-export-bundle --test golden` updates the files of the current
//! versions. A changed file of a released version requires a new version instead.

#![allow(clippy::unwrap_used)]

mod cases;
mod session;

mod bundles;
mod encoding;

use std::path::{Path, PathBuf};

/// A file of `tests/golden`.
fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(path)
}

//! The text of a file of settings.

use std::{fs, io, path::Path};

use tara_export_disk::small_file;

use super::InvalidFile;

/// Maximum size of a file of settings.
pub const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// A file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path} ({setting}): {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The setting that names it.
        setting: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The file has faults.
    #[error("{path} ({setting}): {source}")]
    Invalid {
        /// The file.
        path: String,
        /// The setting that names it.
        setting: &'static str,
        /// The faults.
        source: InvalidFile,
    },
}

impl LoadError {
    /// The file that this setting names cannot be read.
    pub fn unreadable(path: &Path, setting: &'static str, source: io::Error) -> Self {
        Self::Unreadable { path: path.display().to_string(), setting, source }
    }

    /// The file that this setting names has faults.
    pub fn invalid(path: &Path, setting: &'static str, source: InvalidFile) -> Self {
        Self::Invalid { path: path.display().to_string(), setting, source }
    }
}

/// Reads a file of settings. Blocks the thread.
///
/// # Errors
/// If the file cannot be read, is larger than [`FILE_LIMIT_BYTES`], or is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    // A named pipe would block forever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let bytes = small_file::read(path, FILE_LIMIT_BYTES)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

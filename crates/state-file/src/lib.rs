//! State files: small JSON files that contain a digest of their content, and the name and version of its schema.
//!
//! Distinguishes damaged files from those of a later release. Every function blocks its thread.
//!
//! Never depends on the content of the files.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tara_export_digest::Sha256;
use tara_export_disk::{Disk, DiskError};
use tara_export_failpoint::failpoint;

/// Most state files have a few kilobytes, and the note of a batch up to 1 MiB; larger files were not written by this
/// service.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// The format of a state file.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    /// Name and version of the content's schema.
    schema: &'a str,
    /// The digest of schema and content.
    sha256: Sha256,
    #[serde(rename = "note", borrow)]
    content: &'a RawValue,
}

/// Why a state file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The content differs from what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// The file is intact, but this release does not support its schema.
    #[error("a later release wrote it: run that release again")]
    LaterRelease,
}

/// Writes a state file durably and replaces the previous one.
///
/// # Errors
/// If the disk fails, or the content is no JSON.
pub fn write(
    disk: &Disk,
    path: &Path,
    schema: &str,
    content: &impl Serialize,
) -> Result<(), DiskError> {
    let failed = |error: serde_json::Error| DiskError::of_write("write", path, error.into());
    let content = serde_json::value::to_raw_value(content).map_err(failed)?;
    let sha256 = digest(schema, content.get());
    let envelope =
        serde_json::to_vec(&Envelope { schema, sha256, content: &content }).map_err(failed)?;
    disk.write(path, [envelope])?.sync()
}

fn digest(schema: &str, content: &str) -> Sha256 {
    Sha256::of(format!("{schema}\n{content}").as_bytes())
}

/// Reads a state file; `None` if it does not exist.
///
/// # Errors
/// [`StateFileError`].
pub fn read<T: DeserializeOwned>(path: &Path, schema: &str) -> Result<Option<T>, StateFileError> {
    let mut bytes = Vec::new();
    let mut read_file = || File::open(path)?.take(LIMIT_BYTES).read_to_end(&mut bytes);
    match failpoint!("disk.file.read", path, read_file()) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::of_read("read", path, error).into()),
    }
    let envelope: Envelope<'_> =
        serde_json::from_slice(&bytes).map_err(|_| StateFileError::Damaged("invalid format"))?;
    if digest(envelope.schema, envelope.content.get()) != envelope.sha256 {
        return Err(StateFileError::Damaged("its content does not match its digest"));
    }
    if envelope.schema != schema {
        return Err(StateFileError::LaterRelease);
    }
    // The file is intact and has the expected schema, so it contains a value that this release does not support.
    serde_json::from_str(envelope.content.get()).map(Some).map_err(|_| StateFileError::LaterRelease)
}

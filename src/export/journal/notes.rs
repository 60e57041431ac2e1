//! Small JSON files, each with the digest of what it says.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::Files;
use crate::{
    bundle::to_json_compact,
    digest::Sha256,
    disk::{DiskError, sync_directory, sync_file, write_bytes},
};

/// A note has a few kilobytes; more is not ours.
const LIMIT_BYTES: u64 = 1024 * 1024;

/// The form of a note in its file.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    /// What the note is, and its version.
    schema: &'a str,
    /// The digest of both.
    sha256: Sha256,
    #[serde(borrow)]
    note: &'a RawValue,
}

/// Why a note can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoteError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is whole, and this release does not know its form.
    #[error("a later release wrote it: run that release again")]
    LaterRelease,
}

impl Files {
    /// Writes a note durably, in place of an earlier one.
    pub(super) fn write_note(
        &self,
        path: &Path,
        schema: &str,
        note: &impl Serialize,
    ) -> Result<(), DiskError> {
        let failed = |error| DiskError::of_write("write", path, error);
        let text = String::from_utf8_lossy(&to_json_compact(note)).into_owned();
        let sha256 = digest(schema, &text);
        let note = RawValue::from_string(text).map_err(|error| failed(error.into()))?;
        let envelope = to_json_compact(&Envelope { schema, sha256, note: &note });
        let file = self.disk.create_unnamed()?;
        write_bytes(file.as_file(), &envelope, path)?;
        sync_file(file.as_file(), path)?;
        self.disk.replace(file, path)?;
        sync_directory(path.parent().unwrap_or(self.disk.root()))
    }
}

fn digest(schema: &str, note: &str) -> Sha256 {
    Sha256::of(format!("{schema}\n{note}").as_bytes())
}

/// Reads a note; none where there is no file.
pub(super) fn read_note<T: DeserializeOwned>(
    path: &Path,
    schema: &str,
) -> Result<Option<T>, NoteError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::of_read("read", path, error).into()),
    }
    let envelope: Envelope<'_> =
        serde_json::from_slice(&bytes).map_err(|_| NoteError::Damaged("it is no note"))?;
    if digest(envelope.schema, envelope.note.get()) != envelope.sha256 {
        return Err(NoteError::Damaged("it hasn't the digest it should have"));
    }
    if envelope.schema != schema {
        return Err(NoteError::LaterRelease);
    }
    // Whole, under our schema's name, and with a value that this release does not know.
    serde_json::from_str(envelope.note.get()).map(Some).map_err(|_| NoteError::LaterRelease)
}

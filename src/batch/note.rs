//! The note of a batch on this machine's disk.
//!
//! | path below `.tara-export/` | content |
//! |---|---|
//! | `batches/<batch_id>.json` | a batch that has not ended, or whose report or event is not written |
//! | `batches/ended/<batch_id>.json` | a batch that has ended; expires |
//! | `batches/tmp/` | files being written |
//!
//! All methods block. Steps that a crash can separate are separate methods.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tara_export_catalog::summary::TimeV1;
use tara_export_digest::Sha256;
use tara_export_disk::{Disk, DiskError, plain_files, plain_names};
use tara_export_failpoint::failpoint;
use tara_export_state_file::{self as state_file, StateFileError};
use uuid::Uuid;

use super::item::Item;

const SCHEMA: &str = "tara-export/batch/v1";
const EXTENSION: &str = ".json";

/// A batch as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its id.
    pub batch_id: Uuid,
    /// The digest of its items' ids and requests.
    pub digest: Sha256,
    /// The authenticated caller; empty without authentication.
    pub requested_by: String,
    /// When it was received first, by this server's clock.
    pub accepted_time: DateTime<Utc>,
    /// The items, in the order of the requests.
    pub items: Vec<Item>,
    /// When the last item ended, by this server's clock.
    pub ended_time: Option<DateTime<Utc>>,
    /// Where the report is; empty until it is stored.
    pub report_location: String,
}

#[derive(Serialize, Deserialize)]
struct NoteV1 {
    batch: Uuid,
    digest: Sha256,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    requested_by: String,
    accepted_time: TimeV1,
    items: Vec<Item>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_time: Option<TimeV1>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    report_location: String,
}

impl From<Note> for NoteV1 {
    fn from(note: Note) -> Self {
        Self {
            batch: note.batch_id,
            digest: note.digest,
            requested_by: note.requested_by,
            accepted_time: TimeV1(note.accepted_time),
            items: note.items,
            ended_time: note.ended_time.map(TimeV1),
            report_location: note.report_location,
        }
    }
}

impl From<NoteV1> for Note {
    fn from(note: NoteV1) -> Self {
        Self {
            batch_id: note.batch,
            digest: note.digest,
            requested_by: note.requested_by,
            accepted_time: note.accepted_time.0,
            items: note.items,
            ended_time: note.ended_time.map(|time| time.0),
            report_location: note.report_location,
        }
    }
}

/// The notes of one data directory. One process writes there.
#[derive(Debug)]
pub(super) struct NoteFiles {
    disk: Disk,
    active: PathBuf,
    ended: PathBuf,
}

impl NoteFiles {
    /// The notes below `data_dir/.tara-export`. Creates nothing.
    ///
    /// # Errors
    /// If the current folder, which relative paths start from, cannot be found.
    pub(super) fn new(data_dir: &Path) -> Result<Self, DiskError> {
        let root = std::path::absolute(data_dir)
            .map_err(|error| DiskError::of_read("find the folder", data_dir, error))?;
        let active = root.join(".tara-export/batches");
        let disk = Disk::new(root, ".tara-export/batches/tmp");
        Ok(Self { disk, ended: active.join("ended"), active })
    }

    /// Reads the notes of batches that a previous process left, after removing its unfinished files. Unreadable ones are
    /// logged and stay.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub(super) fn load(&self) -> Result<Vec<Note>, DiskError> {
        self.disk.clean_temporary_files()?;
        let mut notes = Vec::new();
        for batch_id in ids_in(&self.active)? {
            if self.disk.has_name(&path_in(&self.ended, batch_id))? {
                // The process ended after the note was written there.
                self.remove_active(batch_id)?;
                continue;
            }
            match read(&path_in(&self.active, batch_id), batch_id) {
                Ok(Some(note)) => notes.push(note),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%batch_id, %error, "cannot read the note of a batch: its exports continue");
                }
            }
        }
        Ok(notes)
    }

    /// Writes the note of a batch that has not ended durably, and replaces the previous one.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub(super) fn write(&self, note: Note) -> Result<(), DiskError> {
        let path = path_in(&self.active, note.batch_id);
        state_file::write(&self.disk, &path, SCHEMA, &NoteV1::from(note))
    }

    /// Moves a batch to those that have ended.
    ///
    /// # Errors
    /// If the disk refuses it. The batch is then among both.
    pub(super) fn end(&self, note: Note) -> Result<(), DiskError> {
        let batch_id = note.batch_id;
        let path = path_in(&self.ended, batch_id);
        state_file::write(&self.disk, &path, SCHEMA, &NoteV1::from(note))?;
        failpoint!("batch.note.ended");
        self.remove_active(batch_id)
    }

    /// Removes the note of a batch that was not started.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub(super) fn remove_active(&self, batch_id: Uuid) -> Result<(), DiskError> {
        self.disk.remove(&path_in(&self.active, batch_id))?.leave_unsynced();
        Ok(())
    }

    /// The note of a batch that has ended. `None` also if it cannot be read, which is logged.
    pub(super) fn read_ended(&self, batch_id: Uuid) -> Option<Note> {
        read(&path_in(&self.ended, batch_id), batch_id).unwrap_or_else(|error| {
            tracing::warn!(%batch_id, %error, "cannot read the note of a batch that has ended");
            None
        })
    }

    /// Removes notes of ended batches that were written before `before`, and the oldest above `max`. Returns their
    /// number.
    ///
    /// # Errors
    /// If the disk fails.
    pub(super) fn remove_expired(
        &self,
        before: DateTime<Utc>,
        max: usize,
    ) -> Result<u64, DiskError> {
        let mut notes: Vec<(DateTime<Utc>, PathBuf)> = Vec::new();
        for file in plain_files(&self.ended)? {
            let file = file?;
            if id_of(&file.name).is_some() {
                let time = file.metadata.modified();
                let time = time.map_err(|error| DiskError::of_read("read", &file.path, error))?;
                notes.push((time.into(), file.path));
            }
        }
        notes.sort();
        let excess = notes.len().saturating_sub(max);
        let mut removed = 0;
        for (number, (time, path)) in notes.iter().enumerate() {
            if number < excess || *time < before {
                self.disk.remove(path)?.leave_unsynced();
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn read(path: &Path, batch_id: Uuid) -> Result<Option<Note>, StateFileError> {
    match state_file::read::<NoteV1>(path, SCHEMA)?.map(Note::from) {
        Some(note) if note.batch_id != batch_id => {
            Err(StateFileError::Damaged("it belongs to another batch"))
        }
        found => Ok(found),
    }
}

fn path_in(folder: &Path, batch_id: Uuid) -> PathBuf {
    folder.join(format!("{batch_id}{EXTENSION}"))
}

/// The ids of the notes in a folder; none if it does not exist.
fn ids_in(folder: &Path) -> Result<Vec<Uuid>, DiskError> {
    let mut ids = Vec::new();
    for name in plain_names(folder)? {
        ids.extend(id_of(&name?));
    }
    Ok(ids)
}

fn id_of(name: &OsStr) -> Option<Uuid> {
    Uuid::try_parse(name.to_str()?.strip_suffix(EXTENSION)?).ok()
}

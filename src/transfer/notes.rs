//! What is noted on disk of objects in the making, so that their parts don't cost money for ever where the
//! process ends in between.
//!
//! A note is a convenience, not a promise: it is not fsynced, and what it misses a lifecycle rule of the
//! bucket removes.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Sha256,
    limits::Pool,
    small_file,
    store::{ObjectKey, PartStore, PartUpload, StoreError, WholeChecksum},
};

/// A note has some hundred bytes; more is not ours.
const LIMIT_BYTES: u64 = 64 * 1024;

/// Notes of unfinished objects in a folder of this machine.
#[derive(Debug, Clone)]
pub struct PartNotes {
    folder: PathBuf,
    pool: Pool,
}

#[derive(Serialize, Deserialize)]
struct Note {
    key: String,
    upload_id: String,
}

impl PartNotes {
    /// Notes in this folder, which is made with the first one; these threads read and write them.
    pub fn new(folder: PathBuf, pool: Pool) -> Self {
        Self { folder, pool }
    }

    /// Notes an upload that was begun.
    pub(super) async fn add(&self, upload: &PartUpload) {
        let note = Note { key: upload.key.to_string(), upload_id: upload.upload_id.clone() };
        let Ok(json) = serde_json::to_vec(&note) else { return };
        let (folder, path) = (self.folder.clone(), self.path(upload));
        let written = self.pool.run(move || {
            fs::create_dir_all(folder)?;
            fs::write(path, json)
        });
        if let Err(error) = written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::debug!(%error, "an upload in parts is not noted");
        }
    }

    /// Forgets one that has become an object, or was aborted.
    pub(super) async fn remove(&self, upload: &PartUpload) {
        let path = self.path(upload);
        let removed = self.pool.run(move || fs::remove_file(path)).await;
        match removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, "the note of an upload in parts stays");
            }
            _ => {}
        }
    }

    /// What an earlier process left unfinished. To be asked before this one begins anything, whose notes
    /// lie in the same folder.
    pub async fn left_behind(&self) -> Vec<PartUpload> {
        let folder = self.folder.clone();
        let read = move || {
            fs::read_dir(folder).map(|entries| {
                entries
                    .flatten()
                    .map(|entry| small_file::read(&entry.path(), LIMIT_BYTES))
                    .collect()
            })
        };
        let notes: io::Result<Vec<_>> =
            self.pool.run(read).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let mut left = Vec::new();
        for note in notes.unwrap_or_default() {
            let note = note.ok().and_then(|json| serde_json::from_slice::<Note>(&json).ok());
            let Some(Note { key, upload_id }) = note else { continue };
            let Ok(key) = ObjectKey::new(key) else { continue };
            left.push(PartUpload { key, upload_id, keeps: WholeChecksum::None });
        }
        left
    }

    /// Aborts one that was left behind, and forgets it.
    ///
    /// # Errors
    /// The store's; then it stays noted.
    pub async fn abort(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
    ) -> Result<(), StoreError> {
        parts.abort(upload).await?;
        self.remove(upload).await;
        Ok(())
    }

    fn path(&self, upload: &PartUpload) -> PathBuf {
        // An upload's id can be of any characters and length.
        let name = Sha256::of(format!("{}\n{}", upload.key, upload.upload_id).as_bytes());
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn upload(name: &str) -> PartUpload {
        let key = ObjectKey::new(format!("a/{name}")).unwrap();
        PartUpload { key, upload_id: format!("{name}/\u{e4}?"), keeps: WholeChecksum::None }
    }

    #[tokio::test]
    async fn what_is_noted_is_left_behind_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::new("test", 1).unwrap();
        let notes = PartNotes::new(folder.path().join("parts"), pool.clone());
        assert_eq!(notes.left_behind().await, []);
        notes.add(&upload("one")).await;
        notes.add(&upload("two")).await;
        notes.remove(&upload("one")).await;
        notes.remove(&upload("three")).await;
        fs::write(folder.path().join("parts/x.json"), b"{").unwrap();
        let next = PartNotes::new(folder.path().join("parts"), pool);
        assert_eq!(next.left_behind().await, [upload("two")]);
    }
}

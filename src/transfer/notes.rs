//! What is noted on disk of objects in the making, so that their parts don't cost money for ever where the
//! process ends in between.
//!
//! A note is a convenience, not a promise: it is not fsynced, and what it misses a lifecycle rule of the
//! bucket removes.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs;

use crate::{
    digest::Sha256,
    small_file,
    store::{ObjectKey, PartStore, PartUpload, StoreError, WholeChecksum},
};

/// A note has some hundred bytes; more is not ours.
const LIMIT_BYTES: u64 = 64 * 1024;

/// Notes of unfinished objects in a folder of this machine.
#[derive(Debug, Clone)]
pub struct PartNotes {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Note {
    key: String,
    upload_id: String,
}

impl PartNotes {
    /// Notes in this folder, which is made with the first one.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Notes an upload that was begun.
    pub(super) async fn add(&self, upload: &PartUpload) {
        let note = Note { key: upload.key.to_string(), upload_id: upload.upload_id.clone() };
        let Ok(json) = serde_json::to_vec(&note) else { return };
        let written = async {
            fs::create_dir_all(&self.folder).await?;
            fs::write(self.path(upload), json).await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "an upload in parts is not noted");
        }
    }

    /// Forgets one that has become an object, or was aborted.
    pub(super) async fn remove(&self, upload: &PartUpload) {
        match fs::remove_file(self.path(upload)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, "the note of an upload in parts stays");
            }
            _ => {}
        }
    }

    /// What an earlier process left unfinished. To be asked before this one begins anything, whose notes
    /// lie in the same folder.
    pub async fn left_behind(&self) -> Vec<PartUpload> {
        let mut left = Vec::new();
        let Ok(mut entries) = fs::read_dir(&self.folder).await else { return left };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let path = entry.path();
            let note = tokio::task::spawn_blocking(move || small_file::read(&path, LIMIT_BYTES));
            let note = note.await.ok().and_then(Result::ok);
            let note = note.and_then(|json| serde_json::from_slice::<Note>(&json).ok());
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
        let notes = PartNotes::new(folder.path().join("parts"));
        assert_eq!(notes.left_behind().await, []);
        notes.add(&upload("one")).await;
        notes.add(&upload("two")).await;
        notes.remove(&upload("one")).await;
        notes.remove(&upload("three")).await;
        tokio::fs::write(folder.path().join("parts/x.json"), b"{").await.unwrap();
        let next = PartNotes::new(folder.path().join("parts"));
        assert_eq!(next.left_behind().await, [upload("two")]);
    }
}

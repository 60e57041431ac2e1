//! Putting objects: written aside, checked, fsynced, and published without ever replacing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures::TryStreamExt as _;
use tempfile::NamedTempFile;

use super::{
    super::{ObjectKey, Payload, PutOutcome, StoreError, StoreErrorKind, StreamedPayload},
    LocalStore, blocking, is_reserved,
};
use crate::{
    digest::{ContentHasher, Sha256Hasher},
    disk::{Published, sync_directory, sync_file, write_bytes},
};

/// How much is written at a time: small enough for smooth progress, large enough to be fast.
const PIECE_BYTES: usize = 1024 * 1024;

impl LocalStore {
    pub(super) fn write(
        &self,
        key: &ObjectKey,
        payload: &Payload,
    ) -> Result<PutOutcome, StoreError> {
        let Some(path) = self.free_path(key)? else { return Ok(PutOutcome::Exists) };
        let file = self.write_aside(&path, payload)?;
        self.publish(file, &path)
    }

    /// As [`Self::write`], of bytes that come piece by piece.
    pub(super) async fn write_stream(
        &self,
        key: &ObjectKey,
        payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError> {
        let StreamedPayload { expected, media_type: _, mut body, progress } = payload;
        let (store, wanted) = (self.clone(), key.clone());
        let begin = move || {
            let Some(path) = store.free_path(&wanted)? else { return Ok(None) };
            Ok(Some((store.disk.create_unnamed()?, path)))
        };
        let Some((mut file, path)) = blocking(&self.writers, begin).await? else {
            return Ok(PutOutcome::Exists);
        };
        let mut hasher = ContentHasher::default();
        while let Some(piece) = body.try_next().await? {
            let wanted = path.clone();
            (file, hasher) = blocking(&self.writers, move || {
                write_bytes(file.as_file(), &piece, &wanted)?;
                hasher.update(&piece);
                Ok((file, hasher))
            })
            .await?;
            if let Some(progress) = &progress {
                progress(hasher.size_bytes());
            }
        }
        if hasher.finish() != expected {
            return Err(StoreError::other_bytes_came(&path.display().to_string()));
        }
        let (store, under_way) = (self.clone(), self.writes.begin(key));
        blocking(&self.writers, move || {
            let _under_way = under_way;
            sync_file(file.as_file(), &path)?;
            store.publish(file, &path)
        })
        .await
    }

    /// Where an object goes; none where one is.
    fn free_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, StoreError> {
        if is_reserved(key.as_str()) {
            return Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("{key} is kept for the service's own files and can't hold an object"),
            ));
        }
        self.require_folder()?;
        let path = self.path(key);
        Ok(if self.disk.has_file(&path)? { None } else { Some(path) })
    }

    /// What lies in the root's place and is no folder keeps everything from being written until an
    /// operator moves it, as a full disk does.
    pub(super) fn require_folder(&self) -> Result<(), StoreError> {
        if fs::metadata(self.root()).is_ok_and(|metadata| !metadata.is_dir()) {
            let message =
                format!("{} is a file, not a folder: move it away", self.root().display());
            return Err(StoreError::new(StoreErrorKind::Full, message));
        }
        Ok(())
    }

    /// Writes the payload into a temporary file, checked against its digest and durable.
    pub(super) fn write_aside(
        &self,
        path: &Path,
        payload: &Payload,
    ) -> Result<NamedTempFile, StoreError> {
        let file = self.disk.create_unnamed()?;
        let mut hasher = Sha256Hasher::default();
        let mut written_bytes = 0;
        for piece in payload.bytes.chunks(PIECE_BYTES) {
            write_bytes(file.as_file(), piece, path)?;
            hasher.update(piece);
            written_bytes += piece.len() as u64;
            if let Some(progress) = &payload.progress {
                progress(written_bytes);
            }
        }
        if hasher.finish() != payload.sha256 {
            return Err(StoreError::other_bytes_came(&path.display().to_string()));
        }
        sync_file(file.as_file(), path)?;
        Ok(file)
    }

    /// Gives a finished file its name unless the name is taken, durably. Of several at once, one
    /// wins.
    pub(super) fn publish(
        &self,
        file: NamedTempFile,
        path: &Path,
    ) -> Result<PutOutcome, StoreError> {
        match self.disk.publish(file, path)? {
            Published::Created => {}
            Published::Taken if self.disk.has_file(path)? => return Ok(PutOutcome::Exists),
            // Deleted in between.
            Published::Taken => {
                return Err(StoreError::new(
                    StoreErrorKind::Unavailable,
                    format!("{} was in the way and is gone; try again", path.display()),
                ));
            }
        }
        // Keys have at least one part below the root.
        sync_directory(path.parent().unwrap_or(self.root()))?;
        Ok(PutOutcome::Created)
    }
}

//! Putting objects: written to a temporary file, verified, fsynced, and published without replacing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures::TryStreamExt as _;
use tara_export_digest::{ContentHasher, Sha256Hasher};
use tara_export_disk::{Published, sync_file, write_bytes};
use tempfile::NamedTempFile;

use super::{
    super::{ObjectKey, Payload, PutOutcome, StoreError, StoreErrorKind, StreamedPayload},
    LocalStore, blocking, is_reserved,
    shards::index_name,
};

/// The number of bytes written at a time: small enough for smooth progress, large enough to be fast.
const PIECE_BYTES: usize = 1024 * 1024;

impl LocalStore {
    pub(super) fn write(
        &self,
        key: &ObjectKey,
        payload: &Payload,
    ) -> Result<PutOutcome, StoreError> {
        let Some(path) = self.free_path(key)? else { return Ok(PutOutcome::Exists) };
        let file = self.write_temporary(&path, payload)?;
        self.publish_object(file, key, &path)
    }

    /// The same as [`Self::write`], for a stream of bytes.
    pub(super) async fn write_stream(
        &self,
        key: &ObjectKey,
        payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError> {
        let StreamedPayload { expected, media_type: _, mut body, progress } = payload;
        let (store, put_key) = (self.clone(), key.clone());
        let begin = move || {
            let Some(path) = store.free_path(&put_key)? else { return Ok(None) };
            Ok(Some((store.disk.create_unnamed()?, path)))
        };
        let Some((mut file, path)) = blocking(&self.writers, begin).await? else {
            return Ok(PutOutcome::Exists);
        };
        let mut hasher = ContentHasher::default();
        while let Some(piece) = body.try_next().await? {
            let target = path.clone();
            (file, hasher) = blocking(&self.writers, move || {
                write_bytes(file.as_file(), &piece, &target)?;
                hasher.update(&piece);
                Ok((file, hasher))
            })
            .await?;
            if let Some(progress) = &progress {
                progress(hasher.size_bytes());
            }
        }
        if hasher.finish() != expected {
            return Err(StoreError::digest_mismatch(&path.display().to_string()));
        }
        let (store, guard, key) = (self.clone(), self.writes.begin(key), key.clone());
        blocking(&self.writers, move || {
            let _guard = guard;
            sync_file(file.as_file(), &path)?;
            store.publish_object(file, &key, &path)
        })
        .await
    }

    /// The path for a new object; `None` if the object exists.
    fn free_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, StoreError> {
        if is_reserved(key.as_str()) {
            return Err(StoreError::new(
                StoreErrorKind::Misconfigured,
                format!("cannot store {key}: reserved for the service's own files"),
            ));
        }
        self.require_folder()?;
        let exists = match index_name(key.as_str()) {
            Some(_) => self.has_index_entry(&self.shards.lock(), key)?,
            None => self.disk.has_file(&self.path(key))?,
        };
        Ok(if exists { None } else { Some(self.path(key)) })
    }

    /// Fails if the root exists and is not a folder. Like a full disk, this blocks all writes until an operator
    /// acts.
    pub(super) fn require_folder(&self) -> Result<(), StoreError> {
        if fs::metadata(self.root()).is_ok_and(|metadata| !metadata.is_dir()) {
            let message =
                format!("{} is a file, not a folder; move the file", self.root().display());
            return Err(StoreError::new(StoreErrorKind::Full, message));
        }
        Ok(())
    }

    /// Writes the payload durably to a temporary file and verifies its digest.
    pub(super) fn write_temporary(
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
            return Err(StoreError::digest_mismatch(&path.display().to_string()));
        }
        sync_file(file.as_file(), path)?;
        Ok(file)
    }

    /// Durably publishes a finished file as an object unless the key has one. `path` is that of [`Self::path`].
    fn publish_object(
        &self,
        file: NamedTempFile,
        key: &ObjectKey,
        path: &Path,
    ) -> Result<PutOutcome, StoreError> {
        match index_name(key.as_str()) {
            Some(name) => self.publish_index_entry(file, key, name),
            None => self.publish(file, path),
        }
    }

    /// Durably publishes a finished file under its path unless the path exists. Of several concurrent calls, one
    /// creates the file.
    pub(super) fn publish(
        &self,
        file: NamedTempFile,
        path: &Path,
    ) -> Result<PutOutcome, StoreError> {
        match self.disk.publish(file, path)? {
            Published::Created(unsynced) => {
                unsynced.sync()?;
                Ok(PutOutcome::Created)
            }
            Published::Taken => self.existing(path),
        }
    }

    /// The outcome of a put whose path was taken.
    pub(super) fn existing(&self, path: &Path) -> Result<PutOutcome, StoreError> {
        if self.disk.has_file(path)? {
            return Ok(PutOutcome::Exists);
        }
        Err(StoreError::new(
            StoreErrorKind::Unavailable,
            format!(
                "cannot store {}: a conflicting file was removed meanwhile; retry",
                path.display()
            ),
        ))
    }
}

//! Uploads on this machine's disk, used without a bucket or while S3 fails.
//!
//! Each upload has a folder in `.tara-export/uploads/`. The bytes up to a checkpoint are durable. Bytes after it are
//! truncated when the upload continues.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::TryStreamExt as _;
use tara_export_digest::ContentHasher;
use tara_export_disk::write_bytes;
use tara_export_limits::Pool;
use tara_export_store::StoreError;
use uuid::Uuid;

use super::{
    CHECKPOINT_BYTES, FinishedUpload, IncomingBytes, UploadError, UploadLocation,
    files::Files,
    locks::{Lock, Locks},
    progress::Progress,
    records::{Finished, UploadRecord},
};

/// Uploads in a data directory.
#[derive(Debug, Clone)]
pub(super) struct DiskUploads {
    files: Arc<Files>,
    locks: Locks,
    pool: Pool,
}

impl DiskUploads {
    pub(super) fn new(
        data_dir: PathBuf,
        limit_bytes: u64,
        retention: Duration,
        pool: Pool,
    ) -> Self {
        let locks = Locks::default();
        let files = Files::new(data_dir, limit_bytes, retention, locks.clone());
        Self { files: Arc::new(files), locks, pool }
    }

    /// Finds finished content or the existing upload of this request, or creates an upload.
    pub(super) async fn find_or_create(
        &self,
        requested: UploadRecord,
    ) -> Result<UploadRecord, UploadError> {
        self.run(move |files| files.find_or_create(requested)).await
    }

    /// Finds finished content or the existing upload of this request.
    pub(super) async fn find_for(
        &self,
        requested: &UploadRecord,
    ) -> Result<Option<UploadRecord>, UploadError> {
        let requested = requested.clone();
        self.run(move |files| files.find_for(&requested)).await
    }

    pub(super) async fn find(&self, upload_id: Uuid) -> Result<Option<UploadRecord>, UploadError> {
        self.run(move |files| files.record(upload_id)).await
    }

    /// The progress of an upload.
    ///
    /// # Errors
    /// The disk's error, of kind [`StoreErrorKind::Corrupt`] if the upload is unusable because a record is damaged.
    pub(super) async fn progress(&self, record: &UploadRecord) -> Result<Progress, UploadError> {
        let record = record.clone();
        self.run(move |files| match files.finished(&record)? {
            Some(finished) => Ok(Progress::Finished(finished)),
            None => {
                let committed_size_bytes = files.hasher(record.upload_id)?.size_bytes();
                Ok(Progress::Unfinished { committed_size_bytes })
            }
        })
        .await
    }

    /// Receives the bytes from an offset. Returns the document if they finish it.
    pub(super) async fn receive(
        &self,
        record: &UploadRecord,
        incoming: IncomingBytes,
    ) -> Result<Option<FinishedUpload>, UploadError> {
        let upload_id = record.upload_id;
        // State that is read before the lock is acquired could change before this call writes.
        let _lock = self.lock(upload_id)?;
        if self.find(upload_id).await?.is_none() {
            return Err(UploadError::NotFound { upload_id });
        }
        let committed_size_bytes = match self.progress(record).await? {
            Progress::Finished(finished) => return Ok(Some(finished)),
            Progress::Unfinished { committed_size_bytes } => committed_size_bytes,
        };
        let IncomingBytes { offset, mut pieces, is_finished, chunk_bytes } = incoming;
        let is_repeated = chunk_bytes.is_some_and(|bytes| offset + bytes <= committed_size_bytes);
        if is_repeated && !is_finished.load(Ordering::Acquire) {
            return Ok(None);
        }
        if is_repeated {
            let open = move |files: &Files| files.open_at(upload_id, committed_size_bytes);
            let (_, hasher) = self.run(open).await?;
            return self.finish(record, hasher).await.map(Some);
        }
        if offset != committed_size_bytes {
            return Err(UploadError::WrongOffset { offset, committed_size_bytes });
        }
        let (mut file, mut hasher) =
            self.run(move |files| files.open_at(upload_id, offset)).await?;
        let mut checkpoint_bytes = offset;
        let failure = loop {
            let piece = match pieces.try_next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            let received_bytes = hasher.size_bytes() + piece.len() as u64;
            if received_bytes > record.size_bytes {
                let size_bytes = record.size_bytes;
                break Some(UploadError::WrongSize { size_bytes, received_bytes });
            }
            let is_due = received_bytes - checkpoint_bytes >= CHECKPOINT_BYTES;
            (file, hasher) = self
                .run(move |files| {
                    write_bytes(&file, &piece, &files.path(upload_id, "document"))
                        .map_err(StoreError::from)?;
                    hasher.update(&piece);
                    if is_due {
                        files.checkpoint(upload_id, &file, &hasher)?;
                    }
                    Ok((file, hasher))
                })
                .await?;
            if is_due {
                checkpoint_bytes = hasher.size_bytes();
            }
        };
        hasher = self
            .run(move |files| {
                files.checkpoint(upload_id, &file, &hasher)?;
                Ok(hasher)
            })
            .await?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if !is_finished.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.finish(record, hasher).await.map(Some)
    }

    async fn finish(
        &self,
        record: &UploadRecord,
        hasher: ContentHasher,
    ) -> Result<FinishedUpload, UploadError> {
        let (upload_id, checksums) = (record.upload_id, hasher.finish());
        if checksums.size_bytes != record.size_bytes {
            let (size_bytes, received_bytes) = (record.size_bytes, checksums.size_bytes);
            return Err(UploadError::WrongSize { size_bytes, received_bytes });
        }
        if let Some(announced) = record.sha256.filter(|announced| *announced != checksums.sha256) {
            self.run(move |files| files.remove(upload_id)).await?;
            return Err(UploadError::DigestMismatch { announced, received: checksums.sha256 });
        }
        self.run(move |files| {
            let finished = Finished { checksums, e_tag: String::new() };
            files.finish(upload_id, &finished)?;
            let location = UploadLocation::Disk { file: files.path(upload_id, "document") };
            Ok(FinishedUpload { location, checksums })
        })
        .await
    }

    /// Removes temporary files that a crash left.
    pub(super) async fn clean_temporary_files(&self) -> Result<(), UploadError> {
        self.run(Files::clean_temporary_files).await
    }

    /// All uploads, including expired ones.
    pub(super) async fn records(&self) -> Result<Vec<UploadRecord>, UploadError> {
        self.run(Files::records).await
    }

    /// Removes an upload. If an accepted export names the document, the journal has a hard link to it.
    pub(super) async fn remove(&self, upload_id: Uuid) -> Result<(), UploadError> {
        let _lock = self.lock(upload_id)?;
        self.run(move |files| files.remove(upload_id)).await
    }

    fn lock(&self, upload_id: Uuid) -> Result<Lock, UploadError> {
        self.locks.take(upload_id).ok_or_else(|| {
            let reason = "another call is sending the same upload".to_owned();
            UploadError::Interrupted { reason }
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, UploadError> + Send + 'static,
    ) -> Result<T, UploadError> {
        let files = self.files.clone();
        self.pool.run(move || work(&files)).await.unwrap_or_else(|_| {
            let reason = "the service is shutting down".to_owned();
            Err(UploadError::Interrupted { reason })
        })
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

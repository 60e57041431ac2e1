//! Uploads on this machine's disk: where there is no bucket, or S3 can't take them.
//!
//! Each has a folder below `.tara-export/uploads/`. What a checkpoint tells is durable; what lies behind it
//! is cut off when the upload goes on.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use futures::TryStreamExt as _;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    CHECKPOINT_BYTES, FinishedUpload, IncomingBytes, UploadError, UploadPlace,
    records::{Checkpoint, Finished, UploadRecord},
    room::Room,
};
use crate::{
    bundle::to_json_pretty,
    digest::ContentHasher,
    disk::{Disk, DiskError, sync_directory, sync_file, write_bytes},
    limits::Pool,
    small_file,
    store::{StoreError, StoreErrorKind},
};

/// A record has some hundred bytes; more is not ours.
const RECORD_LIMIT_BYTES: u64 = 64 * 1024;

/// Uploads below a data directory.
#[derive(Debug, Clone)]
pub(super) struct DiskUploads {
    files: Arc<Files>,
    pool: Pool,
}

#[derive(Debug)]
struct Files {
    disk: Disk,
    folder: PathBuf,
    limit_bytes: u64,
    /// What all uploads together count; none until somebody counts them. Held while one is made, so that two
    /// can't take the same room.
    room: Mutex<Option<Room>>,
    /// Uploads that a call is writing to.
    in_use: Mutex<HashSet<Uuid>>,
}

/// The right to write to an upload; given back when dropped.
struct InUse {
    files: Arc<Files>,
    upload_id: Uuid,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.files.in_use().remove(&self.upload_id);
    }
}

impl DiskUploads {
    pub(super) fn new(data_dir: PathBuf, limit_bytes: u64, pool: Pool) -> Self {
        // As the local store's own: a relative path is meant from where the process started.
        let root = std::path::absolute(&data_dir).unwrap_or(data_dir);
        let folder = root.join(".tara-export/uploads");
        let disk = Disk::new(root, ".tara-export/uploads/tmp");
        let (room, in_use) = (Mutex::default(), Mutex::default());
        let files = Files { disk, folder, limit_bytes, room, in_use };
        Self { files: Arc::new(files), pool }
    }

    /// Makes an upload, or finds the one that was made under this id before.
    pub(super) async fn create(&self, record: UploadRecord) -> Result<UploadRecord, UploadError> {
        self.run(move |files| files.create(record)).await
    }

    pub(super) async fn find(&self, upload_id: Uuid) -> Result<Option<UploadRecord>, UploadError> {
        self.run(move |files| files.read(upload_id, "upload.json")).await
    }

    /// The document, if it is there, and how much of it is.
    pub(super) async fn progress(
        &self,
        record: &UploadRecord,
    ) -> Result<(Option<FinishedUpload>, u64), UploadError> {
        let (upload_id, size_bytes) = (record.upload_id, record.size_bytes);
        self.run(move |files| {
            if let Some(finished) = files.finished(upload_id)? {
                return Ok((Some(finished), size_bytes));
            }
            let checkpoint: Option<Checkpoint> = files.read(upload_id, "checkpoint.json")?;
            Ok((None, checkpoint.map_or(0, |checkpoint| checkpoint.hasher.size_bytes)))
        })
        .await
    }

    /// Takes what follows an offset; the document, if it ends with that.
    pub(super) async fn receive(
        &self,
        record: &UploadRecord,
        incoming: IncomingBytes,
    ) -> Result<Option<FinishedUpload>, UploadError> {
        let upload_id = record.upload_id;
        let (finished, committed_size_bytes) = self.progress(record).await?;
        if finished.is_some() {
            return Ok(finished);
        }
        let _in_use = self.take(upload_id)?;
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
            return Err(UploadError::OtherDigest { announced, received: checksums.sha256 });
        }
        self.run(move |files| {
            let finished = Finished { checksums, e_tag: String::new() };
            files.write(upload_id, "finished.json", &finished)?;
            let place = UploadPlace::Disk { file: files.path(upload_id, "document") };
            Ok(FinishedUpload { place, checksums })
        })
        .await
    }

    /// Every upload, whatever its age.
    pub(super) async fn records(&self) -> Result<Vec<UploadRecord>, UploadError> {
        self.run(Files::records).await
    }

    /// Removes an upload. A document that an accepted export names has a second name in the journal.
    pub(super) async fn remove(&self, upload_id: Uuid) -> Result<(), UploadError> {
        let _in_use = self.take(upload_id)?;
        self.run(move |files| files.remove(upload_id)).await
    }

    fn take(&self, upload_id: Uuid) -> Result<InUse, UploadError> {
        if !self.files.in_use().insert(upload_id) {
            let reason = "another call is bringing the same upload".to_owned();
            return Err(UploadError::BrokeOff { reason });
        }
        Ok(InUse { files: self.files.clone(), upload_id })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, UploadError> + Send + 'static,
    ) -> Result<T, UploadError> {
        let files = self.files.clone();
        self.pool.run(move || work(&files)).await.unwrap_or_else(|_| {
            let reason = "the service is shutting down".to_owned();
            Err(UploadError::BrokeOff { reason })
        })
    }
}

impl Files {
    fn in_use(&self) -> std::sync::MutexGuard<'_, HashSet<Uuid>> {
        // Nothing panics in the middle of a change.
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, upload_id: Uuid, name: &str) -> PathBuf {
        self.folder.join(upload_id.to_string()).join(name)
    }

    fn room(&self) -> std::sync::MutexGuard<'_, Option<Room>> {
        // A room that is changed says what is on disk before each step.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, record: UploadRecord) -> Result<UploadRecord, UploadError> {
        let mut room = self.room();
        if let Some(earlier) = self.read(record.upload_id, "upload.json")? {
            return Ok(earlier);
        }
        let counted = match room.take() {
            Some(counted) => counted,
            None => Room::new(self.limit_bytes, &self.records()?),
        };
        let counted = room.insert(counted);
        let in_use = self.in_use().clone();
        let Some(in_the_way) = counted.to_remove_for(&record, &in_use) else {
            return Err(UploadError::DiskFull { limit_bytes: self.limit_bytes });
        };
        for upload_id in in_the_way {
            tracing::warn!(
                %upload_id,
                "an upload was removed: another caller needs its room, and its own caller has more than a fair share \
                 (MAX_LOCAL_UPLOADS)"
            );
            self.remove_files(upload_id)?;
            counted.remove(upload_id);
        }
        self.write(record.upload_id, "upload.json", &record)?;
        counted.add(&record);
        Ok(record)
    }

    /// The document's file, cut to an offset that a checkpoint tells, and the hasher behind it.
    fn open_at(&self, upload_id: Uuid, offset: u64) -> Result<(File, ContentHasher), UploadError> {
        let path = self.path(upload_id, "document");
        let checkpoint: Option<Checkpoint> = self.read(upload_id, "checkpoint.json")?;
        let hasher = match checkpoint {
            Some(checkpoint) => checkpoint.hasher.restore().map_err(|error| {
                StoreError::new(StoreErrorKind::Corrupt, format!("{}: {error}", path.display()))
            })?,
            None => ContentHasher::default(),
        };
        let opened = || -> io::Result<File> {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            file.set_len(offset)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        let file = opened().map_err(|error| disk_failure("write", &path, error))?;
        Ok((file, hasher))
    }

    /// Makes durable what was written, and then says so.
    fn checkpoint(
        &self,
        upload_id: Uuid,
        file: &File,
        hasher: &ContentHasher,
    ) -> Result<(), UploadError> {
        sync_file(file, &self.path(upload_id, "document")).map_err(StoreError::from)?;
        failpoint!("upload.synced");
        self.write(upload_id, "checkpoint.json", &Checkpoint { hasher: hasher.save() })
    }

    fn finished(&self, upload_id: Uuid) -> Result<Option<FinishedUpload>, UploadError> {
        let finished: Option<Finished> = self.read(upload_id, "finished.json")?;
        let place = UploadPlace::Disk { file: self.path(upload_id, "document") };
        Ok(finished.map(|finished| FinishedUpload { place, checksums: finished.checksums }))
    }

    fn read<T: DeserializeOwned>(
        &self,
        upload_id: Uuid,
        name: &str,
    ) -> Result<Option<T>, UploadError> {
        let path = self.path(upload_id, name);
        let bytes = match small_file::read(&path, RECORD_LIMIT_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(StoreError::from(DiskError::of_read("read", &path, error)).into());
            }
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let message = format!("{} is damaged: {error}", path.display());
            StoreError::new(StoreErrorKind::Corrupt, message).into()
        })
    }

    /// Writes a record durably, in place of an earlier one.
    fn write(
        &self,
        upload_id: Uuid,
        name: &str,
        record: &impl Serialize,
    ) -> Result<(), UploadError> {
        let path = self.path(upload_id, name);
        let written = || -> Result<(), DiskError> {
            let file = self.disk.create_unnamed()?;
            write_bytes(file.as_file(), &to_json_pretty(record), &path)?;
            sync_file(file.as_file(), &path)?;
            self.disk.replace(file, &path)?;
            sync_directory(path.parent().unwrap_or(&self.folder))
        };
        Ok(written().map_err(StoreError::from)?)
    }

    /// All that can be read. What the disk damaged stays for somebody to look at, and is in nobody's way.
    fn records(&self) -> Result<Vec<UploadRecord>, UploadError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(disk_failure("look through", &self.folder, error)),
        };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut records = Vec::new();
        for upload_id in ids.collect::<Vec<Uuid>>() {
            match self.read(upload_id, "upload.json") {
                Ok(record) => records.extend(record),
                Err(error) => tracing::warn!(%upload_id, %error, "an upload is passed over"),
            }
        }
        Ok(records)
    }

    /// Removes an upload; its record last, so that one that broke off is found again.
    fn remove(&self, upload_id: Uuid) -> Result<(), UploadError> {
        let removed = self.remove_files(upload_id);
        // Whoever counted meanwhile may have counted it. What is left of it after a failure is counted again.
        match (&removed, &mut *self.room()) {
            (Ok(()), Some(room)) => room.remove(upload_id),
            (_, room) => *room = None,
        }
        removed
    }

    fn remove_files(&self, upload_id: Uuid) -> Result<(), UploadError> {
        let removed = ["finished.json", "checkpoint.json", "document", "upload.json"]
            .into_iter()
            .try_for_each(|name| {
                self.disk.remove_durably(&self.path(upload_id, name), &self.folder)
            });
        Ok(removed.map_err(StoreError::from)?)
    }
}

fn disk_failure(action: &str, path: &Path, error: io::Error) -> UploadError {
    StoreError::from(DiskError::of_write(action, path, error)).into()
}

//! The files of uploads on disk: each upload has a folder with its records and its document.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use tara_export_bundle::to_json_pretty;
use tara_export_digest::ContentHasher;
use tara_export_disk::{Disk, DiskError, Unsynced, small_file, sync_file};
use tara_export_failpoint::failpoint;
use tara_export_store::{StoreError, StoreErrorKind};
use uuid::Uuid;

use super::{
    FinishedUpload, UploadError, UploadLocation,
    damaged::skip_damaged,
    disk_index::DiskIndex,
    locks::Locks,
    records::{Checkpoint, Finished, InvalidRecord, UploadRecord},
};

/// Limit for reading a record, which has some hundred bytes.
const RECORD_LIMIT_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Files {
    disk: Disk,
    folder: PathBuf,
    limit_bytes: u64,
    retention: Duration,
    /// The index of all uploads; `None` until it is first needed. Locked while an upload is created, so that two cannot
    /// use the same capacity.
    index: Mutex<Option<DiskIndex>>,
    locks: Locks,
}

impl Files {
    pub(super) fn new(
        data_dir: PathBuf,
        limit_bytes: u64,
        retention: Duration,
        locks: Locks,
    ) -> Self {
        // Like in the local store, a relative path is relative to the working directory at startup.
        let root = std::path::absolute(&data_dir).unwrap_or(data_dir);
        let folder = root.join(".tara-export/uploads");
        let disk = Disk::new(root, ".tara-export/uploads/tmp");
        Self { disk, folder, limit_bytes, retention, index: Mutex::default(), locks }
    }

    pub(super) fn path(&self, upload_id: Uuid, name: &str) -> PathBuf {
        self.folder.join(upload_id.to_string()).join(name)
    }

    fn lock_index(&self) -> MutexGuard<'_, Option<DiskIndex>> {
        // The index matches the disk before each step, so it is valid after a panic.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of uploads, which is built when it is first needed.
    fn built<'a>(
        &self,
        index: &'a mut Option<DiskIndex>,
    ) -> Result<&'a mut DiskIndex, UploadError> {
        let built = match index.take() {
            Some(built) => built,
            None => {
                let records = self.records()?;
                let mut built = DiskIndex::new(self.limit_bytes, &records);
                for UploadRecord { upload_id, .. } in records {
                    if self.path(upload_id, "finished.json").exists() {
                        built.mark_finished(upload_id);
                    }
                }
                built
            }
        };
        Ok(index.insert(built))
    }

    /// Finds finished content or the existing upload of this request.
    pub(super) fn find_for(
        &self,
        requested: &UploadRecord,
    ) -> Result<Option<UploadRecord>, UploadError> {
        self.find_in(self.built(&mut self.lock_index())?, requested)
    }

    fn find_in(
        &self,
        index: &DiskIndex,
        requested: &UploadRecord,
    ) -> Result<Option<UploadRecord>, UploadError> {
        let now = requested.created_time.as_datetime();
        for upload_id in index.candidates(requested) {
            let usable = skip_damaged(self.usable(upload_id, now))?;
            if usable.is_some() {
                return Ok(usable);
            }
        }
        Ok(None)
    }

    /// The upload, if it can be continued or used.
    fn usable(
        &self,
        upload_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<UploadRecord>, UploadError> {
        let Some(record) = self.record(upload_id)? else { return Ok(None) };
        if record.is_expired(now, self.retention) {
            return Ok(None);
        }
        if self.finished(&record)?.is_none() {
            self.hasher(upload_id)?;
        }
        Ok(Some(record))
    }

    pub(super) fn find_or_create(
        &self,
        requested: UploadRecord,
    ) -> Result<UploadRecord, UploadError> {
        let mut guard = self.lock_index();
        let index = self.built(&mut guard)?;
        if let Some(existing) = self.find_in(index, &requested)? {
            return Ok(existing);
        }
        let chosen = self.locks.take_chosen(|in_use| index.evictions_for(&requested, in_use));
        let Some(evicted) = chosen else {
            return Err(UploadError::DiskFull { limit_bytes: self.limit_bytes });
        };
        for upload_id in evicted.upload_ids() {
            tracing::warn!(
                %upload_id,
                "removing an upload: its caller exceeds its fair share of MAX_LOCAL_UPLOADS, and another caller needs \
                 the space"
            );
            self.remove_files(*upload_id)?;
            index.remove(*upload_id);
        }
        self.write(requested.upload_id, "upload.json", &requested)?;
        index.add(&requested);
        Ok(requested)
    }

    /// The document's file, truncated to the offset of a checkpoint, and the hasher at that offset.
    pub(super) fn open_at(
        &self,
        upload_id: Uuid,
        offset: u64,
    ) -> Result<(File, ContentHasher), UploadError> {
        let path = self.path(upload_id, "document");
        let hasher = self.hasher(upload_id)?;
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

    /// Syncs the document and then writes a checkpoint.
    pub(super) fn checkpoint(
        &self,
        upload_id: Uuid,
        file: &File,
        hasher: &ContentHasher,
    ) -> Result<(), UploadError> {
        sync_file(file, &self.path(upload_id, "document")).map_err(StoreError::from)?;
        failpoint!("upload.synced");
        self.write(
            upload_id,
            "checkpoint.json",
            &Checkpoint { hasher: hasher.save(), pieces: Vec::new() },
        )
    }

    pub(super) fn record(&self, upload_id: Uuid) -> Result<Option<UploadRecord>, UploadError> {
        const NAME: &str = "upload.json";
        let record: Option<UploadRecord> = self.read(upload_id, NAME)?;
        let of_it = record.map(|record| record.of(upload_id)).transpose();
        of_it.map_err(|error| damaged(&self.path(upload_id, NAME), error))
    }

    /// The hasher at the last checkpoint.
    pub(super) fn hasher(&self, upload_id: Uuid) -> Result<ContentHasher, UploadError> {
        const NAME: &str = "checkpoint.json";
        let checkpoint: Option<Checkpoint> = self.read(upload_id, NAME)?;
        let Some(checkpoint) = checkpoint else { return Ok(ContentHasher::default()) };
        let size_bytes = checkpoint.hasher.size_bytes;
        // The bytes up to a checkpoint were synced before it was written.
        let document = fs::metadata(self.path(upload_id, "document"));
        let hasher = match document {
            Ok(document) if document.len() >= size_bytes => checkpoint.restore_at(size_bytes),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(disk_failure("read", &self.path(upload_id, "document"), error));
            }
            _ => Err(InvalidRecord),
        };
        hasher.map_err(|error| damaged(&self.path(upload_id, NAME), error))
    }

    pub(super) fn finished(
        &self,
        record: &UploadRecord,
    ) -> Result<Option<FinishedUpload>, UploadError> {
        const NAME: &str = "finished.json";
        let upload_id = record.upload_id;
        let Some(finished) = self.read::<Finished>(upload_id, NAME)? else { return Ok(None) };
        let finished =
            finished.of(record).map_err(|error| damaged(&self.path(upload_id, NAME), error))?;
        let location = UploadLocation::Disk { file: self.path(upload_id, "document") };
        Ok(Some(FinishedUpload { location, checksums: finished.checksums }))
    }

    fn read<T: DeserializeOwned>(
        &self,
        upload_id: Uuid,
        name: &str,
    ) -> Result<Option<T>, UploadError> {
        let path = self.path(upload_id, name);
        let read = failpoint!("disk.file.read", &path, small_file::read(&path, RECORD_LIMIT_BYTES));
        let bytes = match read {
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

    /// Records that an upload is finished.
    pub(super) fn finish(&self, upload_id: Uuid, finished: &Finished) -> Result<(), UploadError> {
        self.write(upload_id, "finished.json", finished)?;
        if let Some(index) = self.lock_index().as_mut() {
            index.mark_finished(upload_id);
        }
        Ok(())
    }

    /// Writes a record durably and replaces the previous one.
    fn write(
        &self,
        upload_id: Uuid,
        name: &str,
        record: &impl Serialize,
    ) -> Result<(), UploadError> {
        let path = self.path(upload_id, name);
        let written = self.disk.write(&path, [to_json_pretty(record)]).and_then(Unsynced::sync);
        Ok(written.map_err(StoreError::from)?)
    }

    /// All readable upload records. Damaged ones are logged and kept for diagnosis.
    pub(super) fn records(&self) -> Result<Vec<UploadRecord>, UploadError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(disk_failure("list", &self.folder, error)),
        };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut records = Vec::new();
        for upload_id in ids.collect::<Vec<Uuid>>() {
            match self.record(upload_id) {
                Ok(record) => records.extend(record),
                Err(error) => tracing::warn!(%upload_id, %error, "skipping an unreadable upload"),
            }
        }
        Ok(records)
    }

    /// Removes temporary files that a crash left.
    pub(super) fn clean_temporary_files(&self) -> Result<(), UploadError> {
        Ok(self.disk.clean_temporary_files().map_err(StoreError::from)?)
    }

    /// Removes an upload. Removes its record last, so that an interrupted removal is repeated.
    pub(super) fn remove(&self, upload_id: Uuid) -> Result<(), UploadError> {
        let removed = self.remove_files(upload_id);
        // The index may have been built during the removal. After an error, it is built again.
        match (&removed, &mut *self.lock_index()) {
            (Ok(()), Some(index)) => index.remove(upload_id),
            (_, index) => *index = None,
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

fn damaged(path: &Path, error: InvalidRecord) -> UploadError {
    StoreError::new(StoreErrorKind::Corrupt, format!("{}: {error}", path.display())).into()
}

fn disk_failure(action: &str, path: &Path, error: io::Error) -> UploadError {
    StoreError::from(DiskError::of_write(action, path, error)).into()
}

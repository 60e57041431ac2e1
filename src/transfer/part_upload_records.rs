//! Records of unfinished multipart uploads on disk, so that their parts are aborted if the process ends or S3 fails.
//!
//! Records are best effort and not fsynced. Parts without a record are removed by a lifecycle rule of the bucket.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tara_export_digest::Sha256;
use tara_export_disk::small_file;
use tara_export_limits::Pool;
use tara_export_store::{ObjectChecksum, ObjectKey, PartStore, PartUpload, StoreError};

/// Limit for reading a record, which has some hundred bytes.
const RECORD_LIMIT_BYTES: u64 = 64 * 1024;

/// Records of unfinished multipart uploads in a local folder.
#[derive(Debug, Clone)]
pub struct PartUploadRecords {
    folder: PathBuf,
    pool: Pool,
    /// The [site](tara_export_store::Store::site) of the store.
    site: String,
    /// Records of this process's active uploads.
    active: Arc<Mutex<HashSet<PathBuf>>>,
}

/// A multipart upload that is active until this is dropped.
#[derive(Debug)]
pub(super) struct ActivePartUpload {
    records: PartUploadRecords,
    path: PathBuf,
}

impl Drop for ActivePartUpload {
    fn drop(&mut self) {
        self.records.active().remove(&self.path);
    }
}

#[derive(Serialize, Deserialize)]
struct PartUploadRecord {
    key: String,
    upload_id: String,
    /// `None` in records of previous releases.
    #[serde(default)]
    site: Option<String>,
}

impl PartUploadRecords {
    /// Records in this folder for the store with this site. The folder is created with the first record. Files are read
    /// and written on the threads of `pool`.
    pub fn new(folder: PathBuf, pool: Pool, site: String) -> Self {
        Self { folder, pool, site, active: Arc::default() }
    }

    /// Records an upload. If the returned value is dropped before the record is removed, the upload is orphaned.
    pub(super) async fn add(&self, upload: &PartUpload) -> ActivePartUpload {
        let record = PartUploadRecord {
            key: upload.key.to_string(),
            upload_id: upload.upload_id.clone(),
            site: Some(self.site.clone()),
        };
        let (folder, path) = (self.folder.clone(), self.path(upload));
        self.active().insert(path.clone());
        let active = ActivePartUpload { records: self.clone(), path: path.clone() };
        let Ok(json) = serde_json::to_vec(&record) else { return active };
        let written = self.pool.run(move || {
            fs::create_dir_all(folder)?;
            fs::write(path, json)
        });
        if let Err(error) = written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::debug!(%error, "cannot record a multipart upload");
        }
        active
    }

    /// Removes the record of a completed or aborted upload.
    pub(super) async fn remove(&self, upload: &PartUpload) {
        let path = self.path(upload);
        let removed = self.pool.run(move || fs::remove_file(path)).await;
        match removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, "cannot remove the record of a multipart upload");
            }
            _ => {}
        }
    }

    /// Up to `limit` uploads to this store that a previous process or an interrupted transfer left unfinished. Records
    /// for other stores are kept but not returned.
    pub async fn orphans(&self, limit: usize) -> Vec<PartUpload> {
        let (folder, records) = (self.folder.clone(), self.clone());
        let read = move || {
            fs::read_dir(folder).map(|entries| {
                let paths = entries.flatten().map(|entry| entry.path());
                let inactive = paths.filter(|path| !records.active().contains(path));
                inactive.filter_map(|path| records.read(&path)).take(limit).collect()
            })
        };
        let orphans: io::Result<Vec<_>> =
            self.pool.run(read).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        orphans.unwrap_or_default()
    }

    /// Reads a record. `None` if it is unreadable or for another store.
    fn read(&self, path: &Path) -> Option<PartUpload> {
        let json = small_file::read(path, RECORD_LIMIT_BYTES).ok()?;
        let PartUploadRecord { key, upload_id, site } = serde_json::from_slice(&json).ok()?;
        if site.is_some_and(|site| site != self.site) {
            return None;
        }
        let key = ObjectKey::new(key).ok()?;
        Some(PartUpload { key, upload_id, checksum: ObjectChecksum::None })
    }

    /// Aborts an orphaned upload and removes its record.
    ///
    /// # Errors
    /// The store's error. The record is kept then.
    pub async fn abort(
        &self,
        parts: &dyn PartStore,
        upload: &PartUpload,
    ) -> Result<(), StoreError> {
        parts.abort(upload).await?;
        self.remove(upload).await;
        Ok(())
    }

    fn active(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        // No code panics while it holds the lock.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, upload: &PartUpload) -> PathBuf {
        // An upload id can have any length and characters.
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
        PartUpload { key, upload_id: format!("{name}/\u{e4}?"), checksum: ObjectChecksum::None }
    }

    #[tokio::test]
    async fn recorded_uploads_are_orphans_until_they_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::new("test", 1).unwrap();
        let at = |site: &str| {
            PartUploadRecords::new(folder.path().join("parts"), pool.clone(), site.to_owned())
        };
        let records = at("here");
        assert_eq!(records.orphans(9).await, []);
        let one = records.add(&upload("one")).await;
        let two = records.add(&upload("two")).await;
        records.remove(&upload("one")).await;
        records.remove(&upload("three")).await;
        fs::write(folder.path().join("parts/x.json"), b"{").unwrap();
        assert_eq!(at("there").orphans(9).await, [], "records of another store are not returned");
        assert_eq!(at("here").orphans(9).await, [upload("two")]);

        // Active uploads are not orphans.
        assert_eq!(records.orphans(9).await, []);
        drop((one, two));
        assert_eq!(records.orphans(9).await, [upload("two")]);
    }
}

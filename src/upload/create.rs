//! CreateUpload: returns finished content, the existing upload of the request, or a new one.
//!
//! An unfinished upload belongs to the request of one caller. Its id is random, so that other callers cannot guess it.
//! Only finished content, which was verified, is shared.

use tara_export_bundle::AcceptedTime;
use tara_export_digest::Sha256;
use tara_export_limits::CallerKey;
use tokio::time;
use uuid::Uuid;

use super::{
    Inner, UploadError, UploadStatus, Uploads,
    location::{LocatedUpload, Location},
    records::{self, UploadRecord},
};

impl Uploads {
    /// Creates an upload, or finds finished content or the existing upload of the request.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`], [`UploadError::IdReused`], or the error of the store or disk.
    pub async fn create(
        &self,
        caller: &CallerKey,
        request_id: Option<Uuid>,
        size_bytes: u64,
        sha256: Option<Sha256>,
    ) -> Result<UploadStatus, UploadError> {
        let Inner { settings, clock, disk, .. } = &*self.inner;
        let limit_bytes = settings.document_size_bytes;
        if size_bytes > limit_bytes {
            return Err(UploadError::TooLarge { size_bytes, limit_bytes });
        }
        let request = request_id.map(|id| records::request_key(caller, id, size_bytes, sha256));
        let requested = UploadRecord {
            upload_id: clock.new_id(),
            size_bytes,
            sha256,
            created_time: AcceptedTime::new(clock.now()),
            part_upload_id: None,
            request,
            owner: records::owner_of(caller),
            caller: None,
        };
        // An upload that began on this disk continues there.
        let upload = match disk.find_for(&requested).await? {
            Some(record) => LocatedUpload { record, location: Location::Disk(disk) },
            None => self.find_or_create(requested.clone(), caller).await?,
        };
        if !upload.record.is_for(&requested) {
            return Err(UploadError::IdReused { upload_id: upload.record.upload_id });
        }
        self.status_of(&upload).await
    }

    async fn find_or_create(
        &self,
        requested: UploadRecord,
        caller: &CallerKey,
    ) -> Result<LocatedUpload<'_>, UploadError> {
        let Inner { settings, store, disk, .. } = &*self.inner;
        let on_disk =
            UploadRecord { caller: Some(records::digest_of(caller)), ..requested.clone() };
        if let Some(store) = store {
            let location = Location::Store(store);
            match time::timeout(settings.store_timeout, store.find_or_create(requested)).await {
                Ok(Ok(record)) => return Ok(LocatedUpload { record, location }),
                Ok(Err(UploadError::Store(error))) => {
                    tracing::warn!(
                        %error,
                        "cannot create an upload in S3: creating it on this machine's disk"
                    );
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    tracing::warn!(
                        "S3 does not respond: creating an upload on this machine's disk"
                    );
                }
            }
        }
        let record = disk.find_or_create(on_disk).await?;
        Ok(LocatedUpload { record, location: Location::Disk(disk) })
    }
}

//! Ends expired uploads.
//!
//! On disk they are removed. In the store, unfinished ones are aborted, so that their parts no longer cost money.
//! Finished ones are removed by the bucket's lifecycle rule, because this service does not need the permission to
//! delete objects.

use chrono::{DateTime, Utc};
use tara_export_catalog::layout;
use tara_export_store::ListRequest;
use uuid::Uuid;

use super::{UploadError, Uploads, progress::Progress, store::StoreUploads};

/// Uploads per list request.
const PAGE_SIZE: usize = 1_000;

/// The position of a scan of the store's uploads.
#[derive(Debug, Default)]
pub struct ExpiryPosition(Option<String>);

impl ExpiryPosition {
    /// Whether more uploads have to be scanned.
    pub fn has_more(&self) -> bool {
        self.0.is_some()
    }
}

impl Uploads {
    /// Ends expired uploads: all on this disk, and those among the next thousand in the store. Advances the position
    /// and returns the number of ended uploads. Uploads that are damaged or in use are kept and logged.
    ///
    /// # Errors
    /// The first error of the disk or the store that does not concern a single upload. Resets the position.
    pub async fn expire(&self, position: &mut ExpiryPosition) -> Result<u64, UploadError> {
        let (settings, now) = (&self.inner.settings, self.inner.clock.now());
        let mut expired = 0;
        let start_after = position.0.take();
        if start_after.is_none() {
            for record in self.inner.disk.records().await? {
                if record.is_expired(now, settings.retention) {
                    let removed = self.inner.disk.remove(record.upload_id).await;
                    expired += u64::from(was_ended(record.upload_id, removed.map(|()| true))?);
                }
            }
        }
        let Some(uploads) = &self.inner.store else { return Ok(expired) };
        let request = ListRequest {
            prefix: layout::uploads_prefix(),
            start_after,
            delimited: true,
            limit: PAGE_SIZE,
        };
        let listing = uploads.store.list(request).await?;
        for upload_id in listing.folders.iter().filter_map(|folder| upload_id(folder)) {
            let aborted = self.abort_expired(uploads, upload_id, now).await;
            expired += u64::from(was_ended(upload_id, aborted)?);
        }
        position.0 = listing.folders.last().filter(|_| listing.more).cloned();
        Ok(expired)
    }

    /// Removes temporary files that a crash left on this disk. Must be called before anything is written.
    ///
    /// # Errors
    /// The disk's error.
    pub async fn clean_temporary_files(&self) -> Result<(), UploadError> {
        self.inner.disk.clean_temporary_files().await
    }

    /// Aborts an upload if it expired before it was finished. Returns whether it did.
    async fn abort_expired(
        &self,
        uploads: &StoreUploads,
        upload_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<bool, UploadError> {
        let Some(record) = uploads.find(upload_id).await? else { return Ok(false) };
        if !record.is_expired(now, self.inner.settings.retention) {
            return Ok(false);
        }
        let is_finished = match uploads.progress(&record).await {
            Ok(progress) => matches!(progress, Progress::Finished(_)),
            // A damaged upload can no longer be finished or used.
            Err(error) if error.is_damage() => false,
            Err(error) => return Err(error),
        };
        if !is_finished {
            uploads.abort(&record, "it was not finished in time").await;
        }
        Ok(!is_finished)
    }
}

/// Whether an upload was ended. Errors of a single upload are logged, so that the others are still ended.
fn was_ended(upload_id: Uuid, ended: Result<bool, UploadError>) -> Result<bool, UploadError> {
    match ended {
        Err(error)
            if error.is_damage()
                || matches!(
                    error,
                    UploadError::NotFound { .. } | UploadError::Interrupted { .. }
                ) =>
        {
            tracing::warn!(%upload_id, %error, "cannot end an expired upload");
            Ok(false)
        }
        ended => ended,
    }
}

fn upload_id(folder: &str) -> Option<Uuid> {
    folder.strip_prefix(&layout::uploads_prefix())?.strip_suffix('/')?.parse().ok()
}

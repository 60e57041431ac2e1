//! The end of uploads that nobody used.
//!
//! On disk they are removed. In the store, those that were never finished are aborted, so that their parts
//! cost nothing more; finished ones go by the bucket's lifecycle rule, since this service need not be allowed
//! to delete.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{UploadError, Uploads, store::StoreUploads};
use crate::{catalog::layout, store::ListRequest};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(3600);
/// Uploads asked of the store at once.
const LISTED_AT_ONCE: usize = 1_000;

impl Uploads {
    /// Ends what has expired now and then, until the server stops.
    pub async fn watch_expiry(self, stopping: CancellationToken) {
        loop {
            let expired = tokio::select! {
                expired = self.expire() => expired,
                () = stopping.cancelled() => return,
            };
            match expired {
                Ok(0) => {}
                Ok(expired) => tracing::info!(expired, "uploads that nobody used are gone"),
                Err(error) => tracing::debug!(%error, "expired uploads stay for now"),
            }
            tokio::select! {
                () = time::sleep(PAUSE) => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    /// Ends every upload that can't be used any more. How many. One whose records are damaged, or that a call
    /// brings just now, stays, and is logged.
    ///
    /// # Errors
    /// The disk's or the store's first failure that is not one upload's own.
    pub async fn expire(&self) -> Result<usize, UploadError> {
        let (settings, now) = (&self.inner.settings, self.inner.clock.now());
        let mut expired = 0;
        for record in self.inner.disk.records().await? {
            if record.expire_time(settings.retention) <= now {
                let removed = self.inner.disk.remove(record.upload_id).await;
                expired += usize::from(was_ended(record.upload_id, removed.map(|()| true))?);
            }
        }
        let Some(uploads) = &self.inner.store else { return Ok(expired) };
        let mut start_after = None;
        loop {
            let request = ListRequest {
                prefix: layout::uploads_prefix(),
                start_after: start_after.take(),
                delimited: true,
                limit: LISTED_AT_ONCE,
            };
            let listing = uploads.store.list(request).await?;
            for upload_id in listing.folders.iter().filter_map(|folder| upload_id(folder)) {
                let given_up = self.give_up_expired(uploads, upload_id, now).await;
                expired += usize::from(was_ended(upload_id, given_up)?);
            }
            match listing.folders.last() {
                Some(last) if listing.more => start_after = Some(last.clone()),
                _ => return Ok(expired),
            }
        }
    }

    /// Gives up what expired before it was finished. Whether it did.
    async fn give_up_expired(
        &self,
        uploads: &StoreUploads,
        upload_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<bool, UploadError> {
        let Some(record) = uploads.find(upload_id).await? else { return Ok(false) };
        if record.expire_time(self.inner.settings.retention) > now {
            return Ok(false);
        }
        let (finished, _) = uploads.progress(&record).await?;
        if finished.is_none() {
            uploads.give_up(&record, "it was not finished in time").await;
        }
        Ok(finished.is_none())
    }
}

/// Whether an upload was ended. One that can't be is no reason to let the others stay.
fn was_ended(upload_id: Uuid, ended: Result<bool, UploadError>) -> Result<bool, UploadError> {
    match ended {
        Err(error)
            if error.is_of_this_upload() || matches!(error, UploadError::BrokeOff { .. }) =>
        {
            tracing::warn!(%upload_id, %error, "an expired upload stays for now");
            Ok(false)
        }
        ended => ended,
    }
}

fn upload_id(folder: &str) -> Option<Uuid> {
    folder.strip_prefix(&layout::uploads_prefix())?.strip_suffix('/')?.parse().ok()
}

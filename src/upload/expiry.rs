//! The end of uploads that nobody used.
//!
//! On disk they are removed. In the store, those that were never finished are aborted, so that their parts
//! cost nothing more; finished ones go by the bucket's lifecycle rule, since this service need not be allowed
//! to delete.

use std::time::Duration;

use tokio::time;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{UploadError, Uploads};
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

    /// Ends every upload that can't be used any more. How many.
    ///
    /// # Errors
    /// The disk's or the store's first failure; the others may be ended.
    pub async fn expire(&self) -> Result<usize, UploadError> {
        let (settings, now) = (&self.inner.settings, self.inner.clock.now());
        let mut expired = 0;
        for record in self.inner.disk.records().await? {
            if record.expire_time(settings.retention) <= now {
                self.inner.disk.remove(record.upload_id).await?;
                expired += 1;
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
            for folder in &listing.folders {
                let Some(upload_id) = upload_id(folder) else { continue };
                let Some(record) = uploads.find(upload_id).await? else { continue };
                if record.expire_time(settings.retention) > now {
                    continue;
                }
                let (finished, _) = uploads.progress(&record).await?;
                if finished.is_none() {
                    uploads.give_up(&record, "it was not finished in time").await;
                    expired += 1;
                }
            }
            match listing.folders.last() {
                Some(last) if listing.more => start_after = Some(last.clone()),
                _ => return Ok(expired),
            }
        }
    }
}

fn upload_id(folder: &str) -> Option<Uuid> {
    folder.strip_prefix(&layout::uploads_prefix())?.strip_suffix('/')?.parse().ok()
}

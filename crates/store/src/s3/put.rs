//! Putting objects: one conditional request, verified by S3.

use std::{future::Future, pin::pin, sync::atomic::Ordering, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio::time::timeout;

use super::{
    super::{ObjectKey, Payload, PutOutcome},
    S3Store,
    body::{PiecewiseBody, SentBytes},
    failure::Failure,
    hedge::{Attempt, RequestClass},
    operation_timed_out,
};

/// The slowest supported connection: half a megabit per second.
const MIN_BYTES_PER_SECOND: u64 = 64 * 1024;

/// The number of bytes that the kernel may buffer: Linux's largest socket buffer (`net.ipv4.tcp_wmem`). The
/// upload shows no progress while a slow connection drains it.
const SOCKET_BUFFER_BYTES: u64 = 4 * 1024 * 1024;

impl S3Store {
    pub(super) async fn put(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, Failure> {
        let class = RequestClass::of_put(key, &payload);
        self.hedged(class, |attempt| {
            let progress = payload.progress.clone().filter(|_| attempt == Attempt::First);
            self.put_once(key, Payload { progress, ..payload.clone() })
        })
        .await
    }

    async fn put_once(&self, key: &ObjectKey, payload: Payload) -> Result<PutOutcome, Failure> {
        let size_bytes = payload.bytes.len() as u64;
        let sent_bytes = SentBytes::default();
        let mut request = self
            .client
            .put_object()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(key.as_str()))
            .if_none_match("*")
            .checksum_sha256(BASE64.encode(payload.sha256.as_bytes()))
            .content_length(i64::try_from(size_bytes).unwrap_or(i64::MAX))
            .content_type(&payload.media_type)
            // Cheap: the bytes are shared.
            .body(PiecewiseBody::new(&payload, sent_bytes.clone()).into());
        let (algorithm, key_id) = self.settings.server_side_encryption.to_headers();
        let (lock_mode, lock_until) = self.lock(key).unzip();
        request = request
            .set_server_side_encryption(algorithm)
            .set_ssekms_key_id(key_id)
            .set_object_lock_mode(lock_mode)
            .set_object_lock_retain_until_date(lock_until);
        // On the heap, as in `bounded_read`.
        let attempt = Box::pin(request.send());
        let response = self.watched_upload(attempt, &sent_bytes, size_bytes).await?;
        match response.map_err(Failure::from) {
            Ok(_) => Ok(PutOutcome::Created),
            Err(failure) if failure.status == Some(412) => Ok(PutOutcome::Exists),
            Err(failure) => Err(failure.of_bucket()),
        }
    }

    /// Applies the permit to an upload, and waits while it makes progress.
    pub(super) async fn bounded_upload<T>(
        &self,
        upload: impl Future<Output = T>,
        sent_bytes: &SentBytes,
        size_bytes: u64,
    ) -> Result<T, Failure> {
        let _permit = self.permit().await;
        self.watched_upload(upload, sent_bytes, size_bytes).await
    }

    /// Waits for an upload while it makes progress.
    async fn watched_upload<T>(
        &self,
        upload: impl Future<Output = T>,
        sent_bytes: &SentBytes,
        size_bytes: u64,
    ) -> Result<T, Failure> {
        let total_timeout = self.settings.operation_timeout + max_transfer_time(size_bytes);
        let stall_timeout =
            self.settings.read_timeout + max_transfer_time(size_bytes.min(SOCKET_BUFFER_BYTES));
        let watched = async {
            let mut upload = pin!(upload);
            let mut seen_bytes = 0;
            loop {
                if let Ok(response) = timeout(stall_timeout, &mut upload).await {
                    return Ok(response);
                }
                let now_bytes = sent_bytes.load(Ordering::Relaxed);
                if now_bytes == seen_bytes {
                    return Err(Failure::timed_out(format!(
                        "no progress for {stall_timeout:?}, {now_bytes} of {size_bytes} bytes sent"
                    )));
                }
                seen_bytes = now_bytes;
            }
        };
        timeout(total_timeout, watched)
            .await
            .unwrap_or_else(|_| Err(operation_timed_out(total_timeout)))
    }
}

/// The transfer time on the slowest supported connection.
pub(super) fn max_transfer_time(size_bytes: u64) -> Duration {
    Duration::from_secs(size_bytes / MIN_BYTES_PER_SECOND)
}

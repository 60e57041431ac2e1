//! Putting objects: one request, on condition that the key holds nothing, checked by S3.

use std::{future::Future, pin::pin, sync::atomic::Ordering, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio::time::timeout;

use super::{
    super::{ObjectKey, Payload, PutOutcome},
    S3Store,
    body::{PayloadInterceptor, SentBytes},
    failure::Failure,
    took_too_long,
};

/// The slowest line that is served: half a megabit a second.
const SLOWEST_BYTES_A_SECOND: u64 = 64 * 1024;

/// What the kernel may hold of an upload after the connection has taken it: Linux's largest socket
/// buffer (`net.ipv4.tcp_wmem`). Nothing seems to move while a slow line empties it.
const SOCKET_BUFFER_BYTES: u64 = 4 * 1024 * 1024;

impl S3Store {
    pub(super) async fn put(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, Failure> {
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
            // Cheap: both share the bytes. The interceptor sends them.
            .body(payload.bytes.clone().into());
        let (algorithm, key_id) = self.settings.server_side_encryption.to_headers();
        let (lock_mode, lock_until) = self.lock(key).unzip();
        request = request
            .set_server_side_encryption(algorithm)
            .set_ssekms_key_id(key_id)
            .set_object_lock_mode(lock_mode)
            .set_object_lock_retain_until_date(lock_until);
        let attempt = request
            .customize()
            .interceptor(PayloadInterceptor::new(payload, sent_bytes.clone()))
            .send();
        let answer = self.bounded_upload(attempt, &sent_bytes, size_bytes).await?;
        match answer.map_err(Failure::from) {
            Ok(_) => Ok(PutOutcome::Created),
            Err(failure) if failure.status == Some(412) => Ok(PutOutcome::Exists),
            Err(failure) => Err(failure.of_bucket()),
        }
    }

    /// Waits for an upload as long as it moves.
    pub(super) async fn bounded_upload<T>(
        &self,
        upload: impl Future<Output = T>,
        sent_bytes: &SentBytes,
        size_bytes: u64,
    ) -> Result<T, Failure> {
        let _place = self.place().await;
        let in_all = self.settings.operation_timeout + time_on_slowest_line(size_bytes);
        let still =
            self.settings.read_timeout + time_on_slowest_line(size_bytes.min(SOCKET_BUFFER_BYTES));
        let moving = async {
            let mut upload = pin!(upload);
            let mut seen_bytes = 0;
            loop {
                if let Ok(answer) = timeout(still, &mut upload).await {
                    return Ok(answer);
                }
                let now_bytes = sent_bytes.load(Ordering::Relaxed);
                if now_bytes == seen_bytes {
                    return Err(Failure::timed_out(format!(
                        "nothing moved for {still:?}, {now_bytes} of {size_bytes} bytes were sent"
                    )));
                }
                seen_bytes = now_bytes;
            }
        };
        timeout(in_all, moving).await.unwrap_or_else(|_| Err(took_too_long(in_all)))
    }
}

/// How long so many bytes take on the slowest line.
pub(super) fn time_on_slowest_line(size_bytes: u64) -> Duration {
    Duration::from_secs(size_bytes / SLOWEST_BYTES_A_SECOND)
}

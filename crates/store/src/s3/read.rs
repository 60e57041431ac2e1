//! Looking up and reading objects.

use std::time::Duration;

use aws_sdk_s3::{
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    primitives::{ByteStream, DateTime as SdkDateTime},
    types::{ChecksumMode, ChecksumType},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tara_export_digest::{Crc64Nvme, Sha256};
use tokio::time::{Instant, timeout};

use super::{
    super::{Object, ObjectInfo, ObjectKey, Store as _, StoreError, StoreErrorKind},
    S3Store,
    failure::{Failure, chain},
    hedge::{Answer, RequestClass},
    put::max_transfer_time,
};

/// The maximum piece size.
const PIECE_BYTES: usize = 1024 * 1024;

/// The number of downloads that may share one connection's bandwidth.
const CONCURRENT_DOWNLOADS: u32 = 8;

impl Answer for HeadObjectOutput {}

impl Answer for GetObjectOutput {}

impl S3Store {
    /// Size and digest. The response to a HEAD has no body and so no error code: a missing bucket looks like a
    /// missing object, and without the right to list the bucket, S3 returns 403 for a missing object. With a
    /// KMS key, S3 returns the digest only to callers with the right to decrypt.
    pub(super) async fn look_up(&self, key: &ObjectKey) -> Result<ObjectInfo, Failure> {
        let request = || {
            self.client
                .head_object()
                .bucket(&self.settings.bucket)
                .set_expected_bucket_owner(self.owner())
                .key(self.full_key(key.as_str()))
                .checksum_mode(ChecksumMode::Enabled)
                .send()
        };
        let response = self.bounded_read(RequestClass::Head, request).await?;
        require_object(response.e_tag())?;
        Ok(ObjectInfo {
            size_bytes: size(response.content_length())?,
            sha256: object_digest(response.checksum_sha256(), response.checksum_type()),
            crc64nvme: object_crc(response.checksum_crc64_nvme()),
            modified_time: response.last_modified().and_then(time),
        })
    }

    /// An object's bytes. The SDK verifies them against the checksum that S3 keeps, and ends the stream with an
    /// error if they differ.
    pub(super) async fn read(&self, key: &ObjectKey) -> Result<Object, Failure> {
        let request = || {
            self.client
                .get_object()
                .bucket(&self.settings.bucket)
                .set_expected_bucket_owner(self.owner())
                .key(self.full_key(key.as_str()))
                .checksum_mode(ChecksumMode::Enabled)
                .send()
        };
        let response = self.bounded_read(RequestClass::Get, request).await?;
        require_object(response.e_tag())?;
        let info = ObjectInfo {
            size_bytes: size(response.content_length())?,
            sha256: object_digest(response.checksum_sha256(), response.checksum_type()),
            crc64nvme: object_crc(response.checksum_crc64_nvme()),
            modified_time: response.last_modified().and_then(time),
        };
        let body = self.body(response.body, info.size_bytes, self.location(key.as_str()));
        Ok(Object { info, body })
    }

    /// A stream of exactly `size_bytes` bytes of a response.
    pub(super) fn body(
        &self,
        source: ByteStream,
        size_bytes: u64,
        location: String,
    ) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let reader = Reader {
            source,
            rest: Bytes::new(),
            remaining_bytes: size_bytes,
            read_timeout: self.settings.read_timeout,
            remaining_timeout: self.settings.operation_timeout
                + max_transfer_time(size_bytes) * CONCURRENT_DOWNLOADS,
            location,
        };
        stream::try_unfold(reader, Reader::next).boxed()
    }
}

/// Fails if a response has no ETag. Every object has one, so a response with status 200 and without ETag is an
/// error, which must not be mistaken for a foreign object.
pub(super) fn require_object(e_tag: Option<&str>) -> Result<(), Failure> {
    match e_tag {
        Some(_) => Ok(()),
        None => Err(Failure::broken_response("the response has status 200 but no object")),
    }
}

struct Reader {
    source: ByteStream,
    /// Received bytes that exceed the maximum piece size.
    rest: Bytes,
    remaining_bytes: u64,
    /// The timeout between received bytes.
    read_timeout: Duration,
    /// The remaining total time to wait for the connection, excluding time spent by the reader.
    remaining_timeout: Duration,
    location: String,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        while self.rest.is_empty() {
            let since = Instant::now();
            let next =
                timeout(self.read_timeout.min(self.remaining_timeout), self.source.next()).await;
            self.remaining_timeout = self.remaining_timeout.saturating_sub(since.elapsed());
            match next {
                Ok(Some(Ok(bytes))) => self.rest = bytes,
                // The SDK and hyper detect most truncated responses; this check detects the others.
                Ok(None) if self.remaining_bytes == 0 => return Ok(None),
                Ok(None) => return Err(self.broken("the response ended early", None)),
                Ok(Some(Err(error))) if is_checksum_mismatch(&error) => {
                    let message = format!("cannot read {}: checksum mismatch", self.location);
                    return Err(StoreError::new(StoreErrorKind::Corrupt, message)
                        .with_source(chain(&error)));
                }
                Ok(Some(Err(error))) => {
                    return Err(self.broken("the response was cut off", Some(chain(&error))));
                }
                Err(_) => {
                    let reason = match self.remaining_timeout.is_zero() {
                        true => "the response is too slow".to_owned(),
                        false => format!("no bytes received for {:?}", self.read_timeout),
                    };
                    return Err(self.broken(&reason, None));
                }
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let Some(remaining_bytes) = self.remaining_bytes.checked_sub(piece.len() as u64) else {
            return Err(self.broken("the response exceeds its content length", None));
        };
        self.remaining_bytes = remaining_bytes;
        Ok(Some((piece, self)))
    }

    fn broken(&self, reason: &str, source: Option<String>) -> StoreError {
        let message = format!(
            "cannot read {}: {reason}, with {} bytes remaining",
            self.location, self.remaining_bytes
        );
        let error = StoreError::new(StoreErrorKind::Unavailable, message);
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// Whether the SDK found that a body does not match its checksum.
fn is_checksum_mismatch(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut errors = std::iter::successors(Some(error), |error| error.source());
    errors.any(|error| error.is::<aws_smithy_checksums::body::validate::Error>())
}

pub(super) fn size(content_length: Option<i64>) -> Result<u64, Failure> {
    content_length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| Failure::broken_response("the response has no content length"))
}

/// The digest of the complete object. For an object that was put in parts, S3 keeps only a digest of the parts'
/// digests, `…-7` for seven parts, which is ignored.
pub(super) fn object_digest(
    checksum: Option<&str>,
    checksum_type: Option<&ChecksumType>,
) -> Option<Sha256> {
    if checksum_type == Some(&ChecksumType::Composite) {
        return None;
    }
    let bytes = BASE64.decode(checksum?).ok()?;
    Some(Sha256::from_bytes(bytes.try_into().ok()?))
}

/// The CRC-64/NVME, which always covers the complete object (Amazon S3 User Guide, "Checking object integrity").
pub(super) fn object_crc(checksum: Option<&str>) -> Option<Crc64Nvme> {
    checksum?.parse().ok()
}

/// Whether S3 refuses to read an object, according to the response to a HEAD. A restored copy stays readable for the
/// days that the restore requested (Amazon S3 User Guide, "Working with archived objects").
pub(super) fn is_archived(
    storage_class: Option<&str>,
    has_archive_status: bool,
    restore: Option<&str>,
) -> bool {
    let is_restored = restore.is_some_and(|text| text.contains("ongoing-request=\"false\""));
    // Objects of Intelligent-Tiering have an archive status only while they are in one of its archive tiers.
    let is_archive_class = matches!(storage_class, Some("GLACIER" | "DEEP_ARCHIVE"));
    has_archive_status || (is_archive_class && !is_restored)
}

pub(super) fn time(time: &SdkDateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_objects_are_recognized_by_their_head() {
        let ongoing = Some("ongoing-request=\"true\"");
        let restored =
            Some("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2026 00:00:00 GMT\"");
        for (class, has_status, restore, archived) in [
            (None, false, None, false),
            (Some("STANDARD_IA"), false, None, false),
            (Some("GLACIER_IR"), false, None, false),
            (Some("GLACIER"), false, None, true),
            (Some("GLACIER"), false, ongoing, true),
            (Some("GLACIER"), false, restored, false),
            (Some("DEEP_ARCHIVE"), false, None, true),
            (Some("DEEP_ARCHIVE"), false, restored, false),
            (Some("INTELLIGENT_TIERING"), false, None, false),
            (Some("INTELLIGENT_TIERING"), true, None, true),
        ] {
            let is_archived = is_archived(class, has_status, restore);
            assert_eq!(is_archived, archived, "{class:?} {has_status} {restore:?}");
        }
    }

    #[test]
    fn composite_digests_are_ignored() {
        let digest = Sha256::of(b"abc");
        let text = BASE64.encode(digest.as_bytes());
        assert_eq!(object_digest(Some(&text), None), Some(digest));
        assert_eq!(object_digest(Some(&text), Some(&ChecksumType::FullObject)), Some(digest));
        assert_eq!(object_digest(Some(&text), Some(&ChecksumType::Composite)), None);
        assert_eq!(object_digest(Some(&format!("{text}-2")), None), None);
        assert_eq!(object_digest(Some("YWJj"), None), None);
        assert_eq!(object_digest(None, None), None);
    }
}

//! Looking objects up and reading them.

use std::time::Duration;

use aws_sdk_s3::{
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
use tokio::time::{Instant, timeout};

use super::{
    super::{Object, ObjectInfo, ObjectKey, Store as _, StoreError, StoreErrorKind},
    S3Store,
    failure::{Failure, chain},
    put::time_on_slowest_line,
};
use crate::digest::{Crc64Nvme, Sha256};

/// The largest piece handed out.
const PIECE_BYTES: usize = 1024 * 1024;

/// Many downloads may share the line that one upload has for itself.
const SHARES_OF_SLOWEST_LINE: u32 = 8;

impl S3Store {
    /// Size and digest. A HEAD's answer has no body and so no error code: a missing bucket looks
    /// like a missing object, and S3 answers 403 for a missing object to those who may not list the
    /// bucket. With a KMS key, S3 tells the digest only to those who may decrypt.
    pub(super) async fn look_up(&self, key: &ObjectKey) -> Result<ObjectInfo, Failure> {
        let request = self
            .client
            .head_object()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(key.as_str()))
            .checksum_mode(ChecksumMode::Enabled)
            .send();
        let answer = self.bounded(request).await?;
        require_object(answer.e_tag())?;
        Ok(ObjectInfo {
            size_bytes: size(answer.content_length())?,
            sha256: whole_digest(answer.checksum_sha256(), answer.checksum_type()),
            crc64nvme: whole_crc(answer.checksum_crc64_nvme()),
            modified_time: answer.last_modified().and_then(time),
        })
    }

    /// An object's bytes. The SDK compares them with the checksum that S3 keeps, and ends the
    /// stream with an error where they differ.
    pub(super) async fn read(&self, key: &ObjectKey) -> Result<Object, Failure> {
        let request = self
            .client
            .get_object()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(key.as_str()))
            .checksum_mode(ChecksumMode::Enabled)
            .send();
        let answer = self.bounded(request).await?;
        require_object(answer.e_tag())?;
        let info = ObjectInfo {
            size_bytes: size(answer.content_length())?,
            sha256: whole_digest(answer.checksum_sha256(), answer.checksum_type()),
            crc64nvme: whole_crc(answer.checksum_crc64_nvme()),
            modified_time: answer.last_modified().and_then(time),
        };
        let body = self.body(answer.body, info.size_bytes, self.location(key.as_str()));
        Ok(Object { info, body })
    }

    /// An answer's bytes, so many of them.
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
            patience: self.settings.operation_timeout
                + time_on_slowest_line(size_bytes) * SHARES_OF_SLOWEST_LINE,
            location,
        };
        stream::try_unfold(reader, Reader::next).boxed()
    }
}

/// Every object has an ETag. What comes with status 200 and without one is an error in an object's place,
/// and must not be taken for somebody's object.
pub(super) fn require_object(e_tag: Option<&str>) -> Result<(), Failure> {
    match e_tag {
        Some(_) => Ok(()),
        None => Err(Failure::broken_answer("the answer has status 200 and is no object")),
    }
}

struct Reader {
    source: ByteStream,
    /// What the connection gave beyond the largest piece.
    rest: Bytes,
    remaining_bytes: u64,
    /// How long no byte may come.
    read_timeout: Duration,
    /// How much longer the connection may be waited for in all; what the reader takes does not count.
    patience: Duration,
    location: String,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        while self.rest.is_empty() {
            let since = Instant::now();
            let next = timeout(self.read_timeout.min(self.patience), self.source.next()).await;
            self.patience = self.patience.saturating_sub(since.elapsed());
            match next {
                Ok(Some(Ok(bytes))) => self.rest = bytes,
                // The SDK and hyper notice most truncated answers; here are the others.
                Ok(None) if self.remaining_bytes == 0 => return Ok(None),
                Ok(None) => return Err(self.broken("the answer ended early", None)),
                Ok(Some(Err(error))) if has_other_checksum(&error) => {
                    let message =
                        format!("{} hasn't the checksum that S3 keeps of it", self.location);
                    return Err(StoreError::new(StoreErrorKind::Corrupt, message)
                        .with_source(chain(&error)));
                }
                Ok(Some(Err(error))) => {
                    return Err(self.broken("the answer broke off", Some(chain(&error))));
                }
                Err(_) => {
                    let what = match self.patience.is_zero() {
                        true => "the answer comes too slowly".to_owned(),
                        false => format!("no byte came for {:?}", self.read_timeout),
                    };
                    return Err(self.broken(&what, None));
                }
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let Some(remaining_bytes) = self.remaining_bytes.checked_sub(piece.len() as u64) else {
            return Err(self.broken("the answer is longer than it said", None));
        };
        self.remaining_bytes = remaining_bytes;
        Ok(Some((piece, self)))
    }

    fn broken(&self, what: &str, cause: Option<String>) -> StoreError {
        let message = format!(
            "could not read {}: {what}, with {} bytes to come",
            self.location, self.remaining_bytes
        );
        let error = StoreError::new(StoreErrorKind::Unavailable, message);
        match cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

/// Whether the SDK held a body against the checksum that came with it, and found another.
fn has_other_checksum(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| cause.is::<aws_smithy_checksums::body::validate::Error>())
}

pub(super) fn size(content_length: Option<i64>) -> Result<u64, Failure> {
    content_length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| Failure::broken_answer("the answer doesn't tell the object's size"))
}

/// The digest of the whole object. Of an object that was put in parts S3 keeps a digest of the
/// parts' digests, `…-7` for seven parts, which says nothing here.
pub(super) fn whole_digest(
    checksum: Option<&str>,
    checksum_type: Option<&ChecksumType>,
) -> Option<Sha256> {
    if checksum_type == Some(&ChecksumType::Composite) {
        return None;
    }
    let bytes = BASE64.decode(checksum?).ok()?;
    Some(Sha256::from_bytes(bytes.try_into().ok()?))
}

/// CRC-64/NVME is always of the whole object (Amazon S3 User Guide, "Checking object integrity").
pub(super) fn whole_crc(checksum: Option<&str>) -> Option<Crc64Nvme> {
    checksum?.parse().ok()
}

pub(super) fn time(time: &SdkDateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_digest_of_the_whole_object_counts() {
        let digest = Sha256::of(b"abc");
        let text = BASE64.encode(digest.as_bytes());
        assert_eq!(whole_digest(Some(&text), None), Some(digest));
        assert_eq!(whole_digest(Some(&text), Some(&ChecksumType::FullObject)), Some(digest));
        assert_eq!(whole_digest(Some(&text), Some(&ChecksumType::Composite)), None);
        assert_eq!(whole_digest(Some(&format!("{text}-2")), None), None);
        assert_eq!(whole_digest(Some("YWJj"), None), None);
        assert_eq!(whole_digest(None, None), None);
    }
}

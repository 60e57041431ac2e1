//! Multipart uploads and copies inside S3.

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    StorageClass,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tara_export_digest::{ContentChecksums, Crc64Nvme};

use super::{
    super::{
        MAX_PARTS, Object, ObjectChecksum, ObjectInfo, ObjectKey, Part, PartStore, PartUpload,
        PutOutcome, SourceLocation, SourceObject, Store as _, StoreError, StoreErrorKind,
        StoredPart,
    },
    S3Store,
    body::{PiecewiseBody, SentBytes},
    failure::Failure,
    read::{is_archived, object_crc, object_digest, require_object, size, time},
};

/// The characters to escape in a copy's source header: all but RFC 3986's unreserved characters and slashes.
const COPY_SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The maximum length of an upload id, version id or ETag.
const NAME_LIMIT_BYTES: usize = 1_024;

#[async_trait]
impl PartStore for S3Store {
    async fn begin(
        &self,
        key: &ObjectKey,
        media_type: &str,
        checksum: ObjectChecksum,
    ) -> Result<PartUpload, StoreError> {
        let has_crc = checksum == ObjectChecksum::Crc64Nvme;
        let (algorithm, key_id) = self.settings.server_side_encryption.to_headers();
        let (lock_mode, lock_until) = self.lock(key).unzip();
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(key.as_str()))
            .content_type(media_type)
            // The only checksum that S3 keeps of the complete object for all kinds of puts. Parts must
            // use the same algorithm.
            .set_checksum_algorithm(has_crc.then_some(ChecksumAlgorithm::Crc64Nvme))
            .set_checksum_type(has_crc.then_some(ChecksumType::FullObject))
            .set_server_side_encryption(algorithm)
            .set_ssekms_key_id(key_id)
            .set_object_lock_mode(lock_mode)
            .set_object_lock_retain_until_date(lock_until)
            .send();
        let begin = async {
            let response = self.bounded(request).await.map_err(Failure::of_bucket)?;
            let upload_id = response
                .upload_id
                .ok_or_else(|| Failure::broken_response("the response has no upload id"))?;
            check_length("upload id", upload_id)
        };
        let upload_id = begin
            .await
            .map_err(|failure| self.failed(failure, "start the multipart upload of", key))?;
        Ok(PartUpload { key: key.clone(), upload_id, checksum })
    }

    async fn put_part(&self, upload: &PartUpload, part: Part) -> Result<StoredPart, StoreError> {
        let size_bytes = part.content.size_bytes();
        let sent_bytes = SentBytes::default();
        let body = PiecewiseBody::of_segments(part.content, sent_bytes.clone(), part.progress);
        let request = self
            .client
            .upload_part()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(upload.key.as_str()))
            .upload_id(&upload.upload_id)
            .part_number(number(part.number))
            .content_length(i64::try_from(size_bytes).unwrap_or(i64::MAX))
            .checksum_crc64_nvme(part.crc64nvme.to_string())
            // A streamed body, so that the SDK does not hash it for the signature, which would take
            // longer than sending it. The header with the checksum is signed.
            .body(body.into())
            .send();
        let put = async {
            let response = self.bounded_upload(request, &sent_bytes, size_bytes).await?;
            let e_tag = response.map_err(Failure::from)?.e_tag;
            stored_part(part.number, e_tag, Some(part.crc64nvme))
        };
        put.await.map_err(|failure| self.failed(failure, "store a part of", &upload.key))
    }

    async fn copy_part(
        &self,
        upload: &PartUpload,
        part_number: u32,
        source: &SourceObject,
        range: Range<u64>,
    ) -> Result<StoredPart, StoreError> {
        let SourceLocation { bucket, key, version_id } = &source.location;
        let mut from = utf8_percent_encode(&format!("{bucket}/{key}"), COPY_SOURCE).to_string();
        if let Some(version_id) = version_id {
            from.push_str("?versionId=");
            from.extend(utf8_percent_encode(version_id, COPY_SOURCE));
        }
        let request = self
            .client
            .upload_part_copy()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(upload.key.as_str()))
            .upload_id(&upload.upload_id)
            .part_number(number(part_number))
            .copy_source(from)
            .set_expected_source_bucket_owner(self.owner_of(bucket))
            .copy_source_if_match(&source.e_tag)
            .copy_source_range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            .send();
        let copy = async {
            let response = self.bounded_work(request).await?;
            // S3 may send status 200 long before the copy is complete; only the result confirms it.
            let result = response.copy_part_result;
            let crc64nvme = result.as_ref().and_then(|part| object_crc(part.checksum_crc64_nvme()));
            stored_part(part_number, result.and_then(|part| part.e_tag), crc64nvme)
        };
        copy.await.map_err(|failure| failed_source(failure, "copy", source))
    }

    async fn stored_parts(&self, upload: &PartUpload) -> Result<Vec<StoredPart>, StoreError> {
        let failed = |failure| self.failed(failure, "list the parts of", &upload.key);
        let mut parts = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PARTS {
            let request = self
                .client
                .list_parts()
                .bucket(&self.settings.bucket)
                .set_expected_bucket_owner(self.owner())
                .key(self.full_key(upload.key.as_str()))
                .upload_id(&upload.upload_id)
                .set_part_number_marker(marker.clone())
                .send();
            let response = self.bounded(request).await.map_err(failed)?;
            for part in response.parts.unwrap_or_default() {
                let number = part.part_number.and_then(|number| u32::try_from(number).ok());
                let crc64nvme = object_crc(part.checksum_crc64_nvme());
                if let (Some(number), Some(e_tag)) = (number, part.e_tag) {
                    let e_tag = check_length("ETag", e_tag).map_err(failed)?;
                    parts.push(StoredPart { number, e_tag, crc64nvme });
                }
            }
            if parts.len() > MAX_PARTS as usize {
                return Err(failed(Failure::broken_response(
                    "the listing has more parts than an object can have",
                )));
            }
            match response.next_part_number_marker {
                Some(next)
                    if response.is_truncated == Some(true) && marker.as_ref() != Some(&next) =>
                {
                    marker = Some(next);
                }
                _ => {
                    parts.sort_by_key(|part| part.number);
                    return Ok(parts);
                }
            }
        }
        Err(failed(Failure::broken_response("the listing does not end")))
    }

    async fn complete_if_absent(
        &self,
        upload: &PartUpload,
        parts: &[StoredPart],
        expected: &ContentChecksums,
    ) -> Result<PutOutcome, StoreError> {
        let has_crc = upload.checksum == ObjectChecksum::Crc64Nvme;
        let completed = parts.iter().map(|part| {
            // MinIO requires the checksums of the parts; Amazon S3 does not.
            let crc64nvme = part.crc64nvme.filter(|_| has_crc);
            CompletedPart::builder()
                .part_number(number(part.number))
                .e_tag(&part.e_tag)
                .set_checksum_crc64_nvme(crc64nvme.map(|checksum| checksum.to_string()))
                .build()
        });
        let parts =
            CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(upload.key.as_str()))
            .upload_id(&upload.upload_id)
            .multipart_upload(parts)
            .set_checksum_crc64_nvme(has_crc.then(|| expected.crc64nvme.to_string()))
            .set_checksum_type(has_crc.then_some(ChecksumType::FullObject))
            .mpu_object_size(i64::try_from(expected.size_bytes).unwrap_or(i64::MAX))
            .if_none_match("*")
            .send();
        match self.bounded_work(request).await {
            // Status 200 without an ETag is an error.
            Ok(response) => {
                require_object(response.e_tag()).map(|()| PutOutcome::Created).map_err(|failure| {
                    self.failed(failure, "complete the multipart upload of", &upload.key)
                })
            }
            Err(failure) if failure.status == Some(412) => Ok(PutOutcome::Exists),
            Err(mut failure) => {
                // The stored parts differ from the sent ones: retrying does not help.
                if matches!(
                    failure.code.as_deref(),
                    Some("BadDigest" | "XAmzContentChecksumMismatch" | "InvalidPart")
                ) {
                    failure.kind = StoreErrorKind::Corrupt;
                }
                Err(self.failed(failure, "complete the multipart upload of", &upload.key))
            }
        }
    }

    async fn abort(&self, upload: &PartUpload) -> Result<(), StoreError> {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(upload.key.as_str()))
            .upload_id(&upload.upload_id)
            .send();
        match self.bounded(request).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.kind == StoreErrorKind::NotFound => Ok(()),
            Err(failure) => Err(self.failed(failure, "abort the multipart upload of", &upload.key)),
        }
    }

    async fn look_up_source(&self, location: &SourceLocation) -> Result<SourceObject, StoreError> {
        let request = self
            .client
            .head_object()
            .bucket(&location.bucket)
            .set_expected_bucket_owner(self.owner_of(&location.bucket))
            .key(&location.key)
            .set_version_id(location.version_id.clone())
            .checksum_mode(ChecksumMode::Enabled)
            .send();
        let lookup = async {
            let response = self.bounded(request).await?;
            require_object(response.e_tag())?;
            let info = ObjectInfo {
                size_bytes: size(response.content_length())?,
                sha256: object_digest(response.checksum_sha256(), response.checksum_type()),
                crc64nvme: object_crc(response.checksum_crc64_nvme()),
                modified_time: response.last_modified().and_then(time),
            };
            // Refused now, because the copy would fail later.
            if is_archived(
                response.storage_class().map(StorageClass::as_str),
                response.archive_status().is_some(),
                response.restore(),
            ) {
                return Err(Failure::archived());
            }
            // `null` is the version of an object that was put before versioning was enabled; a bucket
            // without versioning returns no version.
            let version_id = match (location.version_id.clone(), response.version_id) {
                (None, Some(version_id)) => Some(check_length("version id", version_id)?),
                (known, _) => known,
            };
            let location = SourceLocation { version_id, ..location.clone() };
            let e_tag = check_length("ETag", response.e_tag.unwrap_or_default())?;
            Ok(SourceObject { location, e_tag, info })
        };
        lookup
            .await
            .map_err(|failure: Failure| failure.into_store_error("look up", &location.to_string()))
    }

    fn source_location(&self, key: &ObjectKey) -> SourceLocation {
        SourceLocation {
            bucket: self.settings.bucket.clone(),
            key: self.full_key(key.as_str()),
            version_id: None,
        }
    }

    async fn read_source(&self, source: &SourceObject) -> Result<Object, StoreError> {
        let SourceLocation { bucket, key, version_id } = &source.location;
        let request = self
            .client
            .get_object()
            .bucket(bucket)
            .set_expected_bucket_owner(self.owner_of(bucket))
            .key(key)
            .set_version_id(version_id.clone())
            .if_match(&source.e_tag)
            .checksum_mode(ChecksumMode::Enabled)
            .send();
        let open = async {
            let response = self.bounded(request).await?;
            require_object(response.e_tag())?;
            Ok((size(response.content_length())?, response.body))
        };
        let (size_bytes, body) =
            open.await.map_err(|failure: Failure| failed_source(failure, "read", source))?;
        let body = self.body(body, size_bytes, source.location.to_string());
        Ok(Object { info: ObjectInfo { size_bytes, ..source.info.clone() }, body })
    }
}

impl S3Store {
    fn failed(&self, failure: Failure, action: &str, key: &ObjectKey) -> StoreError {
        failure.into_store_error(action, &self.location(key.as_str()))
    }
}

/// Classifies a failed condition on a pinned source: the source was replaced or removed.
fn failed_source(mut failure: Failure, action: &str, source: &SourceObject) -> StoreError {
    let is_gone =
        failure.kind == StoreErrorKind::NotFound && failure.code.as_deref() != Some("NoSuchUpload");
    if is_gone || failure.status == Some(412) {
        failure.kind = StoreErrorKind::Changed;
    }
    failure.into_store_error(action, &source.location.to_string())
}

fn stored_part(
    number: u32,
    e_tag: Option<String>,
    crc64nvme: Option<Crc64Nvme>,
) -> Result<StoredPart, Failure> {
    let e_tag =
        e_tag.ok_or_else(|| Failure::broken_response("the response has status 200 but no part"))?;
    Ok(StoredPart { number, e_tag: check_length("ETag", e_tag)?, crc64nvme })
}

/// Limits the length of a name from S3, which is kept in memory and in records. Those of Amazon S3 have at most a
/// few hundred bytes.
fn check_length(kind: &str, name: String) -> Result<String, Failure> {
    match name.len() {
        ..=NAME_LIMIT_BYTES => Ok(name),
        bytes => Err(Failure::broken_response(format!("the {kind} has {bytes} bytes"))),
    }
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

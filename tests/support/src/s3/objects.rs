//! Puts, gets and deletes objects.

use std::time::SystemTime;

use bytes::Bytes;
use s3s::{Body, S3Request, S3Result, dto::*, s3_error};

use crate::{
    body::ClaimedBody,
    bucket::{Attributes, Bucket, StoredObject, WriteCondition, precondition_failed},
    checksums::{StoredChecksum, checksum_fields, etag_digest, set_checksum},
    state::Shared,
};

/// Reads an object's attributes from the request that creates it.
macro_rules! attributes {
    ($input:expr) => {
        crate::bucket::Attributes {
            content_type: $input.content_type.clone(),
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $input.content_encoding.clone(),
            metadata: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
            encryption: crate::bucket::Encryption {
                algorithm: $input
                    .server_side_encryption
                    .as_ref()
                    .map(|algorithm| algorithm.as_str().to_owned()),
                kms_key_id: $input.ssekms_key_id.clone(),
                bucket_key_enabled: $input.bucket_key_enabled,
            },
        }
    };
}

/// Returns the requested encryption.
macro_rules! set_encryption {
    ($output:expr, $encryption:expr) => {
        let encryption: &crate::bucket::Encryption = $encryption;
        $output.server_side_encryption =
            encryption.algorithm.clone().map(s3s::dto::ServerSideEncryption::from);
        $output.ssekms_key_id = encryption.kms_key_id.clone();
        $output.bucket_key_enabled = encryption.bucket_key_enabled;
    };
}

/// Refuses what such a bucket refuses in S3, and what this server does not support but must not
/// ignore.
macro_rules! refuse_unsupported {
    ($shared:expr, $input:expr) => {
        if $input.sse_customer_algorithm.is_some() {
            return Err(s3s::s3_error!(NotImplemented, "no encryption with the client's own keys"));
        }
        let asks_for_lock =
            $input.object_lock_mode.is_some() || $input.object_lock_legal_hold_status.is_some();
        if asks_for_lock && !$shared.options.object_lock {
            return Err(s3s::s3_error!(
                InvalidRequest,
                "Bucket is missing Object Lock Configuration"
            ));
        }
    };
}

pub(super) use {attributes, refuse_unsupported, set_encryption};

/// The object that a single put stores.
pub(crate) fn stored(
    bytes: Bytes,
    checksum: Option<StoredChecksum>,
    attributes: Attributes,
    modified_time: SystemTime,
) -> StoredObject {
    let etag = hex::encode(etag_digest(&bytes));
    StoredObject { bytes, etag, checksum, attributes, modified_time }
}

impl Shared {
    /// The condition of a write; always true if this server ignores conditions.
    pub(super) fn write_condition(
        &self,
        if_match: Option<IfMatch>,
        if_none_match: Option<IfNoneMatch>,
    ) -> S3Result<WriteCondition> {
        if self.options.ignore_conditions {
            return Ok(WriteCondition::Always);
        }
        WriteCondition::new(if_match, if_none_match)
    }
}

pub(super) async fn put(
    shared: &Shared,
    request: S3Request<PutObjectInput>,
) -> S3Result<PutObjectOutput> {
    let S3Request { input, trailing_headers, .. } = request;
    refuse_unsupported!(shared, input);
    let condition = shared.write_condition(input.if_match.clone(), input.if_none_match.clone())?;
    let attributes = attributes!(input);
    let body = ClaimedBody {
        checksums: checksum_fields!(input),
        stream: input.body,
        content_md5: input.content_md5,
        algorithm: input.checksum_algorithm,
        trailers: trailing_headers,
    };
    let body = body.verify(shared.options.ignore_checksums).await?;
    let object = StoredObject {
        bytes: body.bytes,
        etag: hex::encode(body.digest),
        checksum: body.checksum,
        attributes,
        modified_time: shared.clock.system_time(),
    };
    let mut output = PutObjectOutput { e_tag: Some(object.e_tag()), ..Default::default() };
    set_checksum!(output, object.checksum.as_ref());
    output.checksum_type = object.checksum_type();
    set_encryption!(output, &object.attributes.encryption);
    shared.with_bucket(&input.bucket, |bucket| {
        condition.check(bucket.objects.get(&input.key))?;
        bucket.objects.insert(input.key, object);
        Ok(())
    })?;
    Ok(output)
}

pub(super) fn get(shared: &Shared, input: GetObjectInput) -> S3Result<GetObjectOutput> {
    if input.part_number.is_some() {
        return Err(s3_error!(NotImplemented, "no reading by part number"));
    }
    check_version(input.version_id.as_deref())?;
    shared.with_bucket(&input.bucket, |bucket| bucket.readable(&input.key).map(|_| ()))?;
    let object = read(shared, &input.bucket, &input.key, &input.if_match, &input.if_none_match)?;
    let total = object.bytes.len() as u64;
    let mut output = GetObjectOutput::default();
    let bytes = match input.range {
        Some(range) => {
            let span = range.check(total)?;
            // An empty object has no last byte; S3 refuses every range of it.
            let Some(last) = span.end.checked_sub(1) else { return Err(s3_error!(InvalidRange)) };
            output.content_range = Some(format!("bytes {}-{last}/{total}", span.start));
            // Both ends are at most the length of the bytes in memory.
            object.bytes.slice(span.start as usize..span.end as usize)
        }
        None => object.bytes.clone(),
    };
    // S3 returns the object's checksum only with the complete object.
    if wants_checksum(input.checksum_mode.as_ref()) && output.content_range.is_none() {
        set_checksum!(output, object.checksum.as_ref());
        output.checksum_type = object.checksum_type();
    }
    output.content_length = Some(bytes.len() as i64);
    output.body = Some(StreamingBlob::from(Body::from(bytes)));
    output.accept_ranges = Some("bytes".to_owned());
    output.e_tag = Some(object.e_tag());
    output.last_modified = Some(object.modified_time.into());
    set_encryption!(output, &object.attributes.encryption);
    let attributes = object.attributes;
    output.content_type = input.response_content_type.or(attributes.content_type);
    output.cache_control = attributes.cache_control;
    output.content_disposition =
        input.response_content_disposition.or(attributes.content_disposition);
    output.content_encoding = attributes.content_encoding;
    output.metadata = Some(attributes.metadata.into_iter().collect());
    Ok(output)
}

pub(super) fn head(shared: &Shared, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
    if input.part_number.is_some() || input.range.is_some() {
        return Err(s3_error!(NotImplemented, "no head of a part or a range"));
    }
    check_version(input.version_id.as_deref())?;
    let object = read(shared, &input.bucket, &input.key, &input.if_match, &input.if_none_match)?;
    let mut output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(object.bytes.len() as i64),
        e_tag: Some(object.e_tag()),
        last_modified: Some(object.modified_time.into()),
        ..Default::default()
    };
    if shared.with_bucket(&input.bucket, |bucket| Ok(bucket.archived.contains(&input.key)))? {
        output.storage_class = Some(StorageClass::from_static(StorageClass::GLACIER));
    }
    if wants_checksum(input.checksum_mode.as_ref()) {
        set_checksum!(output, object.checksum.as_ref());
        output.checksum_type = object.checksum_type();
    }
    set_encryption!(output, &object.attributes.encryption);
    let attributes = object.attributes;
    output.content_type = attributes.content_type;
    output.cache_control = attributes.cache_control;
    output.content_disposition = attributes.content_disposition;
    output.content_encoding = attributes.content_encoding;
    output.metadata = Some(attributes.metadata.into_iter().collect());
    Ok(output)
}

pub(super) fn delete(shared: &Shared, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
    check_version(input.version_id.as_deref())?;
    let condition = shared.write_condition(input.if_match, None)?;
    shared.with_bucket(&input.bucket, |bucket| {
        condition.check(bucket.objects.get(&input.key))?;
        // Deleting a missing object succeeds, as in S3.
        bucket.objects.remove(&input.key);
        Ok(DeleteObjectOutput::default())
    })
}

pub(super) fn delete_many(
    shared: &Shared,
    input: DeleteObjectsInput,
) -> S3Result<DeleteObjectsOutput> {
    if input.delete.objects.len() > 1000 {
        return Err(s3_error!(MalformedXML, "more than 1000 keys"));
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    shared.with_bucket(&input.bucket, |bucket| {
        let mut output = DeleteObjectsOutput::default();
        for requested in input.delete.objects {
            match delete_one(bucket, &requested) {
                Ok(()) if quiet => {}
                Ok(()) => output
                    .deleted
                    .get_or_insert_default()
                    .push(DeletedObject { key: Some(requested.key), ..Default::default() }),
                Err(error) => output.errors.get_or_insert_default().push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(requested.key),
                    version_id: requested.version_id,
                }),
            }
        }
        Ok(output)
    })
}

fn delete_one(bucket: &mut Bucket, requested: &ObjectIdentifier) -> S3Result<()> {
    check_version(requested.version_id.as_deref())?;
    if let Some(etag) = &requested.e_tag {
        WriteCondition::IfMatch(etag.clone()).check(bucket.objects.get(&requested.key))?;
    }
    bucket.objects.remove(&requested.key);
    Ok(())
}

/// Finds an object and checks the reader's conditions.
fn read(
    shared: &Shared,
    bucket: &str,
    key: &str,
    if_match: &Option<IfMatch>,
    if_none_match: &Option<IfNoneMatch>,
) -> S3Result<StoredObject> {
    // A clone does not copy the body.
    let object = shared.with_bucket(bucket, |bucket| bucket.object(key).cloned())?;
    check_read(&object, if_match, if_none_match, s3_error!(NotModified))?;
    Ok(object)
}

/// # Errors
/// PreconditionFailed if If-Match does not match, `unchanged` if If-None-Match does.
pub(super) fn check_read(
    object: &StoredObject,
    if_match: &Option<ETagCondition>,
    if_none_match: &Option<ETagCondition>,
    unchanged: s3s::S3Error,
) -> S3Result<()> {
    let etag = object.e_tag();
    if let Some(ETagCondition::ETag(requested)) = if_match
        && !requested.strong_cmp(&etag)
    {
        return Err(precondition_failed());
    }
    match if_none_match {
        Some(ETagCondition::Any) => Err(unchanged),
        Some(ETagCondition::ETag(known)) if known.weak_cmp(&etag) => Err(unchanged),
        _ => Ok(()),
    }
}

/// Buckets here have no versions; S3 names the only one `null`.
pub(super) fn check_version(version_id: Option<&str>) -> S3Result<()> {
    match version_id {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "The specified version does not exist.")),
    }
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

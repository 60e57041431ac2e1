//! Copies objects and parts inside the server.

use bytes::Bytes;
use s3s::{S3Request, S3Result, dto::*, s3_error};

use crate::{
    bucket::{StoredObject, precondition_failed},
    checksums::{Algorithm, StoredChecksum, set_checksum},
    s3::{
        multipart,
        objects::{
            attributes, check_read, check_version, refuse_unsupported, set_encryption, stored,
        },
    },
    state::Shared,
};

pub(super) fn copy(
    shared: &Shared,
    request: S3Request<CopyObjectInput>,
) -> S3Result<CopyObjectOutput> {
    let S3Request { input, headers, .. } = request;
    refuse_unsupported!(shared, input);
    // s3s does not support S3's conditions on a copy's target yet.
    let if_none_match = headers
        .get("if-none-match")
        .map(|value| ETagCondition::parse_http_header(value.as_bytes()))
        .transpose()
        .map_err(|error| s3_error!(InvalidArgument, "If-None-Match: {error}"))?;
    let condition = shared.write_condition(None, if_none_match)?;
    let source = source(shared, &input.copy_source)?;
    check_read(
        &source,
        &input.copy_source_if_match,
        &input.copy_source_if_none_match,
        precondition_failed(),
    )?;

    let replaces = input
        .metadata_directive
        .as_ref()
        .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    if !replaces && is_same(&input.copy_source, &input.bucket, &input.key) {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself \
             without changing anything."
        ));
    }
    let mut attributes = attributes!(input);
    let encryption = std::mem::take(&mut attributes.encryption);
    if !replaces {
        attributes = source.attributes.clone();
    }
    attributes.encryption = encryption;

    // A copy has a checksum of the complete object; a composite one belongs to the parts of the
    // source.
    let algorithm = match &input.checksum_algorithm {
        Some(named) => Some(Algorithm::parse(named.as_str())?),
        None => source.checksum.as_ref().map(|checksum| checksum.algorithm),
    };
    let checksum = algorithm
        .filter(|_| !shared.options.ignore_checksums)
        .map(|algorithm| StoredChecksum::of(algorithm, &source.bytes));
    let object = stored(source.bytes, checksum, attributes, shared.clock.system_time());

    let mut result = CopyObjectResult {
        e_tag: Some(object.e_tag()),
        last_modified: Some(object.modified_time.into()),
        ..Default::default()
    };
    set_checksum!(result, object.checksum.as_ref());
    let mut output = CopyObjectOutput { copy_object_result: Some(result), ..Default::default() };
    set_encryption!(output, &object.attributes.encryption);
    shared.with_bucket(&input.bucket, |bucket| {
        condition.check(bucket.objects.get(&input.key))?;
        bucket.objects.insert(input.key, object);
        Ok(())
    })?;
    Ok(output)
}

pub(super) fn copy_part(
    shared: &Shared,
    input: UploadPartCopyInput,
) -> S3Result<UploadPartCopyOutput> {
    let source = source(shared, &input.copy_source)?;
    check_read(
        &source,
        &input.copy_source_if_match,
        &input.copy_source_if_none_match,
        precondition_failed(),
    )?;
    let bytes = match input.copy_source_range.as_deref() {
        Some(range) => slice(&source.bytes, range)?,
        None => source.bytes,
    };
    let part = multipart::copied_part(shared, &input.bucket, &input.key, &input.upload_id, bytes)?;
    let mut result = CopyPartResult {
        e_tag: Some(part.e_tag()),
        last_modified: Some(part.modified_time.into()),
        ..Default::default()
    };
    set_checksum!(result, part.checksum.as_ref());
    multipart::store_part(
        shared,
        &input.bucket,
        &input.key,
        &input.upload_id,
        input.part_number,
        part,
    )?;
    Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
}

fn source(shared: &Shared, source: &CopySource) -> S3Result<StoredObject> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "no copies from access points"));
    };
    check_version(version_id.as_deref())?;
    shared.with_bucket(bucket, |bucket| bucket.readable(key).cloned())
}

fn is_same(source: &CopySource, bucket: &str, key: &str) -> bool {
    matches!(source, CopySource::Bucket { bucket: from, key: name, .. }
        if **from == *bucket && **name == *key)
}

/// The bytes of `bytes=first-last`, the only form that S3 accepts here. The range must be inside
/// the source.
fn slice(bytes: &Bytes, range: &str) -> S3Result<Bytes> {
    let malformed = || {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first \
             and last are the zero-based offsets of the first and last bytes to copy"
        )
    };
    let (first, last) =
        range.strip_prefix("bytes=").and_then(|span| span.split_once('-')).ok_or_else(malformed)?;
    let first: usize = first.parse().map_err(|_| malformed())?;
    let last: usize = last.parse().map_err(|_| malformed())?;
    if first > last || last >= bytes.len() {
        return Err(s3_error!(
            InvalidArgument,
            "Range specified is not valid for source object of size: {}",
            bytes.len()
        ));
    }
    Ok(bytes.slice(first..=last))
}

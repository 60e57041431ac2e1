//! Multipart uploads: parts, and the object that a completion makes of them.

use std::{collections::BTreeMap, time::SystemTime};

use bytes::{Bytes, BytesMut};
use s3s::{S3Error, S3Request, S3Result, dto::*, s3_error};
use uuid::Uuid;

use crate::{
    body::ClaimedBody,
    bucket::{Attributes, Bucket, StoredObject},
    checksums::{
        Algorithm, ClaimedChecksum, StoredChecksum, bad_digest, checksum_fields, etag_digest,
        set_checksum,
    },
    s3::objects::{attributes, refuse_unsupported, set_encryption},
    state::Shared,
};

/// S3's highest part number.
const PART_NUMBER_LIMIT: i32 = 10_000;

/// The uploads in progress by key and upload id, in S3's listing order.
pub(crate) type Uploads = BTreeMap<(String, String), Upload>;

/// How the object's checksum is made from the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) algorithm: Algorithm,
    /// A checksum of the parts' checksums instead of all bytes.
    pub(crate) composite: bool,
}

/// A multipart upload in progress.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) created_time: SystemTime,
    pub(crate) method: Option<Method>,
    pub(crate) parts: BTreeMap<i32, StoredPart>,
    attributes: Attributes,
}

/// A part as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredPart {
    pub(crate) bytes: Bytes,
    pub(crate) checksum: Option<StoredChecksum>,
    pub(crate) modified_time: SystemTime,
    digest: [u8; 32],
}

impl StoredPart {
    pub(crate) fn e_tag(&self) -> ETag {
        ETag::Strong(hex::encode(self.digest))
    }
}

impl Method {
    /// The method for this algorithm and type.
    ///
    /// # Errors
    /// InvalidRequest for a type that S3 does not support for the algorithm.
    fn new(algorithm: Algorithm, kind: Option<&ChecksumType>) -> S3Result<Self> {
        let composite = match (algorithm, kind.map(ChecksumType::as_str)) {
            (Algorithm::Crc64Nvme, None | Some(ChecksumType::FULL_OBJECT)) => false,
            (Algorithm::Crc32 | Algorithm::Crc32c, Some(ChecksumType::FULL_OBJECT)) => false,
            (Algorithm::Crc64Nvme, _) | (_, Some(ChecksumType::FULL_OBJECT)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "The checksum type cannot be used with the {} checksum algorithm.",
                    algorithm.name()
                ));
            }
            _ => true,
        };
        Ok(Self { algorithm, composite })
    }
}

pub(super) fn create(
    shared: &Shared,
    input: CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
    refuse_unsupported!(shared, input);
    let method = match &input.checksum_algorithm {
        Some(named) => {
            Some(Method::new(Algorithm::parse(named.as_str())?, input.checksum_type.as_ref())?)
        }
        None if input.checksum_type.is_some() => {
            return Err(s3_error!(InvalidRequest, "a checksum type without an algorithm"));
        }
        None => None,
    };
    let upload = Upload {
        created_time: shared.clock.system_time(),
        method: method.filter(|_| !shared.options.ignore_checksums),
        parts: BTreeMap::new(),
        attributes: attributes!(input),
    };
    let upload_id = Uuid::new_v4().simple().to_string();
    let mut output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key.clone()),
        upload_id: Some(upload_id.clone()),
        checksum_algorithm: upload
            .method
            .map(|m| ChecksumAlgorithm::from_static(m.algorithm.name())),
        checksum_type: upload.method.map(type_of),
        ..Default::default()
    };
    set_encryption!(output, &upload.attributes.encryption);
    shared.with_bucket(&input.bucket, |bucket| {
        bucket.uploads.insert((input.key, upload_id), upload);
        Ok(())
    })?;
    Ok(output)
}

pub(super) async fn upload_part(
    shared: &Shared,
    request: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let S3Request { input, trailing_headers, .. } = request;
    let method = method_of(shared, &input.bucket, &input.key, &input.upload_id)?;
    let body = ClaimedBody {
        checksums: checksum_fields!(input),
        stream: input.body,
        content_md5: input.content_md5,
        algorithm: input.checksum_algorithm,
        trailers: trailing_headers,
    };
    let body = body.verify(shared.options.ignore_checksums).await?;
    let expected = method.map(|method| method.algorithm);
    let actual = body.checksum.as_ref().map(|checksum| checksum.algorithm);
    if expected != actual {
        let name = |algorithm: Option<Algorithm>| algorithm.map_or("null", Algorithm::name);
        return Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            name(expected),
            name(actual)
        ));
    }
    let part = StoredPart {
        bytes: body.bytes,
        checksum: body.checksum,
        modified_time: shared.clock.system_time(),
        digest: body.digest,
    };
    let mut output = UploadPartOutput { e_tag: Some(part.e_tag()), ..Default::default() };
    set_checksum!(output, part.checksum.as_ref());
    store_part(shared, &input.bucket, &input.key, &input.upload_id, input.part_number, part)?;
    Ok(output)
}

/// A part with bytes that the server already has; the server computes the checksum.
pub(super) fn copied_part(
    shared: &Shared,
    bucket: &str,
    key: &str,
    upload_id: &str,
    bytes: Bytes,
) -> S3Result<StoredPart> {
    let method = method_of(shared, bucket, key, upload_id)?;
    Ok(StoredPart {
        checksum: method.map(|method| StoredChecksum::of(method.algorithm, &bytes)),
        modified_time: shared.clock.system_time(),
        digest: etag_digest(&bytes),
        bytes,
    })
}

/// Adds a part to an upload and replaces one with the same number.
pub(super) fn store_part(
    shared: &Shared,
    bucket: &str,
    key: &str,
    upload_id: &str,
    number: i32,
    part: StoredPart,
) -> S3Result<()> {
    if !(1..=PART_NUMBER_LIMIT).contains(&number) {
        return Err(s3_error!(
            InvalidArgument,
            "Part number must be an integer between 1 and {PART_NUMBER_LIMIT}, inclusive"
        ));
    }
    shared.with_bucket(bucket, |bucket| {
        upload(bucket, key, upload_id)?.parts.insert(number, part);
        Ok(())
    })
}

pub(super) fn complete(
    shared: &Shared,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let condition = shared.write_condition(input.if_match.clone(), input.if_none_match.clone())?;
    let claims = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref());
    let claims = claims
        .filter(|claims| !claims.is_empty())
        .ok_or_else(|| s3_error!(MalformedXML, "You must specify at least one part"))?;
    let claimed = if shared.options.ignore_checksums {
        None
    } else {
        ClaimedChecksum::from_fields(&checksum_fields!(input))?
    };
    // One lock for all checks, so that only one of two completions can win.
    shared.with_bucket(&input.bucket, |bucket| {
        let upload = upload(bucket, &input.key, &input.upload_id)?;
        let parts = selected_parts(upload, claims, shared.options.minimum_part_size_bytes)?;
        let object = assemble(upload, &parts, shared.clock.system_time());
        if input.mpu_object_size.is_some_and(|size| size != object.bytes.len() as i64) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header does not match what was computed."
            ));
        }
        if let Some(claimed) = claimed {
            check_object_checksum(claimed, &object)?;
        }
        condition.check(bucket.objects.get(&input.key))?;

        let mut output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            e_tag: Some(object.e_tag()),
            ..Default::default()
        };
        set_checksum!(output, object.checksum.as_ref());
        output.checksum_type = object.checksum_type();
        set_encryption!(output, &object.attributes.encryption);
        bucket.uploads.remove(&(input.key.clone(), input.upload_id));
        bucket.objects.insert(input.key, object);
        Ok(output)
    })
}

pub(super) fn abort(
    shared: &Shared,
    input: AbortMultipartUploadInput,
) -> S3Result<AbortMultipartUploadOutput> {
    shared.with_bucket(&input.bucket, |bucket| {
        match bucket.uploads.remove(&(input.key, input.upload_id)) {
            Some(_) => Ok(AbortMultipartUploadOutput::default()),
            None => Err(no_such_upload()),
        }
    })
}

/// S3's name of an upload's checksum type.
pub(super) fn type_of(method: Method) -> ChecksumType {
    ChecksumType::from_static(match method.composite {
        true => ChecksumType::COMPOSITE,
        false => ChecksumType::FULL_OBJECT,
    })
}

fn method_of(
    shared: &Shared,
    bucket: &str,
    key: &str,
    upload_id: &str,
) -> S3Result<Option<Method>> {
    shared.with_bucket(bucket, |bucket| Ok(upload(bucket, key, upload_id)?.method))
}

/// # Errors
/// NoSuchUpload, also after the upload was completed or aborted.
pub(super) fn upload<'a>(
    bucket: &'a mut Bucket,
    key: &str,
    upload_id: &str,
) -> S3Result<&'a mut Upload> {
    bucket.uploads.get_mut(&(key.to_owned(), upload_id.to_owned())).ok_or_else(no_such_upload)
}

fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may \
         have been aborted or completed."
    )
}

/// The parts that a completion names, checked against the uploaded ones.
fn selected_parts(
    upload: &Upload,
    claims: &[CompletedPart],
    minimum_size_bytes: usize,
) -> S3Result<Vec<StoredPart>> {
    let mut parts: Vec<StoredPart> = Vec::with_capacity(claims.len());
    let mut last_number = 0;
    for claim in claims {
        let number =
            claim.part_number.ok_or_else(|| s3_error!(MalformedXML, "a part without a number"))?;
        if number <= last_number {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order."
            ));
        }
        last_number = number;
        let part = upload.parts.get(&number).ok_or_else(invalid_part)?;
        if claim.e_tag.as_ref().is_none_or(|etag| !etag.strong_cmp(&part.e_tag())) {
            return Err(invalid_part());
        }
        check_part(upload.method, number, claim, part)?;
        if parts.last().is_some_and(|before| before.bytes.len() < minimum_size_bytes) {
            return Err(s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size"
            ));
        }
        parts.push(part.clone());
    }
    Ok(parts)
}

/// Checks a part's checksum if it is given; with a composite checksum it is required.
fn check_part(
    method: Option<Method>,
    number: i32,
    claim: &CompletedPart,
    part: &StoredPart,
) -> S3Result<()> {
    let Some(method) = method else { return Ok(()) };
    let stored = part.checksum.as_ref();
    match ClaimedChecksum::from_fields(&checksum_fields!(claim))? {
        Some(claimed)
            if stored.is_none_or(|stored| {
                stored.algorithm != claimed.algorithm || stored.value != claimed.value
            }) =>
        {
            Err(invalid_part())
        }
        None if method.composite => Err(s3_error!(
            InvalidRequest,
            "The upload was created using a {} checksum. The complete request must include the \
             checksum for each part. It was missing for part {number} in the request.",
            method.algorithm.name()
        )),
        _ => Ok(()),
    }
}

fn invalid_part() -> S3Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been \
         uploaded, or the specified entity tag may not match the part's entity tag."
    )
}

fn assemble(upload: &Upload, parts: &[StoredPart], modified_time: SystemTime) -> StoredObject {
    let mut bytes = BytesMut::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
    let mut digests = Vec::new();
    let mut checksums = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&part.bytes);
        digests.extend_from_slice(&part.digest);
        checksums.extend(part.checksum.iter().flat_map(|checksum| &checksum.value));
    }
    let bytes = bytes.freeze();
    let checksum = upload.method.map(|method| match method.composite {
        true => StoredChecksum {
            composite_parts: Some(parts.len()),
            ..StoredChecksum::of(method.algorithm, &checksums)
        },
        false => StoredChecksum::of(method.algorithm, &bytes),
    });
    StoredObject {
        bytes,
        etag: format!("{}-{}", hex::encode(etag_digest(&digests)), parts.len()),
        checksum,
        attributes: upload.attributes.clone(),
        modified_time,
    }
}

/// Verifies the checksum that a completion claims for the complete object.
fn check_object_checksum(claimed: ClaimedChecksum, object: &StoredObject) -> S3Result<()> {
    match &object.checksum {
        Some(stored) if stored.algorithm == claimed.algorithm => {
            match stored.value == claimed.value {
                true => Ok(()),
                false => Err(bad_digest(claimed.algorithm.name())),
            }
        }
        _ => Err(s3_error!(
            InvalidRequest,
            "The upload was not created with the {} checksum algorithm.",
            claimed.algorithm.name()
        )),
    }
}

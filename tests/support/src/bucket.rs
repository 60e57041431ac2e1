//! Buckets and objects in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use bytes::Bytes;
use s3s::{
    S3Result,
    crypto::{Checksum, Sha256},
    dto::{ChecksumType, ETag, ETagCondition},
    s3_error,
};

use crate::{checksums::StoredChecksum, s3::multipart::Uploads};

/// The attributes of an object, from the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Media type.
    pub content_type: Option<String>,
    /// The Cache-Control header.
    pub cache_control: Option<String>,
    /// The Content-Disposition header.
    pub content_disposition: Option<String>,
    /// The Content-Encoding header.
    pub content_encoding: Option<String>,
    /// User metadata; names without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Requested server-side encryption. Nothing is encrypted; the settings are returned.
    pub encryption: Encryption,
}

/// Requested server-side encryption.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encryption {
    /// `AES256`, `aws:kms` …
    pub algorithm: Option<String>,
    /// The KMS key's id.
    pub kms_key_id: Option<String>,
    /// Whether a bucket key is used.
    pub bucket_key_enabled: Option<bool>,
}

/// An object as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The object's bytes.
    pub bytes: Bytes,
    /// The entity tag, without quotes.
    pub etag: String,
    /// The checksum from the upload. It does not change if a test corrupts the bytes.
    pub checksum: Option<StoredChecksum>,
    /// The attributes from the client.
    pub attributes: Attributes,
    /// The time of the put, by the server's clock.
    pub modified_time: SystemTime,
}

impl StoredObject {
    /// The SHA-256 of the current bytes, in lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::checksum(&self.bytes))
    }

    /// The media type, if one was given.
    pub fn content_type(&self) -> Option<&str> {
        self.attributes.content_type.as_deref()
    }

    pub(crate) fn checksum_type(&self) -> Option<ChecksumType> {
        self.checksum.as_ref().map(|checksum| ChecksumType::from_static(checksum.type_name()))
    }

    pub(crate) fn e_tag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }
}

/// A bucket. Keys are sorted by their UTF-8 bytes, as S3 lists them.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) created_time: SystemTime,
    pub(crate) objects: BTreeMap<String, StoredObject>,
    /// The keys of the objects that are in an archive.
    pub(crate) archived: BTreeSet<String>,
    pub(crate) uploads: Uploads,
}

impl Bucket {
    pub(crate) fn new(created_time: SystemTime) -> Self {
        Self {
            created_time,
            objects: BTreeMap::new(),
            archived: BTreeSet::new(),
            uploads: Uploads::default(),
        }
    }

    /// An object that can be read now.
    ///
    /// # Errors
    /// NoSuchKey; InvalidObjectState if the object is in an archive.
    pub(crate) fn readable(&self, key: &str) -> S3Result<&StoredObject> {
        let object = self.object(key)?;
        if self.archived.contains(key) {
            let mut error = s3_error!(
                InvalidObjectState,
                "The operation is not valid for the object's storage class"
            );
            error.set_status_code(http::StatusCode::FORBIDDEN);
            return Err(error);
        }
        Ok(object)
    }

    /// # Errors
    /// NoSuchKey
    pub(crate) fn object(&self, key: &str) -> S3Result<&StoredObject> {
        self.objects
            .get(key)
            .ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }
}

/// The condition of a write, checked under the same lock as the write itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteCondition {
    Always,
    IfAbsent,
    IfMatch(ETag),
}

impl WriteCondition {
    /// # Errors
    /// NotImplemented for the combinations that S3 does not support either.
    pub(crate) fn new(
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
    ) -> S3Result<Self> {
        match (if_match, if_none_match) {
            (None, None) => Ok(Self::Always),
            (None, Some(ETagCondition::Any)) => Ok(Self::IfAbsent),
            (Some(ETagCondition::ETag(etag)), None) => Ok(Self::IfMatch(etag)),
            _ => Err(s3_error!(
                NotImplemented,
                "only If-None-Match: * or If-Match with an entity tag can be used for writes"
            )),
        }
    }

    /// # Errors
    /// PreconditionFailed; NoSuchKey if If-Match names a missing object.
    pub(crate) fn check(&self, current: Option<&StoredObject>) -> S3Result<()> {
        match (self, current) {
            (Self::Always, _) | (Self::IfAbsent, None) => Ok(()),
            (Self::IfMatch(_), None) => Err(s3_error!(NoSuchKey)),
            (Self::IfMatch(etag), Some(object)) if etag.strong_cmp(&object.e_tag()) => Ok(()),
            (Self::IfAbsent | Self::IfMatch(_), Some(_)) => Err(precondition_failed()),
        }
    }
}

pub(crate) fn precondition_failed() -> s3s::S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

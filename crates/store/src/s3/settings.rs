//! Settings of the bucket.

use std::time::Duration;

use aws_sdk_s3::types::ServerSideEncryption as Algorithm;

/// The location of the bucket and how to access it. Contains no secrets: credentials come only from the SDK's
/// default chain.
#[derive(Debug, Clone, PartialEq)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// The prefix of every key. Empty, or ends with `/`; never starts with `/`.
    pub base_path: String,
    /// The bucket's region. If `None`: the region of the environment or the profile, or `us-east-1`.
    pub region: Option<String>,
    /// The URL of an S3-compatible server. If `None`: the endpoint of the environment or the profile, or Amazon
    /// S3.
    pub endpoint_url: Option<String>,
    /// Whether the bucket is in the URL's path instead of its host name. Most S3-compatible servers need this.
    pub path_style: bool,
    /// The encryption of objects at rest.
    pub server_side_encryption: ServerSideEncryption,
    /// The account that must own the bucket, as twelve digits. S3 refuses requests if another account owns it.
    pub expected_bucket_owner: Option<String>,
    /// Protection of the objects of bundles from deletion. Requires a bucket with Object Lock.
    pub object_lock: Option<ObjectLock>,
    /// The timeout of connecting, including TLS.
    pub connect_timeout: Duration,
    /// The timeout without progress: no byte of an upload sent, or of a download received, and no response to another
    /// request, except to copies and completions of uploads. Does not include connecting and loading credentials.
    pub read_timeout: Duration,
    /// The timeout of one operation, including credentials. Uploads get an additional second per 64 KiB, so that
    /// large documents can be sent over slow connections. Limits a download only until its first byte;
    /// `read_timeout` limits the rest.
    pub operation_timeout: Duration,
    /// The maximum number of concurrent requests, each on its own connection. Further requests wait, which does
    /// not count as a failure of S3.
    pub concurrent_requests: usize,
}

/// The encryption of objects in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSideEncryption {
    /// The bucket's default.
    BucketDefault,
    /// Keys that S3 manages (`AES256`).
    SseS3,
    /// A key of AWS KMS (`aws:kms`).
    SseKms {
        /// The key's id, ARN or alias. If `None`: the account's `aws/s3` key.
        key_id: Option<String>,
    },
}

/// The Object Lock of new objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLock {
    /// The mode: who may remove the lock.
    pub mode: ObjectLockMode,
    /// The retention period, from the put on.
    pub retention: Duration,
    /// Keys with this prefix, below the base path, are not locked.
    pub except_prefix: String,
}

/// Who may delete an object before the end of its retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectLockMode {
    /// Principals with `s3:BypassGovernanceRetention`.
    Governance,
    /// No principal, not even the account's root user.
    Compliance,
}

impl From<ObjectLockMode> for aws_sdk_s3::types::ObjectLockMode {
    fn from(mode: ObjectLockMode) -> Self {
        match mode {
            ObjectLockMode::Governance => Self::Governance,
            ObjectLockMode::Compliance => Self::Compliance,
        }
    }
}

impl ServerSideEncryption {
    /// The algorithm and the key id to send with a request.
    pub(super) fn to_headers(&self) -> (Option<Algorithm>, Option<String>) {
        match self {
            Self::BucketDefault => (None, None),
            Self::SseS3 => (Some(Algorithm::Aes256), None),
            Self::SseKms { key_id } => (Some(Algorithm::AwsKms), key_id.clone()),
        }
    }
}

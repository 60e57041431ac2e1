//! What an operator says about the bucket.

use std::time::Duration;

use aws_sdk_s3::types::ServerSideEncryption as Algorithm;

use crate::telemetry::prices::RequestPrices;

/// Where the bucket is and how to talk to it. Has no secrets: credentials come from the SDK's
/// default chain alone.
#[derive(Debug, Clone, PartialEq)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// Goes before every key. Empty, or ends with `/`; never starts with one.
    pub base_path: String,
    /// The bucket's region. Without one: the environment's, the profile's, or `us-east-1`.
    pub region: Option<String>,
    /// The URL of an S3-compatible server. Without one: what the environment or the profile says,
    /// or Amazon S3.
    pub endpoint_url: Option<String>,
    /// Whether the bucket goes into the URL's path instead of its host name. Most S3-compatible
    /// servers need this.
    pub path_style: bool,
    /// How objects are encrypted at rest.
    pub server_side_encryption: ServerSideEncryption,
    /// The account that the bucket must belong to, as twelve digits. S3 refuses requests to a bucket
    /// of that name that is another's.
    pub expected_bucket_owner: Option<String>,
    /// How long S3 keeps the objects of bundles from being deleted. The bucket must have Object Lock.
    pub object_lock: Option<ObjectLock>,
    /// How long making a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long nothing may move: no byte taken of an upload or given of a download.
    pub read_timeout: Duration,
    /// How long one operation may take in all, credentials included. Uploads get a second more for
    /// each 64 KiB, so that a slow line can carry a large document. Bounds a download only until
    /// its first byte; `read_timeout` bounds the rest.
    pub operation_timeout: Duration,
    /// Requests at once: each has a connection of its own. Others wait, which counts as no failure of S3.
    pub concurrent_requests: usize,
    /// What requests cost, for the estimate among the metrics.
    pub prices: RequestPrices,
}

/// How S3 encrypts the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSideEncryption {
    /// As the bucket's default says.
    BucketDefault,
    /// With keys that S3 manages (`AES256`).
    SseS3,
    /// With a key of AWS KMS (`aws:kms`).
    SseKms {
        /// The key's id, ARN or alias. Without one: the account's `aws/s3` key.
        key_id: Option<String>,
    },
}

/// Object Lock of each object that is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLock {
    /// Who may lift it.
    pub mode: ObjectLockMode,
    /// How long, from the put on.
    pub retention: Duration,
    /// What is not locked: keys that start with this, below the base path.
    pub except_prefix: String,
}

/// Who may delete an object before its retention ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectLockMode {
    /// Those with `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody, the account's root user included.
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
    /// The algorithm and the key's id that a request names.
    pub(super) fn to_headers(&self) -> (Option<Algorithm>, Option<String>) {
        match self {
            Self::BucketDefault => (None, None),
            Self::SseS3 => (Some(Algorithm::Aes256), None),
            Self::SseKms { key_id } => (Some(Algorithm::AwsKms), key_id.clone()),
        }
    }
}

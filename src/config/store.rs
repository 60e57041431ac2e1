//! Settings of S3.

use std::time::Duration;

use clap::Args;
use tara_export_store::s3::{ObjectLockMode, RequestPrices, ServerSideEncryption};

use super::{
    Optional,
    parse::{
        account, any_text, base_path, boolean, bucket_name, checked, duration, encryption,
        endpoint_url, lock_mode, number, optional, prices, region,
    },
    value,
};

/// The bucket for bundles, and the requests to it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "S3 settings")]
pub struct StoreSettings {
    /// AWS region of the bucket; unset: the default of the AWS SDK
    #[arg(long, env = "AWS_REGION", value_parser = optional("AWS_REGION", region))]
    pub aws_region: Option<Optional<String>>,

    /// Bucket for bundles; unset: bundles are stored in the local store
    #[arg(long, env = "S3_BUCKET_NAME", value_parser = optional("S3_BUCKET_NAME", bucket_name))]
    pub s3_bucket_name: Option<Optional<String>>,

    /// Prefix of all object keys; empty: none
    #[arg(long, env = "S3_BASE_PATH", default_value = "tara/", value_parser = checked("S3_BASE_PATH", base_path))]
    pub s3_base_path: String,

    /// S3-compatible server to use instead of AWS, such as http://127.0.0.1:9000
    #[arg(long, env = "AWS_ENDPOINT_URL", value_parser = optional("AWS_ENDPOINT_URL", endpoint_url))]
    pub aws_endpoint_url: Option<Optional<String>>,

    /// Put the bucket into the path instead of the host name, as most S3-compatible servers require
    #[arg(long, env = "S3_PATH_STYLE", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("S3_PATH_STYLE", boolean))]
    pub s3_path_style: bool,

    /// Server-side encryption of objects: bucket (the bucket's default), AES256 or aws:kms
    #[arg(long, env = "S3_SERVER_SIDE_ENCRYPTION", default_value = "bucket",
          value_parser = checked("S3_SERVER_SIDE_ENCRYPTION", encryption))]
    pub s3_server_side_encryption: ServerSideEncryption,

    /// KMS key for aws:kms; unset: the account's default key
    #[arg(long, env = "S3_KMS_KEY_ID", value_parser = optional("S3_KMS_KEY_ID", any_text))]
    pub s3_kms_key_id: Option<Optional<String>>,

    /// Id of the AWS account that must own the bucket; unset: any
    #[arg(long, env = "S3_EXPECTED_BUCKET_OWNER", value_parser = optional("S3_EXPECTED_BUCKET_OWNER", account))]
    pub s3_expected_bucket_owner: Option<Optional<String>>,

    /// Object Lock mode of each object of a bundle: governance or compliance; unset: the bucket's default
    #[arg(long, env = "S3_OBJECT_LOCK_MODE", value_parser = optional("S3_OBJECT_LOCK_MODE", lock_mode))]
    pub s3_object_lock_mode: Option<Optional<ObjectLockMode>>,

    /// With S3_OBJECT_LOCK_MODE: retention in days (1 to 36500); 3650 is ten years
    #[arg(long, env = "S3_OBJECT_LOCK_DAYS", default_value = "0", value_parser = number("S3_OBJECT_LOCK_DAYS", 0..=36_500))]
    pub s3_object_lock_days: u32,

    /// Maximum time to open a connection to S3 (100ms to 1m)
    #[arg(long, env = "S3_CONNECT_TIMEOUT", default_value = "2s",
          value_parser = duration("S3_CONNECT_TIMEOUT", 100..=60_000))]
    pub s3_connect_timeout: Duration,

    /// Maximum time until S3 starts its response (100ms to 5m)
    #[arg(long, env = "S3_READ_TIMEOUT", default_value = "5s",
          value_parser = duration("S3_READ_TIMEOUT", 100..=300_000))]
    pub s3_read_timeout: Duration,

    /// Maximum duration of one S3 request (1s to 1h)
    #[arg(long, env = "S3_OPERATION_TIMEOUT", default_value = "5m",
          value_parser = duration("S3_OPERATION_TIMEOUT", 1_000..=3_600_000))]
    pub s3_operation_timeout: Duration,

    /// Retry budget per export: how long failures of S3 are retried before the bundle falls back to the local store
    /// (100ms to 10m)
    #[arg(long, env = "S3_RETRY_BUDGET", default_value = "10s",
          value_parser = duration("S3_RETRY_BUDGET", 100..=600_000))]
    pub s3_retry_budget: Duration,

    /// How long S3 is skipped after an export could not reach it, doubling up to 12 times as long (0s to 5m); 0s: never
    #[arg(long, env = "S3_OUTAGE_PAUSE", default_value = "5s",
          value_parser = duration("S3_OUTAGE_PAUSE", 0..=300_000))]
    pub s3_outage_pause: Duration,

    /// Maximum number of objects that one export sends in parallel (1 to 256)
    #[arg(long, env = "S3_PARALLEL_PUTS", default_value = "16", value_parser = number("S3_PARALLEL_PUTS", 1..=256))]
    pub s3_parallel_puts: u32,

    /// Send a small request to S3 a second time if its response takes longer than that of 95 % of such requests, at most
    /// 5 % more requests; has no effect with ALLOW_UNSAFE_STORE
    #[arg(long, env = "S3_HEDGING", default_value = "true", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("S3_HEDGING", boolean))]
    pub s3_hedging: bool,

    /// Prices of a thousand S3 requests in US dollars, for the cost estimate in the metrics
    #[arg(long, env = "S3_PRICES", default_value = "put=0.005,get=0.0004,delete=0",
          value_parser = checked("S3_PRICES", prices))]
    pub s3_prices: RequestPrices,

    /// Allow S3 servers that ignore If-None-Match, on which bundles can overwrite each other
    #[arg(long, env = "ALLOW_UNSAFE_STORE", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("ALLOW_UNSAFE_STORE", boolean))]
    pub allow_unsafe_store: bool,
}

impl StoreSettings {
    /// The encryption, including the KMS key.
    pub fn encryption(&self) -> ServerSideEncryption {
        match &self.s3_server_side_encryption {
            ServerSideEncryption::SseKms { .. } => {
                ServerSideEncryption::SseKms { key_id: value(&self.s3_kms_key_id) }
            }
            other => other.clone(),
        }
    }

    /// Whether requests to S3 may be sent twice. A server that ignores If-None-Match could replace an object with the
    /// second one.
    pub fn is_hedging(&self) -> bool {
        self.s3_hedging && !self.allow_unsafe_store
    }

    /// Whether a bucket is configured.
    pub fn has_bucket(&self) -> bool {
        value(&self.s3_bucket_name).is_some()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if value(&self.s3_kms_key_id).is_some()
            && !matches!(self.s3_server_side_encryption, ServerSideEncryption::SseKms { .. })
        {
            return Err("S3_KMS_KEY_ID requires S3_SERVER_SIDE_ENCRYPTION=aws:kms".to_owned());
        }
        let locks = value(&self.s3_object_lock_mode).is_some();
        if locks != (self.s3_object_lock_days > 0) {
            return Err(
                "S3_OBJECT_LOCK_MODE and S3_OBJECT_LOCK_DAYS require each other: set both or neither"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

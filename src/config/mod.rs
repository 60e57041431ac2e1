//! Settings, from flags and environment variables, each with a default that suits a laptop.

mod parse;
mod security;
mod telemetry;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::Args;
use ipnet::IpNet;

pub use self::{
    security::SecuritySettings,
    telemetry::{LogSettings, TelemetrySettings},
};

use self::parse::{
    account, any_text, base_path, boolean, bucket_name, checked, data_dir, duration, encryption,
    endpoint_url, ip_address, journal, lock_mode, network, number, optional, origin, prices,
    region, replica_name, size, source, stream_time,
};

/// A kibibyte, mebibyte, gibibyte.
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// What a download reserves of `MAX_READ_MEMORY`.
pub const DOWNLOAD_BYTES: u64 = MIB;

/// What a server of tara-export can be told. Every setting is a flag and an environment variable.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server settings")]
pub struct Settings {
    /// AWS region of the bucket; unset: as the AWS SDK finds it
    #[arg(long, env = "AWS_REGION", value_parser = optional("AWS_REGION", region))]
    pub aws_region: Option<Optional<String>>,

    /// Bucket that bundles go to; unset: they stay on local disk
    #[arg(long, env = "S3_BUCKET_NAME", value_parser = optional("S3_BUCKET_NAME", bucket_name))]
    pub s3_bucket_name: Option<Optional<String>>,

    /// What the keys of all objects start with; empty: nothing
    #[arg(long, env = "S3_BASE_PATH", default_value = "tara/", value_parser = checked("S3_BASE_PATH", base_path))]
    pub s3_base_path: String,

    /// S3-compatible server to use instead of AWS, such as http://127.0.0.1:9000
    #[arg(long, env = "AWS_ENDPOINT_URL", value_parser = optional("AWS_ENDPOINT_URL", endpoint_url))]
    pub aws_endpoint_url: Option<Optional<String>>,

    /// Put the bucket into the path instead of the host name, as most S3-compatible servers want
    #[arg(long, env = "S3_PATH_STYLE", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("S3_PATH_STYLE", boolean))]
    pub s3_path_style: bool,

    /// Server-side encryption of objects
    #[arg(long, env = "S3_SERVER_SIDE_ENCRYPTION", default_value = "bucket",
          value_parser = checked("S3_SERVER_SIDE_ENCRYPTION", encryption))]
    pub s3_server_side_encryption: Encryption,

    /// KMS key for aws:kms; unset: the account's default key
    #[arg(long, env = "S3_KMS_KEY_ID", value_parser = optional("S3_KMS_KEY_ID", any_text))]
    pub s3_kms_key_id: Option<Optional<String>>,

    /// AWS account that the bucket must belong to; unset: any
    #[arg(long, env = "S3_EXPECTED_BUCKET_OWNER", value_parser = optional("S3_EXPECTED_BUCKET_OWNER", account))]
    pub s3_expected_bucket_owner: Option<Optional<String>>,

    /// Lock each object of a bundle against deletion, with Object Lock: governance or compliance; unset: as the
    /// bucket does by default
    #[arg(long, env = "S3_OBJECT_LOCK_MODE", value_parser = optional("S3_OBJECT_LOCK_MODE", lock_mode))]
    pub s3_object_lock_mode: Option<Optional<LockMode>>,

    /// With S3_OBJECT_LOCK_MODE: for how many days; 3650 is ten years
    #[arg(long, env = "S3_OBJECT_LOCK_DAYS", default_value = "0", value_parser = number("S3_OBJECT_LOCK_DAYS", 0..=36_500))]
    pub s3_object_lock_days: u32,

    /// How long a connection to S3 may take to open
    #[arg(long, env = "S3_CONNECT_TIMEOUT", default_value = "2s",
          value_parser = duration("S3_CONNECT_TIMEOUT", 100..=60_000))]
    pub s3_connect_timeout: Duration,

    /// How long S3 may take to begin its answer
    #[arg(long, env = "S3_READ_TIMEOUT", default_value = "5s",
          value_parser = duration("S3_READ_TIMEOUT", 100..=300_000))]
    pub s3_read_timeout: Duration,

    /// How long one S3 request may take altogether
    #[arg(long, env = "S3_OPERATION_TIMEOUT", default_value = "5m",
          value_parser = duration("S3_OPERATION_TIMEOUT", 1_000..=3_600_000))]
    pub s3_operation_timeout: Duration,

    /// How long one export bears failures of S3 before its bundle goes to local disk
    #[arg(long, env = "S3_RETRY_BUDGET", default_value = "10s",
          value_parser = duration("S3_RETRY_BUDGET", 100..=600_000))]
    pub s3_retry_budget: Duration,

    /// How long S3 is left alone after an export could not reach it; doubles up to 12 times as long; 0: never
    #[arg(long, env = "S3_OUTAGE_PAUSE", default_value = "5s",
          value_parser = duration("S3_OUTAGE_PAUSE", 0..=300_000))]
    pub s3_outage_pause: Duration,

    /// Objects one export sends side by side
    #[arg(long, env = "S3_PARALLEL_PUTS", default_value = "16", value_parser = number("S3_PARALLEL_PUTS", 1..=256))]
    pub s3_parallel_puts: u32,

    /// What a thousand requests to S3 cost in US dollars, for the estimate among the metrics
    #[arg(long, env = "S3_PRICES", default_value = "put=0.005,get=0.0004,delete=0",
          value_parser = checked("S3_PRICES", prices))]
    pub s3_prices: RequestPrices,

    /// Write to S3 servers that ignore If-None-Match, where bundles can overwrite each other
    #[arg(long, env = "ALLOW_UNSAFE_STORE", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("ALLOW_UNSAFE_STORE", boolean))]
    pub allow_unsafe_store: bool,

    /// Folder of the local store; belongs to one server at a time
    #[arg(long, env = "DATA_DIR", default_value = "exports", value_parser = checked("DATA_DIR", data_dir))]
    pub data_dir: PathBuf,

    /// The disk dies with this machine or container: the start warns of what that means
    #[arg(long, env = "EPHEMERAL_DISK", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("EPHEMERAL_DISK", boolean))]
    pub ephemeral_disk: bool,

    /// Where accepted exports are kept until they are committed: local, or store, which is this disk and S3,
    /// so that another replica can finish them when this machine is lost
    #[arg(long, env = "JOURNAL", default_value = "local", value_parser = checked("JOURNAL", journal))]
    pub journal: JournalPlace,

    /// With JOURNAL=store: how often to look for exports that no replica finishes
    #[arg(long, env = "TAKEOVER_INTERVAL", default_value = "5m",
          value_parser = duration("TAKEOVER_INTERVAL", 100..=86_400_000))]
    pub takeover_interval: Duration,

    /// With JOURNAL=store: how old an accepted export is before another replica finishes it
    #[arg(long, env = "TAKEOVER_AGE", default_value = "15m",
          value_parser = duration("TAKEOVER_AGE", 0..=86_400_000))]
    pub takeover_age: Duration,

    /// Accepted exports that wait for their store, all together
    #[arg(long, env = "MAX_JOURNAL_BYTES", default_value = "16GiB",
          value_parser = size("MAX_JOURNAL_BYTES", MIB..=1024 * GIB))]
    pub max_journal_bytes: ByteSize,

    /// Exports of the journal that are worked on at once
    #[arg(long, env = "BACKLOG_CONCURRENCY", default_value = "4", value_parser = number("BACKLOG_CONCURRENCY", 1..=256))]
    pub backlog_concurrency: u32,

    /// Leave the files of a bundle that fell back on disk once S3 has it
    #[arg(long, env = "KEEP_LOCAL_COPIES", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("KEEP_LOCAL_COPIES", boolean))]
    pub keep_local_copies: bool,

    /// How long the server remembers exports in S3 by itself, to know them again in an outage
    #[arg(long, env = "RECEIPT_RETENTION", default_value = "30d",
          value_parser = duration("RECEIPT_RETENTION", 0..=31_536_000_000))]
    pub receipt_retention: Duration,

    /// Memory for bundles' manifests and reports that were read lately; 0: they are read each time
    #[arg(long, env = "CATALOG_CACHE_SIZE", default_value = "64MiB", value_parser = size("CATALOG_CACHE_SIZE", 0..=64 * GIB))]
    pub catalog_cache_size: ByteSize,

    /// This server's name in answers; unset: the machine's
    #[arg(long, env = "REPLICA_NAME", value_parser = optional("REPLICA_NAME", replica_name))]
    pub replica_name: Option<Optional<String>>,

    /// Render as tests' idea of the next release does
    #[cfg(feature = "next-format")]
    #[arg(long, hide = true)]
    pub next_format: bool,

    /// How long `accepted` waits for the store
    #[arg(long, env = "ACCEPT_TIMEOUT", default_value = "2s", value_parser = duration("ACCEPT_TIMEOUT", 10..=60_000))]
    pub accept_timeout: Duration,

    /// Longest silence of a stream before a heartbeat
    #[arg(long, env = "HEARTBEAT_INTERVAL", default_value = "10s",
          value_parser = duration("HEARTBEAT_INTERVAL", 100..=15_000))]
    pub heartbeat_interval: Duration,

    /// Largest request
    #[arg(long, env = "MAX_REQUEST_SIZE", default_value = "32MiB", value_parser = size("MAX_REQUEST_SIZE", 64 * KIB..=GIB))]
    pub max_request_size: ByteSize,

    /// Memory of all requests together, counted as what they become; at least the largest request
    #[arg(long, env = "MAX_REQUEST_MEMORY", default_value = "512MiB",
          value_parser = size("MAX_REQUEST_MEMORY", 256 * KIB..=1024 * GIB))]
    pub max_request_memory: ByteSize,

    /// Calls at once, their streams included and health checks aside; shared fairly between callers
    #[arg(long, env = "MAX_CONCURRENT_CALLS", default_value = "1024",
          value_parser = number("MAX_CONCURRENT_CALLS", 1..=100_000))]
    pub max_concurrent_calls: u32,

    /// Exports at once
    #[arg(long, env = "MAX_CONCURRENT_EXPORTS", default_value = "64",
          value_parser = number("MAX_CONCURRENT_EXPORTS", 1..=10_000))]
    pub max_concurrent_exports: u32,

    /// Largest document, however it comes
    #[arg(long, env = "MAX_DOCUMENT_SIZE", default_value = "5GiB",
          value_parser = size("MAX_DOCUMENT_SIZE", MIB..=64 * GIB))]
    pub max_document_size: ByteSize,

    /// Uploads of documents that are taken at once
    #[arg(long, env = "MAX_CONCURRENT_UPLOADS", default_value = "16",
          value_parser = number("MAX_CONCURRENT_UPLOADS", 1..=1_000))]
    pub max_concurrent_uploads: u32,

    /// Memory for parts of large documents on their way, of everything together; a part has 8 MiB
    #[arg(long, env = "TRANSFER_MEMORY", default_value = "48MiB",
          value_parser = size("TRANSFER_MEMORY", 8 * MIB..=64 * GIB))]
    pub transfer_memory: ByteSize,

    /// Parts of one large document that are sent side by side
    #[arg(long, env = "S3_PARALLEL_PARTS", default_value = "4", value_parser = number("S3_PARALLEL_PARTS", 1..=64))]
    pub s3_parallel_parts: u32,

    /// How long a document that was uploaded can be named by an export
    #[arg(long, env = "UPLOAD_RETENTION", default_value = "7d",
          value_parser = duration("UPLOAD_RETENTION", 60_000..=31_536_000_000))]
    pub upload_retention: Duration,

    /// How long an upload's stream may take for its next 64 KiB
    #[arg(long, env = "UPLOAD_IDLE_TIMEOUT", default_value = "30s",
          value_parser = duration("UPLOAD_IDLE_TIMEOUT", 100..=600_000))]
    pub upload_idle_timeout: Duration,

    /// Uploads on this machine's disk, all together, each counted as 256 KiB at least: without a bucket, or
    /// while S3 can't take them
    #[arg(long, env = "MAX_LOCAL_UPLOADS", default_value = "16GiB",
          value_parser = size("MAX_LOCAL_UPLOADS", MIB..=1024 * GIB))]
    pub max_local_uploads: ByteSize,

    /// Where documents may be copied from, as s3://bucket/prefix/, separated by commas; unset: nowhere
    #[arg(long, env = "S3_SOURCES", value_delimiter = ',', value_parser = checked("S3_SOURCES", source))]
    pub s3_sources: Vec<Source>,

    /// How long a request waits for room before RESOURCE_EXHAUSTED
    #[arg(long, env = "ADMISSION_TIMEOUT", default_value = "2s",
          value_parser = duration("ADMISSION_TIMEOUT", 0..=60_000))]
    pub admission_timeout: Duration,

    /// Memory for answers that are being read: downloads, reports, listings
    #[arg(long, env = "MAX_READ_MEMORY", default_value = "128MiB",
          value_parser = size("MAX_READ_MEMORY", 8 * MIB..=64 * GIB))]
    pub max_read_memory: ByteSize,

    /// Downloads at once; each reserves 1 MiB of MAX_READ_MEMORY, and all of them at most three quarters of it
    #[arg(long, env = "MAX_CONCURRENT_DOWNLOADS", default_value = "64",
          value_parser = number("MAX_CONCURRENT_DOWNLOADS", 1..=10_000))]
    pub max_concurrent_downloads: u32,

    /// How long a request may take to arrive whole; an upload's stream has UPLOAD_IDLE_TIMEOUT instead
    #[arg(long, env = "REQUEST_TIMEOUT", default_value = "2m",
          value_parser = duration("REQUEST_TIMEOUT", 1_000..=3_600_000))]
    pub request_timeout: Duration,
}

/// How a server listens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listener settings")]
pub struct ListenSettings {
    /// Port of gRPC, gRPC-Web and /healthz; 0: any free one
    #[arg(long, env = "PORT", default_value = "8080", value_parser = number("PORT", 0..=65_535))]
    pub port: u32,

    /// Address to listen on
    #[arg(long, env = "BIND_ADDRESS", default_value = "127.0.0.1", value_parser = checked("BIND_ADDRESS", ip_address))]
    pub bind_address: IpAddr,

    /// Origins of web pages that may call over gRPC-Web, separated by commas, or *; unset: none
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = checked("CORS_ALLOWED_ORIGINS", origin))]
    pub cors_allowed_origins: Vec<String>,

    /// Connections at once; more wait until others end
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "512", value_parser = number("MAX_CONNECTIONS", 1..=100_000))]
    pub max_connections: u32,

    /// Proxies whose X-Forwarded-For header gives the client's address, as IP addresses and networks (CIDR)
    /// separated by commas; unset: no proxy, the header is ignored
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',', value_parser = checked("TRUSTED_PROXIES", network))]
    pub trusted_proxies: Vec<IpNet>,

    /// Calls at once on one HTTP/2 connection
    #[arg(long, env = "MAX_CONCURRENT_STREAMS", default_value = "256",
          value_parser = number("MAX_CONCURRENT_STREAMS", 1..=10_000))]
    pub max_concurrent_streams: u32,

    /// Pause between HTTP/2 and TCP keepalives
    #[arg(long, env = "KEEPALIVE_INTERVAL", default_value = "30s",
          value_parser = duration("KEEPALIVE_INTERVAL", 1_000..=3_600_000))]
    pub keepalive_interval: Duration,

    /// Longest answer: a stream that lasts longer ends with STREAM_ENDED_EARLY, before something in front of the
    /// server cuts it; 0s: no limit
    #[arg(long, env = "MAX_STREAM_TIME", default_value = "0s", value_parser = stream_time("MAX_STREAM_TIME"))]
    pub max_stream_time: StreamTime,

    /// How long the reader of an answer may take nothing before the answer ends with STREAM_ENDED_EARLY
    #[arg(long, env = "READ_IDLE_TIMEOUT", default_value = "30s",
          value_parser = duration("READ_IDLE_TIMEOUT", 100..=600_000))]
    pub read_idle_timeout: Duration,

    /// How long a pool of threads, or the async runtime, may have work waiting without starting or finishing any
    /// until the health name liveness and /livez fail
    #[arg(long, env = "STALL_THRESHOLD", default_value = "60s",
          value_parser = duration("STALL_THRESHOLD", 1_000..=3_600_000))]
    pub stall_threshold: Duration,

    /// How long the server may take to end when it is stopped; running exports have most of it
    #[arg(long, env = "SHUTDOWN_TIMEOUT", default_value = "20s",
          value_parser = duration("SHUTDOWN_TIMEOUT", 0..=600_000))]
    pub shutdown_timeout: Duration,

    /// Who may call, and over what.
    #[command(flatten)]
    pub security: SecuritySettings,
}

impl ListenSettings {
    /// Any free port of this machine, for one command.
    pub fn embedded() -> Self {
        Self {
            port: 0,
            bind_address: IpAddr::from([127, 0, 0, 1]),
            cors_allowed_origins: Vec::new(),
            max_connections: 512,
            trusted_proxies: Vec::new(),
            max_concurrent_streams: 256,
            keepalive_interval: Duration::from_secs(30),
            max_stream_time: StreamTime::UNLIMITED,
            stall_threshold: Duration::from_secs(60),
            read_idle_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(20),
            security: SecuritySettings::none(),
        }
    }

    /// Checks what no single setting shows.
    ///
    /// # Errors
    /// A message for people that names the settings.
    pub fn check(&self) -> Result<(), String> {
        self.security.check(self.bind_address)
    }
}

/// Server-side encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket does by default.
    Bucket,
    /// With keys of S3.
    Aes256,
    /// With keys of KMS.
    AwsKms,
}

/// Who may delete an object before its retention ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Those with a permission of its own.
    Governance,
    /// Nobody.
    Compliance,
}

/// Where accepted exports are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalPlace {
    /// On this machine's disk.
    Local,
    /// There and in S3.
    Store,
}

/// How long a stream may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTime(Option<Duration>);

impl StreamTime {
    /// As long as it takes.
    pub const UNLIMITED: Self = Self(None);

    /// The limit, if there is one.
    pub fn limit(self) -> Option<Duration> {
        self.0
    }
}

/// A place in S3 that documents may be copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The bucket.
    pub bucket: String,
    /// What the keys start with; empty, or ends with `/`.
    pub prefix: String,
}

/// Prices of requests to S3, in US dollars for a thousand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestPrices {
    /// PUT, COPY, POST and LIST.
    pub put: f64,
    /// GET, HEAD and all others.
    pub get: f64,
    /// DELETE and the aborting of uploads.
    pub delete: f64,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One object a line.
    Json,
}

/// A setting that may be set to nothing: an empty variable is as good as none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optional<T>(Option<T>);

/// The value of a setting, if it has one.
pub fn value<T: Clone>(setting: &Option<Optional<T>>) -> Option<T> {
    setting.as_ref().and_then(|optional| optional.0.clone())
}

impl Settings {
    /// Checks what no single setting shows.
    ///
    /// # Errors
    /// A message for people that names the settings.
    pub fn check(&self) -> Result<(), String> {
        if self.max_request_memory < self.max_request_size {
            return Err(format!(
                "MAX_REQUEST_MEMORY is {} and MAX_REQUEST_SIZE is {}: the first must be at least the second",
                self.max_request_memory, self.max_request_size
            ));
        }
        let downloads = u64::from(self.max_concurrent_downloads) * DOWNLOAD_BYTES;
        if downloads > self.max_read_memory.as_u64() / 4 * 3 {
            return Err(format!(
                "MAX_READ_MEMORY is {} and MAX_CONCURRENT_DOWNLOADS is {}: each download reserves 1 MiB, and all of \
                 them at most three quarters of the memory",
                self.max_read_memory, self.max_concurrent_downloads
            ));
        }
        if self.journal == JournalPlace::Store && value(&self.s3_bucket_name).is_none() {
            return Err("JOURNAL is store, but there is no bucket: set S3_BUCKET_NAME".to_owned());
        }
        if value(&self.s3_kms_key_id).is_some()
            && self.s3_server_side_encryption != Encryption::AwsKms
        {
            return Err(
                "S3_KMS_KEY_ID is set, but S3_SERVER_SIDE_ENCRYPTION is not aws:kms".to_owned()
            );
        }
        let locks = value(&self.s3_object_lock_mode).is_some();
        if locks != (self.s3_object_lock_days > 0) {
            return Err(
                "S3_OBJECT_LOCK_MODE and S3_OBJECT_LOCK_DAYS go together: set both, or neither"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// What is lost with the disk, where the operator says that it may be lost.
    pub fn disk_warning(&self) -> Option<&'static str> {
        if !self.ephemeral_disk {
            return None;
        }
        Some(match (value(&self.s3_bucket_name), self.journal) {
            (None, _) => {
                "EPHEMERAL_DISK is set and there is no bucket: every bundle is lost with this disk; set S3_BUCKET_NAME"
            }
            (Some(_), JournalPlace::Local) => {
                "EPHEMERAL_DISK and JOURNAL=local: an accepted export is lost with this disk until its bundle is in \
                 S3; JOURNAL=store keeps it in S3 as well"
            }
            (Some(_), JournalPlace::Store) => {
                "EPHEMERAL_DISK: what is accepted or falls back to this disk while S3 is out of reach is lost with it \
                 until S3 returns; `accepted` tells where an export is kept"
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Everything {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        listen: ListenSettings,
        #[command(flatten)]
        log: LogSettings,
        #[command(flatten)]
        telemetry: TelemetrySettings,
    }

    fn parse(arguments: &[&str]) -> Result<Everything, clap::Error> {
        Everything::try_parse_from([&["tara-export"], arguments].concat())
    }

    #[test]
    fn a_wrong_value_is_told_with_variable_value_and_rule() {
        for (flag, wrong, variable, rule) in [
            ("--port", "65536", "PORT", "from 0 to 65535"),
            ("--port", "http", "PORT", "from 0 to 65535"),
            ("--s3-bucket-name", "s3://b", "S3_BUCKET_NAME", "without s3://"),
            ("--s3-base-path", "a/../b", "S3_BASE_PATH", "without empty parts"),
            ("--aws-region", "US East", "AWS_REGION", "us-east-1"),
            ("--aws-endpoint-url", "127.0.0.1:9000", "AWS_ENDPOINT_URL", "http://"),
            ("--s3-path-style", "maybe", "S3_PATH_STYLE", "true or false"),
            ("--s3-server-side-encryption", "kms", "S3_SERVER_SIDE_ENCRYPTION", "aws:kms"),
            ("--s3-connect-timeout", "5", "S3_CONNECT_TIMEOUT", "with its unit"),
            ("--s3-retry-budget", "11m", "S3_RETRY_BUDGET", "from 100ms to 10m"),
            ("--heartbeat-interval", "16s", "HEARTBEAT_INTERVAL", "to 15s"),
            ("--max-request-size", "1kB", "MAX_REQUEST_SIZE", "from 64.0 KiB to 1.0 GiB"),
            ("--catalog-cache-size", "1TiB", "CATALOG_CACHE_SIZE", "from 0 B to 64.0 GiB"),
            ("--s3-parallel-puts", "0", "S3_PARALLEL_PUTS", "from 1 to 256"),
            ("--bind-address", "localhost", "BIND_ADDRESS", "IP address"),
            ("--cors-allowed-origins", "example.com", "CORS_ALLOWED_ORIGINS", "origins"),
            ("--trusted-proxies", "proxy.internal", "TRUSTED_PROXIES", "10.0.0.0/8"),
            ("--trusted-proxies", "10.0.0.0/33", "TRUSTED_PROXIES", "10.0.0.0/8"),
            ("--trusted-proxies", "0.0.0.0/0", "TRUSTED_PROXIES", "more than 0 bits"),
            ("--log-format", "xml", "LOG_FORMAT", "auto, human or json"),
            ("--metrics-listen-addr", "9464", "METRICS_LISTEN_ADDR", "127.0.0.1:9464"),
            ("--metrics-emf-namespace", "AWS/S3", "METRICS_EMF_NAMESPACE", "TaraExport"),
            ("--trace-otlp-endpoint", "localhost:4317", "TRACE_OTLP_ENDPOINT", "http://"),
            ("--trace-sample-ratio", "1.5", "TRACE_SAMPLE_RATIO", "from 0 to 1"),
            ("--s3-prices", "put=0.005,get=x,delete=0", "S3_PRICES", "put=0.005"),
            ("--s3-prices", "put=0.005", "S3_PRICES", "put=0.005"),
            ("--log-level", "a=b=c", "LOG_LEVEL", "log filter"),
            ("--data-dir", "", "DATA_DIR", "folder"),
            ("--s3-sources", "bucket/prefix", "S3_SOURCES", "s3://"),
            ("--s3-sources", "s3://b/../x", "S3_SOURCES", "s3://"),
            ("--max-document-size", "65GiB", "MAX_DOCUMENT_SIZE", "from 1.0 MiB to 64.0 GiB"),
            ("--transfer-memory", "1MiB", "TRANSFER_MEMORY", "from 8.0 MiB"),
            ("--upload-retention", "1s", "UPLOAD_RETENTION", "from 1m"),
            ("--stall-threshold", "500ms", "STALL_THRESHOLD", "from 1s to 1h"),
            ("--max-stream-time", "500ms", "MAX_STREAM_TIME", "0s for no limit"),
            ("--max-stream-time", "25h", "MAX_STREAM_TIME", "1s to 1d"),
            ("--s3-expected-bucket-owner", "acme", "S3_EXPECTED_BUCKET_OWNER", "twelve digits"),
            ("--s3-object-lock-mode", "legal", "S3_OBJECT_LOCK_MODE", "governance or compliance"),
            ("--s3-object-lock-days", "36501", "S3_OBJECT_LOCK_DAYS", "to 36500"),
            ("--jwt-jwks-url", "ftp://x/jwks", "JWT_JWKS_URL", "https://"),
            ("--jwt-jwks-url", "http://keys.example.com/jwks", "JWT_JWKS_URL", "https://"),
            ("--jwt-leeway", "10m", "JWT_LEEWAY", "to 5m"),
            ("--allow-insecure", "maybe", "ALLOW_INSECURE", "true or false"),
        ] {
            let message = parse(&[flag, wrong]).unwrap_err().to_string();
            for part in [variable, wrong, rule] {
                assert!(message.contains(part), "{flag} {wrong}: {message}");
            }
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_told() {
        let settings = parse(&["--max-request-memory", "1MiB"]).unwrap().settings;
        assert!(settings.check().unwrap_err().contains("MAX_REQUEST_SIZE"));
        let settings = parse(&["--s3-kms-key-id", "x"]).unwrap().settings;
        assert!(settings.check().unwrap_err().contains("S3_SERVER_SIDE_ENCRYPTION"));
        let settings = parse(&["--s3-object-lock-mode", "compliance"]).unwrap().settings;
        assert!(settings.check().unwrap_err().contains("S3_OBJECT_LOCK_DAYS"));
        let settings = parse(&["--max-read-memory", "64MiB"]).unwrap().settings;
        assert!(settings.check().unwrap_err().contains("MAX_CONCURRENT_DOWNLOADS"));
    }

    #[test]
    fn a_disk_that_dies_is_warned_of_as_it_is() {
        let warning = |flags: &[&str]| parse(flags).unwrap().settings.disk_warning();
        let bucket = "--s3-bucket-name=audit-bundles";
        assert_eq!(warning(&[]), None);
        assert_eq!(warning(&[bucket, "--journal=store"]), None);
        assert!(warning(&["--ephemeral-disk"]).unwrap().contains("every bundle is lost"));
        assert!(warning(&["--ephemeral-disk", bucket]).unwrap().contains("JOURNAL=store keeps"));
        let stored = warning(&["--ephemeral-disk", bucket, "--journal=store"]).unwrap();
        assert!(stored.contains("while S3 is out of reach"), "{stored}");
    }

    #[test]
    fn no_limit_of_a_stream_is_written_as_zero() {
        let limit = |flags: &[&str]| parse(flags).unwrap().listen.max_stream_time.limit();
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&["--max-stream-time", "0s"]), None);
        assert_eq!(limit(&["--max-stream-time", "110s"]), Some(Duration::from_secs(110)));
    }

    #[test]
    fn prices_are_taken_in_any_order() {
        let prices = |text| parse(&["--s3-prices", text]).unwrap().settings.s3_prices;
        let expected = RequestPrices { put: 0.01, get: 0.0, delete: 0.002 };
        assert_eq!(prices("put=0.01,get=0,delete=0.002"), expected);
        assert_eq!(prices("delete=0.002, put=0.01, get=0"), expected);
        let standard = RequestPrices { put: 0.005, get: 0.0004, delete: 0.0 };
        assert_eq!(parse(&[]).unwrap().settings.s3_prices, standard);
    }

    #[test]
    fn trusted_proxies_are_addresses_and_networks() {
        let parsed = |text| {
            let listen = parse(&["--trusted-proxies", text]).unwrap().listen;
            listen.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            parsed("10.0.0.0/8, 192.0.2.7,fd00::/8"),
            ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]
        );
        assert_eq!(parsed("::ffff:10.0.0.0/104,::ffff:192.0.2.7"), ["10.0.0.0/8", "192.0.2.7/32"]);
        assert!(parse(&[]).unwrap().listen.trusted_proxies.is_empty());
    }

    #[test]
    fn base_paths_have_one_form_and_empty_settings_are_none() {
        for (given, normal) in [("tara", "tara/"), ("/a/b/", "a/b/"), ("", ""), ("/", "")] {
            assert_eq!(parse(&["--s3-base-path", given]).unwrap().settings.s3_base_path, normal);
        }
        let settings = parse(&["--s3-bucket-name", ""]).unwrap().settings;
        assert_eq!(value(&settings.s3_bucket_name), None);
    }
}

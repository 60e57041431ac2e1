//! Limits on the size, number and duration of requests, documents and responses.

use std::{num::NonZero, thread, time::Duration};

use bytesize::ByteSize;
use clap::Args;
use tara_export_store::AllowedSource;

use super::{
    GIB, KIB, MIB, Optional,
    parse::{duration, number, optional, size, source, worker_threads},
    value,
};

/// The part of `MAX_READ_MEMORY` that a download reserves.
pub const DOWNLOAD_BYTES: u64 = MIB;

/// Limits on requests and responses.
#[derive(Debug, Clone, Args)]
pub struct LimitSettings {
    /// Threads that process calls and requests to S3 (1 to 1024); unset: half as many as cores, and at least one. Hashing,
    /// rendering and disks have their own
    #[arg(long, env = "WORKER_THREADS", value_parser = optional("WORKER_THREADS", worker_threads))]
    pub worker_threads: Option<Optional<usize>>,

    /// Maximum size of a request (64KiB to 1GiB)
    #[arg(long, env = "MAX_REQUEST_SIZE", default_value = "32MiB", value_parser = size("MAX_REQUEST_SIZE", 64 * KIB..=GIB))]
    pub max_request_size: ByteSize,

    /// Request memory: total memory for decoded requests (256KiB to 1TiB); at least MAX_REQUEST_SIZE
    #[arg(long, env = "MAX_REQUEST_MEMORY", default_value = "512MiB",
          value_parser = size("MAX_REQUEST_MEMORY", 256 * KIB..=1024 * GIB))]
    pub max_request_memory: ByteSize,

    /// Maximum number of concurrent calls, including streams but not health checks, shared fairly between callers (1 to
    /// 100000)
    #[arg(long, env = "MAX_CONCURRENT_CALLS", default_value = "1024",
          value_parser = number("MAX_CONCURRENT_CALLS", 1..=100_000))]
    pub max_concurrent_calls: u32,

    /// Maximum number of concurrent exports (1 to 10000)
    #[arg(long, env = "MAX_CONCURRENT_EXPORTS", default_value = "64",
          value_parser = number("MAX_CONCURRENT_EXPORTS", 1..=10_000))]
    pub max_concurrent_exports: u32,

    /// Maximum number of batches that have not ended (1 to 1000)
    #[arg(long, env = "MAX_BATCHES", default_value = "100", value_parser = number("MAX_BATCHES", 1..=1_000))]
    pub max_batches: u32,

    /// Maximum number of batches of one caller that have not ended (1 to 1000)
    #[arg(long, env = "MAX_BATCHES_PER_CALLER", default_value = "10",
          value_parser = number("MAX_BATCHES_PER_CALLER", 1..=1_000))]
    pub max_batches_per_caller: u32,

    /// How long a batch waits for its caller to send items again that were not accepted (1s to 30d)
    #[arg(long, env = "BATCH_RESEND_TIMEOUT", default_value = "1d",
          value_parser = duration("BATCH_RESEND_TIMEOUT", 1_000..=2_592_000_000))]
    pub batch_resend_timeout: Duration,

    /// Maximum size of a document, whether inline, an upload or a source (1MiB to 64GiB)
    #[arg(long, env = "MAX_DOCUMENT_SIZE", default_value = "5GiB",
          value_parser = size("MAX_DOCUMENT_SIZE", MIB..=64 * GIB))]
    pub max_document_size: ByteSize,

    /// Maximum number of upload calls at once (1 to 1000)
    #[arg(long, env = "MAX_CONCURRENT_UPLOADS", default_value = "16",
          value_parser = number("MAX_CONCURRENT_UPLOADS", 1..=1_000))]
    pub max_concurrent_uploads: u32,

    /// Total memory for parts of large documents in flight, each of 8 MiB (8MiB to 64GiB)
    #[arg(long, env = "TRANSFER_MEMORY", default_value = "48MiB",
          value_parser = size("TRANSFER_MEMORY", 8 * MIB..=64 * GIB))]
    pub transfer_memory: ByteSize,

    /// Maximum number of parts of one large document that are sent in parallel (1 to 64)
    #[arg(long, env = "S3_PARALLEL_PARTS", default_value = "4", value_parser = number("S3_PARALLEL_PARTS", 1..=64))]
    pub s3_parallel_parts: u32,

    /// How long a request can name an upload (1m to 365d)
    #[arg(long, env = "UPLOAD_RETENTION", default_value = "7d",
          value_parser = duration("UPLOAD_RETENTION", 60_000..=31_536_000_000))]
    pub upload_retention: Duration,

    /// Maximum time for the next 64 KiB of an upload stream (100ms to 10m)
    #[arg(long, env = "UPLOAD_IDLE_TIMEOUT", default_value = "30s",
          value_parser = duration("UPLOAD_IDLE_TIMEOUT", 100..=600_000))]
    pub upload_idle_timeout: Duration,

    /// Maximum total size of uploads on this machine's disk, where they are stored without a bucket or while S3 fails;
    /// each counts as at least 256 KiB (1MiB to 1TiB)
    #[arg(long, env = "MAX_LOCAL_UPLOADS", default_value = "16GiB",
          value_parser = size("MAX_LOCAL_UPLOADS", MIB..=1024 * GIB))]
    pub max_local_uploads: ByteSize,

    /// Allowed sources of documents, as s3://bucket/prefix/, separated by commas; unset: none
    #[arg(long, env = "S3_SOURCES", value_delimiter = ',', value_parser = optional("S3_SOURCES", source))]
    pub s3_sources: Vec<Optional<AllowedSource>>,

    /// How long a request waits for a permit or memory before it fails with RESOURCE_EXHAUSTED (0s to 1m)
    #[arg(long, env = "ADMISSION_TIMEOUT", default_value = "2s",
          value_parser = duration("ADMISSION_TIMEOUT", 0..=60_000))]
    pub admission_timeout: Duration,

    /// Read memory: total memory for responses while they are read, such as downloads and reports (8MiB to 64GiB)
    #[arg(long, env = "MAX_READ_MEMORY", default_value = "128MiB",
          value_parser = size("MAX_READ_MEMORY", 8 * MIB..=64 * GIB))]
    pub max_read_memory: ByteSize,

    /// Maximum number of concurrent downloads (1 to 10000); each reserves 1 MiB of MAX_READ_MEMORY, and all together at
    /// most three quarters of it
    #[arg(long, env = "MAX_CONCURRENT_DOWNLOADS", default_value = "64",
          value_parser = number("MAX_CONCURRENT_DOWNLOADS", 1..=10_000))]
    pub max_concurrent_downloads: u32,

    /// Maximum time until a request has arrived completely (1s to 1h); for upload streams, UPLOAD_IDLE_TIMEOUT applies
    #[arg(long, env = "REQUEST_TIMEOUT", default_value = "2m",
          value_parser = duration("REQUEST_TIMEOUT", 1_000..=3_600_000))]
    pub request_timeout: Duration,
}

impl LimitSettings {
    /// The number of threads that process calls and requests to S3. Half of the cores by default: with more, threads wake
    /// each other and move tasks between cores, which takes a sixth more CPU on two cores (docs/benchmarks.md).
    pub fn worker_threads(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        value(&self.worker_threads).unwrap_or_else(|| (cores() / 2).max(1))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.max_request_memory < self.max_request_size {
            return Err(format!(
                "MAX_REQUEST_MEMORY ({}) must be at least MAX_REQUEST_SIZE ({})",
                self.max_request_memory, self.max_request_size
            ));
        }
        let downloads = u64::from(self.max_concurrent_downloads) * DOWNLOAD_BYTES;
        if downloads > self.max_read_memory.as_u64() / 4 * 3 {
            return Err(format!(
                "MAX_READ_MEMORY ({}) is too small for MAX_CONCURRENT_DOWNLOADS ({}): each download reserves 1 MiB, \
                 and all together at most three quarters of the memory",
                self.max_read_memory, self.max_concurrent_downloads
            ));
        }
        Ok(())
    }
}

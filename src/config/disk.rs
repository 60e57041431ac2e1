//! Settings of the data directory, the journal and retention.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::Args;
use tara_export_catalog::layout::JournalLocation;

use super::{
    GIB, MIB,
    parse::{boolean, checked, data_dir, duration, journal, number, size},
};

/// The data directory and the journal.
#[derive(Debug, Clone, Args)]
pub struct DiskSettings {
    /// Data directory with the local store and the journal; one server at a time can use it
    #[arg(long, env = "DATA_DIR", default_value = "exports", value_parser = checked("DATA_DIR", data_dir))]
    pub data_dir: PathBuf,

    /// The disk is lost with this machine or container; the server logs the consequences when it starts
    #[arg(long, env = "EPHEMERAL_DISK", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("EPHEMERAL_DISK", boolean))]
    pub ephemeral_disk: bool,

    /// Where accepted exports are kept until they are committed: local (this disk), or store (this disk and S3, so that
    /// another replica can finish them if this machine is lost)
    #[arg(long, env = "JOURNAL", default_value = "local", value_parser = checked("JOURNAL", journal))]
    pub journal: JournalLocation,

    /// With JOURNAL=store: interval between scans for exports that no replica finishes (100ms to 1d)
    #[arg(long, env = "TAKEOVER_INTERVAL", default_value = "5m",
          value_parser = duration("TAKEOVER_INTERVAL", 100..=86_400_000))]
    pub takeover_interval: Duration,

    /// With JOURNAL=store: age after which another replica takes over an unfinished export (0s to 1d)
    #[arg(long, env = "TAKEOVER_AGE", default_value = "15m",
          value_parser = duration("TAKEOVER_AGE", 0..=86_400_000))]
    pub takeover_age: Duration,

    /// Maximum total size of the accepted exports that wait for their store (1MiB to 1TiB)
    #[arg(long, env = "MAX_JOURNAL_BYTES", default_value = "16GiB",
          value_parser = size("MAX_JOURNAL_BYTES", MIB..=1024 * GIB))]
    pub max_journal_bytes: ByteSize,

    /// Maximum number of exports from the backlog that run at once (1 to 256)
    #[arg(long, env = "BACKLOG_CONCURRENCY", default_value = "4", value_parser = number("BACKLOG_CONCURRENCY", 1..=256))]
    pub backlog_concurrency: u32,

    /// Keep the local copy of a bundle that fell back after it is synced to S3
    #[arg(long, env = "KEEP_LOCAL_COPIES", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("KEEP_LOCAL_COPIES", boolean))]
    pub keep_local_copies: bool,

    /// Minimum time between the two checks that must find a document missing before its export fails with SOURCE_LOST
    /// (1s to 1d)
    #[arg(long, env = "LOSS_CONFIRMATION", default_value = "1m",
          value_parser = duration("LOSS_CONFIRMATION", 1_000..=86_400_000))]
    pub loss_confirmation: Duration,

    /// How long the server keeps receipts, which identify exports in S3 during an outage (0s to 365d)
    #[arg(long, env = "RECEIPT_RETENTION", default_value = "30d",
          value_parser = duration("RECEIPT_RETENTION", 0..=31_536_000_000))]
    pub receipt_retention: Duration,

    /// Maximum number of receipts; beyond it, the oldest of the caller with the most are removed (0 to 10000000)
    #[arg(long, env = "MAX_RECEIPTS", default_value = "100000", value_parser = number("MAX_RECEIPTS", 0..=10_000_000))]
    pub max_receipts: u32,

    /// How long the id of an export that failed without a bundle returns the failure; afterwards the id can be reused
    /// (1h to 3650d)
    #[arg(long, env = "FAILURE_RETENTION", default_value = "90d",
          value_parser = duration("FAILURE_RETENTION", 3_600_000..=315_360_000_000))]
    pub failure_retention: Duration,

    /// Maximum number of failure records, shared equally between callers; a caller beyond its share can only start
    /// exports that fall back (1 to 1000000)
    #[arg(long, env = "MAX_FAILURE_RECORDS", default_value = "10000",
          value_parser = number("MAX_FAILURE_RECORDS", 1..=1_000_000))]
    pub max_failure_records: u32,

    /// Interval at which expired receipts, failure records and uploads are removed and unfinished parts aborted (100ms
    /// to 1d)
    #[arg(long, env = "RETENTION_INTERVAL", default_value = "1h",
          value_parser = duration("RETENTION_INTERVAL", 100..=86_400_000))]
    pub retention_interval: Duration,
}

//! Settings from flags and environment variables. The defaults suit a laptop.
//!
//! Values are parsed into the types of the crates that use them.

mod disk;
mod jobs;
mod limits;
mod listen;
mod notify;
mod optional;
mod parse;
mod security;
mod store;
mod telemetry;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use tara_export_catalog::layout::JournalLocation;

pub use self::{
    disk::DiskSettings,
    jobs::JobSettings,
    limits::{DOWNLOAD_BYTES, LimitSettings},
    listen::{ListenSettings, StreamTime, TrustedProxy},
    notify::NotifySettings,
    optional::{Optional, value, values},
    security::SecuritySettings,
    store::StoreSettings,
    telemetry::{LogFormat, LogSettings, TelemetrySettings},
};

use self::parse::{duration, optional, replica_name, size};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Settings of a server. Each one is a flag and an environment variable.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server settings")]
pub struct Settings {
    /// S3.
    #[command(flatten)]
    pub store: StoreSettings,

    /// The data directory and the journal.
    #[command(flatten)]
    pub disk: DiskSettings,

    /// Size of the cache for recently read manifests and reports (0 to 64GiB); 0: no cache
    #[arg(long, env = "CATALOG_CACHE_SIZE", default_value = "64MiB", value_parser = size("CATALOG_CACHE_SIZE", 0..=64 * GIB))]
    pub catalog_cache_size: ByteSize,

    /// Name of this server in responses; unset: the machine's name
    #[arg(long, env = "REPLICA_NAME", value_parser = optional("REPLICA_NAME", replica_name))]
    pub replica_name: Option<Optional<String>>,

    /// Use a fictional next format version, for tests
    #[cfg(feature = "next-format")]
    #[arg(long, hide = true)]
    pub next_format: bool,

    /// How long acceptance waits for S3 (10ms to 1m)
    #[arg(long, env = "ACCEPT_TIMEOUT", default_value = "2s", value_parser = duration("ACCEPT_TIMEOUT", 10..=60_000))]
    pub accept_timeout: Duration,

    /// Maximum silence of a stream before the server sends a heartbeat (100ms to 15s)
    #[arg(long, env = "HEARTBEAT_INTERVAL", default_value = "10s",
          value_parser = duration("HEARTBEAT_INTERVAL", 100..=15_000))]
    pub heartbeat_interval: Duration,

    /// Limits on requests and responses.
    #[command(flatten)]
    pub limits: LimitSettings,

    /// Notifications.
    #[command(flatten)]
    pub notify: NotifySettings,

    /// Scheduled jobs.
    #[command(flatten)]
    pub jobs: JobSettings,
}

impl Settings {
    /// Checks settings against each other.
    ///
    /// # Errors
    /// A human-readable message that names the settings.
    pub fn check(&self) -> Result<(), String> {
        self.limits.check()?;
        if self.disk.journal == JournalLocation::Store && !self.store.has_bucket() {
            return Err("JOURNAL=store requires a bucket: set S3_BUCKET_NAME".to_owned());
        }
        self.store.check()
    }

    /// A warning about what an ephemeral disk loses. `None` if the disk is not ephemeral.
    pub fn disk_warning(&self) -> Option<&'static str> {
        if !self.disk.ephemeral_disk {
            return None;
        }
        Some(match (self.store.has_bucket(), self.disk.journal) {
            (false, _) => {
                "EPHEMERAL_DISK without a bucket: every bundle is lost with this disk; set S3_BUCKET_NAME"
            }
            (true, JournalLocation::Local) => {
                "EPHEMERAL_DISK with JOURNAL=local: until its bundle is in S3, an accepted export is lost with this \
                 disk; JOURNAL=store keeps it in S3 as well"
            }
            (true, JournalLocation::Store) => {
                "EPHEMERAL_DISK: exports that are accepted or fall back while S3 is unreachable are lost with this \
                 disk until they are in S3; the event `accepted` reports where an export is kept"
            }
        })
    }
}

//! Settings and stores of the engine.

use std::{sync::Arc, time::Duration};

use tara_export_bundle::FormatVersion;
use tara_export_catalog::layout::JournalLocation;
use tara_export_store::{AllowedSource, Store};

use crate::export::{accept::admission::AdmissionLimits, journal::JournalRetention};

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Longest interval between two messages of a stream.
    pub heartbeat_interval: Duration,
    /// How long acceptance waits for the store.
    pub accept_timeout: Duration,
    /// Retry budget per export and store.
    pub retry_budget: Duration,
    /// Parallel PUTs of one export.
    pub parallel_puts: usize,
    /// How long the circuit breaker skips S3 after an outage; then one export tries again, and the pause doubles up
    /// to twelve times this value. Zero disables the circuit breaker.
    pub outage_pause: Duration,
    /// Journal entries that are processed at the same time.
    pub backlog_concurrency: usize,
    /// Keep the local copy of a bundle after it is synced to S3.
    pub keep_local_copies: bool,
    /// The format version of new exports.
    pub format_version: FormatVersion,
    /// Where accepted exports are stored until they are committed.
    pub journal: JournalLocation,
    /// How often the store's journal is scanned for unfinished exports.
    pub takeover_interval: Duration,
    /// Minimum age of an entry in the store's journal before another replica finishes its export.
    pub takeover_age: Duration,
    /// How long receipts and failure records are kept.
    pub journal_retention: JournalRetention,
    /// How often expired files are removed.
    pub retention_interval: Duration,
    /// Minimum time between the two checks that must both find a document missing before its export fails.
    pub loss_confirmation: Duration,
    /// Write to S3 servers that ignore conditions on writes.
    pub allow_unsafe_store: bool,
    /// Limits on requests and exports in memory.
    pub admission: AdmissionLimits,
    /// S3 locations that documents may be copied from.
    pub allowed_sources: Vec<AllowedSource>,
    /// Maximum size of one document.
    pub document_size_bytes: u64,
}

/// The stores that bundles are written to.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The bucket, if one is configured.
    pub s3: Option<Arc<dyn Store>>,
    /// The local store.
    pub local: Arc<dyn Store>,
}

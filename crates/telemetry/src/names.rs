//! Every metric: its name, unit, labels and meaning. Dashboards, alarms and docs/operations.md use only these
//! (tests/process/observability/dashboards.rs).
//!
//! Each label has few values, known in advance: never ids, names or messages.

use metrics::{Label, SharedString, Unit};

/// The declaration of a metric, for exporters and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declaration {
    /// Its exported name.
    pub name: &'static str,
    /// Its meaning in one sentence.
    pub description: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Its kind.
    pub kind: Kind,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only increases.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// A distribution of values.
    Histogram,
}

/// The labels of a metric without labels.
pub const NONE: [&str; 0] = [];

/// A metric that only increases, with `LABELS` labels.
#[derive(Debug, Clone, Copy)]
pub struct Counter<const LABELS: usize>(&'static str, [&'static str; LABELS]);

/// A metric that increases and decreases.
#[derive(Debug, Clone, Copy)]
pub struct Gauge<const LABELS: usize>(&'static str, [&'static str; LABELS]);

/// A distribution of values.
#[derive(Debug, Clone, Copy)]
pub struct Histogram<const LABELS: usize>(&'static str, [&'static str; LABELS]);

impl<const LABELS: usize> Counter<LABELS> {
    /// Adds to the counter with these label values.
    pub fn add(&self, amount: u64, values: [impl Into<SharedString>; LABELS]) {
        metrics::counter!(self.0, labelled(self.1, values)).increment(amount);
    }

    /// Lets the counter exist with these label values, so that its first increase is one: Prometheus sees no increase
    /// in a counter that appears with its first value.
    pub fn register(&self, values: [impl Into<SharedString>; LABELS]) {
        self.add(0, values);
    }
}

impl<const LABELS: usize> Gauge<LABELS> {
    /// Sets the gauge with these label values.
    pub fn set(&self, value: f64, values: [impl Into<SharedString>; LABELS]) {
        metrics::gauge!(self.0, labelled(self.1, values)).set(value);
    }

    /// Increments the gauge until the returned guard is dropped.
    #[must_use]
    pub fn enter(&self, values: [impl Into<SharedString>; LABELS]) -> GaugeGuard {
        let gauge = metrics::gauge!(self.0, labelled(self.1, values));
        gauge.increment(1.0);
        GaugeGuard(gauge)
    }
}

impl<const LABELS: usize> Histogram<LABELS> {
    /// Records a value with these label values.
    pub fn record(&self, value: f64, values: [impl Into<SharedString>; LABELS]) {
        metrics::histogram!(self.0, labelled(self.1, values)).record(value);
    }
}

/// Decrements its gauge when dropped.
pub struct GaugeGuard(metrics::Gauge);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

fn labelled<const LABELS: usize>(
    names: [&'static str; LABELS],
    values: [impl Into<SharedString>; LABELS],
) -> Vec<Label> {
    names.into_iter().zip(values).map(|(name, value)| Label::new(name, value)).collect()
}

macro_rules! declare {
    ($(#[doc = $description:literal] $constant:ident: $kind:ident $name:literal, $unit:ident, [$($label:literal),*];)*) => {
        $(
            #[doc = $description]
            pub const $constant: $kind<{ <[&str]>::len(&[$($label),*]) }> = $kind($name, [$($label),*]);
        )*

        /// Every metric.
        pub const ALL: &[Declaration] = &[$(Declaration {
            name: $name,
            description: $description.trim_ascii(),
            unit: Unit::$unit,
            labels: &[$($label),*],
            kind: Kind::$kind,
        }),*];
    };
}

declare! {
    /// Always 1, with the version of the running server.
    BUILD_INFO: Gauge "tara_export_build_info", Count, ["version"];
    /// Exports that were accepted, including those in the journal at the start.
    STARTED: Counter "tara_export_started_total", Count, [];
    /// Exports that ended, by outcome (committed, fell_back, failed), requested and actual destination (s3, local, none).
    EXPORTS: Counter "tara_export_exports_total", Count, ["outcome", "requested", "stored_in"];
    /// Time from the acceptance of an export to its end.
    EXPORT_DURATION: Histogram "tara_export_export_duration_seconds", Seconds, ["outcome", "stored_in"];
    /// Artifacts of a committed bundle, including its manifest.
    EXPORT_ARTIFACTS: Histogram "tara_export_export_artifacts", Count, ["stored_in"];
    /// Bytes of a committed bundle.
    EXPORT_SIZE: Histogram "tara_export_export_size_bytes", Bytes, ["stored_in"];
    /// Exports that ended without a bundle, by reason.
    FAILURES: Counter "tara_export_failures_total", Count, ["reason"];
    /// Exports whose bundle was stored in the local store because S3 failed, by reason.
    FALLBACKS: Counter "tara_export_fallbacks_total", Count, ["reason"];
    /// Times that no store accepted an export, which then waited in the journal, by reason.
    POSTPONED: Counter "tara_export_postponed_total", Count, ["reason"];
    /// Current exports by state (completed, failed, running, pending, fell_back, quarantined), since the start.
    EXPORTS_BY_STATE: Gauge "tara_export_exports", Count, ["state"];
    /// Store operations that failed and were retried, by cause.
    RETRIES: Counter "tara_export_retries_total", Count, ["cause"];
    /// Exports that are not at their requested destination: pending and fallen back.
    BACKLOG: Gauge "tara_export_backlog_exports", Count, [];
    /// Exports that wait for a store other than the configured one.
    OTHER_STORE: Gauge "tara_export_other_store_exports", Count, [];
    /// Waiting time of the oldest export that is not at its requested destination.
    BACKLOG_OLDEST_AGE: Gauge "tara_export_backlog_oldest_age_seconds", Seconds, [];
    /// Fallback bundles that were synced to S3.
    SYNCED: Counter "tara_export_synced_total", Count, [];
    /// Failed attempts to sync a fallback bundle to S3, by reason.
    SYNC_FAILURES: Counter "tara_export_sync_failures_total", Count, ["reason"];
    /// Exports of other replicas that this replica finished.
    TAKEOVERS: Counter "tara_export_takeovers_total", Count, [];
    /// Journal entries that cannot be processed and were quarantined.
    QUARANTINED: Counter "tara_export_quarantined_total", Count, [];
    /// Bytes of accepted exports in the journal.
    JOURNAL_SIZE: Gauge "tara_export_journal_bytes", Bytes, [];
    /// Maximum bytes of the journal (MAX_JOURNAL_BYTES).
    JOURNAL_LIMIT: Gauge "tara_export_journal_limit_bytes", Bytes, [];
    /// Whether S3 is skipped during an outage (1) or used (0).
    S3_OUTAGE: Gauge "tara_export_s3_outage", Count, [];
    /// Whether work makes no progress (1) or makes progress (0), by pool: runtime, journal, local-reads, local-writes, documents, computing, archives.
    STALLED: Gauge "tara_export_stalled", Count, ["pool"];
    /// Whether exports are refused (1) or accepted (0), by reason.
    NOT_ACCEPTING: Gauge "tara_export_not_accepting", Count, ["reason"];
    /// Responses whose data differed from the manifest.
    DATA_LOSS: Counter "tara_export_data_loss_total", Count, [];
    /// Calls of the export service that ended, by method and gRPC code.
    CALLS: Counter "tara_export_calls_total", Count, ["method", "code"];
    /// Calls of the export service that are in flight, including their streams, by method.
    CALLS_IN_FLIGHT: Gauge "tara_export_calls_in_flight", Count, ["method"];
    /// Calls that returned only an error, by method and reason (of ErrorInfo).
    REJECTED: Counter "tara_export_rejected_total", Count, ["method", "reason"];
    /// Requests for a permit that had to wait, by limit (the setting's name).
    SHARES_WAITED: Counter "tara_export_limit_waits_total", Count, ["limit"];
    /// Requests for a permit that were refused after a timeout, by limit (the setting's name).
    SHARES_REFUSED: Counter "tara_export_limit_refusals_total", Count, ["limit"];
    /// Times that the server paused because it could not accept a connection, by reason (descriptors, memory, other).
    ACCEPT_PAUSES: Counter "tara_export_accept_pauses_total", Count, ["reason"];
    /// Downloads in progress.
    DOWNLOADS: Gauge "tara_export_downloads", Count, [];
    /// Bytes that are reserved for responses while they are read (of MAX_READ_MEMORY).
    READ_MEMORY: Gauge "tara_export_read_memory_bytes", Bytes, [];
    /// Responses that the server ended early, by cause (idle, contended, stream_time, shutdown).
    RESPONSES_ENDED_EARLY: Counter "tara_export_responses_ended_early_total", Count, ["cause"];
    /// Objects that were removed because they exceeded their retention, by kind (receipts, failures, uploads, parts).
    EXPIRED: Counter "tara_export_expired_total", Count, ["kind"];
    /// Receipts and failure records without a journal entry, by kind (receipts, failures, stored_under_other_id).
    RETAINED_RECORDS: Gauge "tara_export_retained_records", Count, ["kind"];
    /// Uploads that CreateUpload skipped because one of their records is damaged.
    DAMAGED_UPLOADS: Counter "tara_export_damaged_uploads_total", Count, [];
    /// Requests sent to S3, by operation and result.
    S3_REQUESTS: Counter "tara_export_s3_requests_total", Count, ["operation", "result"];
    /// Time from sending a request to S3 until its response was read; for a download, until its body began.
    S3_DURATION: Histogram "tara_export_s3_request_duration_seconds", Seconds, ["operation", "result"];
    /// Requests to S3 with an unusually slow response, by operation and result: sent twice (won, lost, failed) or not (no_budget, throttled, busy).
    S3_HEDGES: Counter "tara_export_s3_hedges_total", Count, ["operation", "result"];
    /// Estimated cost of the requests to S3 (S3_PRICES), in billionths of a US dollar.
    S3_COST: Counter "tara_export_s3_cost_nanodollars_total", Count, ["operation"];
    /// Deliveries of notifications that ended, by target (its name in NOTIFY_FILE), event and result (delivered, failed, dead, duplicate).
    NOTIFICATIONS: Counter "tara_export_notifications_total", Count, ["target", "event", "result"];
    /// Time from an event until a target confirmed its notification, by target.
    NOTIFICATION_DELAY: Histogram "tara_export_notification_delay_seconds", Seconds, ["target"];
    /// Notifications that wait for delivery, by target.
    NOTIFICATIONS_PENDING: Gauge "tara_export_notifications_pending", Count, ["target"];
    /// Age of the oldest notification that waits for delivery, by target.
    NOTIFICATION_OLDEST_AGE: Gauge "tara_export_notification_oldest_age_seconds", Seconds, ["target"];
    /// Whether NOTIFY_FILE is invalid and a previous version is in force (1), or not (0).
    NOTIFY_FILE_ERROR: Gauge "tara_export_notify_file_error", Count, [];
    /// Items of batches that ended, by state (committed, fell_back, refused, failed).
    BATCH_ITEMS: Counter "tara_export_batch_items_total", Count, ["state"];
    /// Batches that have not ended, by state (incomplete, running, unreported).
    BATCHES: Gauge "tara_export_batches", Count, ["state"];
    /// Age of the oldest batch that has not ended.
    BATCH_OLDEST_AGE: Gauge "tara_export_batch_oldest_age_seconds", Seconds, [];
    /// Notifications that were not delivered and are not retried any more.
    NOTIFICATION_DEAD_LETTERS: Gauge "tara_export_notification_dead_letters", Count, [];
    /// Runs of scheduled jobs that this replica ended, by job (its name in JOBS_FILE) and result (succeeded, failed).
    JOB_RUNS: Counter "tara_export_job_runs_total", Count, ["job_name", "result"];
    /// When a run of a scheduled job last succeeded on this replica, in seconds since 1970, by job.
    JOB_LAST_SUCCESS: Gauge "tara_export_job_last_success_timestamp_seconds", Seconds, ["job_name"];
}

/// The upper bounds of a histogram's buckets, for exporters without their own.
pub fn buckets(unit: Unit) -> &'static [f64] {
    match unit {
        Unit::Seconds => &[
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
            3600.0,
        ],
        Unit::Bytes => &[
            16_384.0,
            65_536.0,
            262_144.0,
            1_048_576.0,
            4_194_304.0,
            16_777_216.0,
            67_108_864.0,
            268_435_456.0,
            1_073_741_824.0,
            5_368_709_120.0,
        ],
        _ => &[1.0, 5.0, 10.0, 12.0, 14.0, 16.0],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_prometheus() {
        let names: HashSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let Declaration { name, description, unit, kind, labels } = *metric;
            assert!(name.starts_with("tara_export_"), "{name}");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            if kind != Kind::Counter {
                assert_eq!(name.ends_with("_seconds"), unit == Unit::Seconds, "{name}");
                assert_eq!(name.ends_with("_bytes"), unit == Unit::Bytes, "{name}");
            }
            // Prometheus sets these for each target, and renames ours.
            assert!(!labels.iter().any(|label| ["job", "instance"].contains(label)), "{name}");
            assert!(description.ends_with('.') && !description.starts_with(' '), "{name}");
        }
    }
}

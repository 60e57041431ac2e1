//! Every metric: its name, unit, labels and meaning. Dashboards, alarms and docs/operations.md name no other
//! (tests/observability/dashboards.rs).
//!
//! Labels have few values each, known in advance: never ids, names or messages.

use metrics::{Label, SharedString, Unit};

/// What a metric is, for those who describe and check metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declaration {
    /// Its name, as everybody sees it.
    pub name: &'static str,
    /// What it is of, in one sentence.
    pub description: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// How it moves.
    pub kind: Kind,
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up only.
    Counter,
    /// Up and down.
    Gauge,
    /// A distribution of values.
    Histogram,
}

/// The labels of a metric without labels.
pub const NONE: [&str; 0] = [];

/// A metric that only goes up, with as many labels.
#[derive(Debug, Clone, Copy)]
pub struct Counter<const LABELS: usize>(&'static str, [&'static str; LABELS]);

/// A metric that goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge<const LABELS: usize>(&'static str, [&'static str; LABELS]);

/// A metric of which the distribution counts.
#[derive(Debug, Clone, Copy)]
pub struct Histogram<const LABELS: usize>(&'static str, [&'static str; LABELS]);

impl<const LABELS: usize> Counter<LABELS> {
    /// Counts more, under these values of its labels.
    pub fn add(&self, more: u64, values: [impl Into<SharedString>; LABELS]) {
        metrics::counter!(self.0, labelled(self.1, values)).increment(more);
    }
}

impl<const LABELS: usize> Gauge<LABELS> {
    /// Sets it, under these values of its labels.
    pub fn set(&self, value: f64, values: [impl Into<SharedString>; LABELS]) {
        metrics::gauge!(self.0, labelled(self.1, values)).set(value);
    }

    /// One more, until what is returned is dropped.
    #[must_use]
    pub fn enter(&self, values: [impl Into<SharedString>; LABELS]) -> Entered {
        let gauge = metrics::gauge!(self.0, labelled(self.1, values));
        gauge.increment(1.0);
        Entered(gauge)
    }
}

impl<const LABELS: usize> Histogram<LABELS> {
    /// Notes one value, under these values of its labels.
    pub fn record(&self, value: f64, values: [impl Into<SharedString>; LABELS]) {
        metrics::histogram!(self.0, labelled(self.1, values)).record(value);
    }
}

/// One in a gauge.
pub struct Entered(metrics::Gauge);

impl Drop for Entered {
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

        /// All of them.
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
    /// Exports that were accepted, those of the journal at the start included.
    STARTED: Counter "tara_export_started_total", Count, [];
    /// Exports that ended, by outcome (committed, fell_back, failed) and the destination asked for and got (s3, local, none).
    EXPORTS: Counter "tara_export_exports_total", Count, ["outcome", "asked", "got"];
    /// Time from the acceptance of an export to its end.
    EXPORT_DURATION: Histogram "tara_export_export_duration_seconds", Seconds, ["outcome", "got"];
    /// Artifacts of a committed bundle, its manifest included.
    EXPORT_ARTIFACTS: Histogram "tara_export_export_artifacts", Count, ["got"];
    /// Bytes of a committed bundle.
    EXPORT_SIZE: Histogram "tara_export_export_size_bytes", Bytes, ["got"];
    /// Exports that ended without a bundle, by reason.
    FAILURES: Counter "tara_export_failures_total", Count, ["reason"];
    /// Exports whose bundle went to the local store because S3 could not take it, by reason.
    FALLBACKS: Counter "tara_export_fallbacks_total", Count, ["reason"];
    /// Times that no store took an export, which then waited in the journal, by reason.
    POSTPONED: Counter "tara_export_postponed_total", Count, ["reason"];
    /// Exports by state now (completed, failed, running, pending, fell_back, quarantined), since the start.
    EXPORTS_BY_STATE: Gauge "tara_export_exports", Count, ["state"];
    /// Store operations that failed and were repeated, by cause.
    RETRIES: Counter "tara_export_retries_total", Count, ["cause"];
    /// Exports that are not where they were asked for: pending ones and those that fell back.
    OUTBOX: Gauge "tara_export_outbox_exports", Count, [];
    /// How long the oldest export waits that is not where it was asked for.
    OUTBOX_OLDEST_AGE: Gauge "tara_export_outbox_oldest_age_seconds", Seconds, [];
    /// Bundles that had fallen back and are in S3 now.
    DRAINED: Counter "tara_export_drained_total", Count, [];
    /// Attempts to send a bundle to S3 that had fallen back which failed, by reason.
    DRAIN_FAILURES: Counter "tara_export_drain_failures_total", Count, ["reason"];
    /// Exports of other replicas that this one finished.
    TAKEOVERS: Counter "tara_export_takeovers_total", Count, [];
    /// Entries of the journal that can't be read and were moved aside.
    QUARANTINED: Counter "tara_export_quarantined_total", Count, [];
    /// Bytes of accepted exports in the journal.
    JOURNAL_SIZE: Gauge "tara_export_journal_bytes", Bytes, [];
    /// Bytes that the journal may have (MAX_JOURNAL_BYTES).
    JOURNAL_LIMIT: Gauge "tara_export_journal_limit_bytes", Bytes, [];
    /// Whether S3 is left alone at the moment, because an export could not reach it (1) or not (0).
    S3_OUTAGE: Gauge "tara_export_s3_outage", Count, [];
    /// Whether work makes no progress (1) or does (0), by pool: runtime, journal, local-reads, local-writes, documents, computing, archives.
    STALLED: Gauge "tara_export_stalled", Count, ["pool"];
    /// Whether no export would be accepted (1) or one would be (0), by reason.
    NOT_ACCEPTING: Gauge "tara_export_not_accepting", Count, ["reason"];
    /// Answers that were found not to be what the manifest says.
    DATA_LOSS: Counter "tara_export_data_loss_total", Count, [];
    /// Calls of the export service that ended, by method and gRPC code.
    CALLS: Counter "tara_export_calls_total", Count, ["method", "code"];
    /// Calls of the export service that are open now, their streams included, by method.
    CALLS_IN_FLIGHT: Gauge "tara_export_calls_in_flight", Count, ["method"];
    /// Calls that were answered with an error and nothing else, by method and reason (of ErrorInfo).
    REJECTED: Counter "tara_export_rejected_total", Count, ["method", "reason"];
    /// Requests for a place that had to wait, by limit (the setting's name).
    SHARES_WAITED: Counter "tara_export_limit_waits_total", Count, ["limit"];
    /// Requests for a place that were refused, because none became free in time, by limit (the setting's name).
    SHARES_REFUSED: Counter "tara_export_limit_refusals_total", Count, ["limit"];
    /// Times that the server paused because it could not accept a connection, by reason (descriptors, memory, other).
    ACCEPT_PAUSES: Counter "tara_export_accept_pauses_total", Count, ["reason"];
    /// Downloads that are being read now.
    DOWNLOADS: Gauge "tara_export_downloads", Count, [];
    /// Bytes that are reserved for answers being read (of MAX_READ_MEMORY).
    READ_MEMORY: Gauge "tara_export_read_memory_bytes", Bytes, [];
    /// Answers that the server ended early, by cause (idle, contended, stream_time, shutdown).
    ANSWERS_ENDED_EARLY: Counter "tara_export_answers_ended_early_total", Count, ["cause"];
    /// Requests sent to S3, by operation and result.
    S3_REQUESTS: Counter "tara_export_s3_requests_total", Count, ["operation", "result"];
    /// Time from sending a request to S3 until its answer was read, of a download until it began.
    S3_DURATION: Histogram "tara_export_s3_request_duration_seconds", Seconds, ["operation", "result"];
    /// What the requests to S3 cost, estimated with S3_PRICES, in billionths of a US dollar.
    S3_COST: Counter "tara_export_s3_cost_nanodollars_total", Count, ["operation"];
}

/// The upper bounds of a histogram's buckets, for readers that have no others.
pub(super) fn buckets(unit: Unit) -> &'static [f64] {
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
    fn names_are_those_of_prometheus_and_each_is_there_once() {
        let names: HashSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let Declaration { name, description, unit, kind, .. } = *metric;
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
            assert!(description.ends_with('.') && !description.starts_with(' '), "{name}");
        }
    }
}

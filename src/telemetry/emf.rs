//! Writes metrics as lines of CloudWatch's Embedded Metric Format to standard output. If a platform sends a
//! container's output to CloudWatch Logs (ECS, App Runner, Lambda), they become metrics there without an agent.
//!
//! Format: Amazon CloudWatch User Guide, "Specification: Embedded metric format". A distribution is written
//! with `Values` and `Counts`, as AWS's library for Java does, because the specification's arrays of 100
//! values are too small for a busy minute.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    sync::{Arc, atomic::Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    atomics::AtomicU64,
};
use metrics_util::{
    registry::{AtomicStorage, Registry},
    storage::AtomicBucket,
};
use serde_json::{Map, Value, json};

use tara_export_telemetry::names::ALL;

/// The most values of one distribution: the specification's limit of an array.
const MAX_VALUES: usize = 100;
/// The ratio of neighboring bins of a distribution. A reported value is off by 5 % at most.
const BIN_FACTOR: f64 = 1.1;

/// Records values until they are flushed.
#[derive(Clone)]
pub(super) struct Emf {
    namespace: Arc<str>,
    registry: Arc<Registry<Key, AtomicStorage>>,
}

impl std::fmt::Debug for Emf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Emf").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Emf {
    pub(super) fn new(namespace: String) -> Self {
        Self { namespace: namespace.into(), registry: Arc::new(Registry::new(AtomicStorage)) }
    }

    /// Writes what was recorded since the last flush.
    pub(super) fn flush(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let lines = self.take(u64::try_from(now.as_millis()).unwrap_or_default());
        // A single write, so that other output does not mix with it. A failure cannot be reported.
        let _ = io::stdout().lock().write_all(lines.as_bytes());
    }

    /// Returns one line for each set of labels, without unchanged counters and distributions.
    fn take(&self, time_ms: u64) -> String {
        let mut documents: BTreeMap<Vec<(&str, &str)>, Map<String, Value>> = BTreeMap::new();
        let (mut counters, mut gauges, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
        self.registry.visit_counters(|key, counter: &Arc<AtomicU64>| {
            counters.push((key.clone(), counter.swap(0, Ordering::AcqRel)));
        });
        self.registry.visit_gauges(|key, gauge: &Arc<AtomicU64>| {
            gauges.push((key.clone(), f64::from_bits(gauge.load(Ordering::Acquire))));
        });
        self.registry.visit_histograms(|key, histogram: &Arc<AtomicBucket<f64>>| {
            let mut distribution = Distribution::default();
            histogram.clear_with(|values| distribution.add(values));
            histograms.push((key.clone(), distribution));
        });
        let counted = counters.iter().filter(|(_, count)| *count > 0);
        let values = counted.map(|(key, count)| (key, json!(count)));
        let values = values.chain(gauges.iter().map(|(key, value)| (key, json!(value))));
        let values = values
            .chain(histograms.iter().filter_map(|(key, values)| Some((key, values.to_value()?))));
        for (key, value) in values {
            let labels = key.labels().map(|label| (label.key(), label.value())).collect();
            documents.entry(labels).or_default().insert(key.name().to_owned(), value);
        }
        let lines = documents
            .into_iter()
            .map(|(labels, values)| self.document(time_ms, &labels, values).to_string() + "\n");
        lines.collect()
    }

    fn document(&self, time_ms: u64, labels: &[(&str, &str)], values: Map<String, Value>) -> Value {
        let metrics: Vec<Value> = values
            .keys()
            .map(|name| json!({ "Name": name, "Unit": cloudwatch_unit(name) }))
            .collect();
        let names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
        // Also without dimensions, because alarms need the sum over all labels.
        let dimensions = if names.is_empty() { json!([[]]) } else { json!([[], names]) };
        let mut document = values;
        for (name, value) in labels {
            document.insert((*name).to_owned(), json!(value));
        }
        let directive = json!({
            "Namespace": &*self.namespace, "Dimensions": dimensions, "Metrics": metrics,
        });
        document.insert(
            "_aws".to_owned(),
            json!({ "Timestamp": time_ms, "CloudWatchMetrics": [directive] }),
        );
        Value::Object(document)
    }
}

/// CloudWatch's name of a metric's unit (CloudWatch API Reference, MetricDatum).
fn cloudwatch_unit(name: &str) -> &'static str {
    match ALL.iter().find(|metric| metric.name == name).map(|metric| metric.unit) {
        Some(Unit::Seconds) => "Seconds",
        Some(Unit::Bytes) => "Bytes",
        Some(Unit::Count) => "Count",
        _ => "None",
    }
}

/// Values, grouped into bins of a constant ratio.
#[derive(Debug, Default)]
struct Distribution {
    count: u64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
    bins: BTreeMap<i32, u64>,
}

impl Distribution {
    fn add(&mut self, values: &[f64]) {
        for value in values.iter().copied().filter(|value| value.is_finite()) {
            self.count += 1;
            self.sum += value;
            self.min = Some(self.min.map_or(value, |min| min.min(value)));
            self.max = Some(self.max.map_or(value, |max| max.max(value)));
            // All values below a millionth share one bin.
            let bin = value.max(1e-6).log(BIN_FACTOR).floor();
            *self.bins.entry(bin as i32).or_default() += 1;
        }
    }

    /// `None` if there are no values.
    fn to_value(&self) -> Option<Value> {
        let (min, max) = (self.min?, self.max?);
        // Neighboring bins are merged if there are too many.
        let bins_per_value = self.bins.len().div_ceil(MAX_VALUES);
        let bins: Vec<(&i32, &u64)> = self.bins.iter().collect();
        let (mut values, mut counts) = (Vec::new(), Vec::new());
        for chunk in bins.chunks(bins_per_value.max(1)) {
            let middle = f64::from(*chunk[chunk.len() / 2].0) + 0.5;
            values.push(BIN_FACTOR.powf(middle).clamp(min, max));
            counts.push(chunk.iter().map(|(_, count)| **count).sum::<u64>());
        }
        Some(json!({
            "Values": values, "Counts": counts,
            "Min": min, "Max": max, "Sum": self.sum, "Count": self.count,
        }))
    }
}

impl Recorder for Emf {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.registry.get_or_create_counter(key, |counter| Counter::from_arc(counter.clone()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.registry.get_or_create_gauge(key, |gauge| Gauge::from_arc(gauge.clone()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.registry
            .get_or_create_histogram(key, |histogram| Histogram::from_arc(histogram.clone()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metrics::with_local_recorder;
    use tara_export_telemetry::names;

    use super::*;

    fn lines(emf: &Emf) -> Vec<Value> {
        emf.take(1_700_000_000_000)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn flush_writes_changes_with_and_without_labels() {
        let emf = Emf::new("TaraExport".to_owned());
        with_local_recorder(&emf, || {
            names::FALLBACKS.add(2, ["STORE_DENIED"]);
            names::JOURNAL_SIZE.set(1024.0, names::NONE);
        });
        let first = lines(&emf);
        let fallbacks = first.iter().find(|line| line["reason"] == "STORE_DENIED").unwrap();
        assert_eq!(fallbacks["tara_export_fallbacks_total"], 2);
        let directive = &fallbacks["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "TaraExport");
        assert_eq!(directive["Dimensions"], json!([[], ["reason"]]));
        assert_eq!(
            directive["Metrics"],
            json!([{ "Name": "tara_export_fallbacks_total", "Unit": "Count" }])
        );
        assert_eq!(fallbacks["_aws"]["Timestamp"], 1_700_000_000_000_u64);
        let gauge = first.iter().find(|line| line["tara_export_journal_bytes"] == 1024.0).unwrap();
        assert_eq!(gauge["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([[]]));
        // An unchanged counter is not written again; a gauge is.
        let second = lines(&emf);
        assert_eq!(second.len(), 1);
        assert_eq!(second[0]["tara_export_journal_bytes"], 1024.0);
    }

    #[test]
    fn distribution_keeps_sum_and_median() {
        let emf = Emf::new("TaraExport".to_owned());
        with_local_recorder(&emf, || {
            for number in 1..=100_000_u32 {
                names::EXPORT_DURATION.record(f64::from(number) / 1000.0, ["committed", "s3"]);
            }
        });
        let recorded = lines(&emf).remove(0)["tara_export_export_duration_seconds"].clone();
        assert_eq!(recorded["Count"], 100_000);
        assert_eq!(
            (recorded["Min"].as_f64(), recorded["Max"].as_f64()),
            (Some(0.001), Some(100.0))
        );
        assert!((recorded["Sum"].as_f64().unwrap() - 5_000_050.0).abs() < 1.0);
        let numbers = |name: &str| -> Vec<f64> {
            recorded[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let (values, counts) = (numbers("Values"), numbers("Counts"));
        assert!(values.len() <= MAX_VALUES && values.len() == counts.len(), "{}", values.len());
        assert_eq!(counts.iter().sum::<f64>(), 100_000.0);
        // The median equals the recorded one, except for the width of a bin.
        let mut seen = 0.0;
        let median = values.iter().zip(&counts).find(|(_, count)| {
            seen += **count;
            seen >= 50_000.0
        });
        let median = *median.unwrap().0;
        assert!((45.0..55.0).contains(&median), "{median}");
    }
}

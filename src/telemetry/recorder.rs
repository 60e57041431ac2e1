//! Installs the recorder of metrics: for `/metrics`, Embedded Metric Format, both or neither.

use metrics::Recorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::layers::FanoutBuilder;
use tara_export_telemetry::names::{self, ALL, Declaration, Kind};

use super::emf::Emf;

/// Installs the configured recorders for the process. Without any, recording costs almost nothing.
pub(super) fn install(
    wants_prometheus: bool,
    emf_namespace: Option<String>,
) -> (Option<PrometheusHandle>, Option<Emf>) {
    let prometheus = wants_prometheus.then(prometheus);
    let handle = prometheus.as_ref().map(|recorder| recorder.handle());
    let emf = emf_namespace.map(Emf::new);
    let installed = match (prometheus, emf.clone()) {
        (Some(prometheus), Some(emf)) => {
            let both = FanoutBuilder::default().add_recorder(prometheus).add_recorder(emf).build();
            set(both)
        }
        (Some(prometheus), None) => set(prometheus),
        (None, Some(emf)) => set(emf),
        (None, None) => true,
    };
    if !installed {
        tracing::error!("cannot record metrics: another recorder is installed in this process");
    }
    (handle, emf)
}

fn set(recorder: impl Recorder + Sync + 'static) -> bool {
    for &Declaration { name, description, unit, kind, .. } in ALL {
        let (name, unit, description) = (name.into(), Some(unit), description.into());
        match kind {
            Kind::Counter => recorder.describe_counter(name, unit, description),
            Kind::Gauge => recorder.describe_gauge(name, unit, description),
            Kind::Histogram => recorder.describe_histogram(name, unit, description),
        }
    }
    metrics::set_global_recorder(recorder).is_ok()
}

fn prometheus() -> metrics_exporter_prometheus::PrometheusRecorder {
    let histograms = ALL.iter().filter(|metric| metric.kind == Kind::Histogram);
    let builder = histograms.fold(PrometheusBuilder::new(), |builder, metric| {
        let matcher = Matcher::Full(metric.name.to_owned());
        match builder.set_buckets_for_metric(matcher, names::buckets(metric.unit)) {
            Ok(builder) => builder,
            // Fails only without buckets, and each unit has some.
            Err(_) => PrometheusBuilder::new(),
        }
    });
    builder.build_recorder()
}

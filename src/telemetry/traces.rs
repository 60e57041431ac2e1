//! Traces by OTLP over gRPC.

use std::time::Duration;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use tokio::{task, time};

use super::TelemetryError;

/// Sends spans in the background, and drops them where nobody takes them: no export waits for a trace.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts sending to a collector. Within the async runtime, on which the connection lives; does not wait
    /// for it.
    pub(super) fn start(url: String, sample_ratio: f64) -> Result<Self, TelemetryError> {
        let mut builder = SpanExporter::builder().with_tonic().with_endpoint(&url);
        if url.starts_with("https://") {
            let tls = tonic::transport::ClientTlsConfig::new().with_native_roots();
            builder = builder.with_tls_config(tls);
        }
        let exporter = builder
            .build()
            .map_err(|error| TelemetryError::Traces { url, message: error.to_string() })?;
        let resource = Resource::builder()
            .with_service_name("tara-export")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        // A caller who traces decides; who doesn't leaves it to the ratio.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .with_sampler(sampler)
            .build();
        Ok(Self { provider })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("tara-export")
    }

    /// Sends what is left, if that is possible soon.
    pub(super) async fn shut_down(self, patience: Duration) {
        // It blocks until the exporter, which needs this thread's runtime, is done.
        let ended = task::spawn_blocking(move || self.provider.shutdown_with_timeout(patience));
        match time::timeout(patience, ended).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last traces are lost"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last traces are lost"),
        }
    }
}

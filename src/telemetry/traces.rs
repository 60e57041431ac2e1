//! Sends traces with OTLP over gRPC.

use std::time::Duration;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use tara_export_outbound::{Authorities, Environment, Proxies, ProxyConnector};
use tokio::{task, time};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::TelemetryError;

/// The timeout of connecting to the collector, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of one request, as in the OpenTelemetry specification.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends spans in the background, and drops them if the collector is unavailable, so that exports never wait for
/// traces.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts sending to a collector. Must be called within the async runtime, which runs the connection. Does not
    /// wait for the connection.
    pub(super) fn start(url: String, sample_ratio: f64) -> Result<Self, TelemetryError> {
        let failed = |message: String| TelemetryError::Traces { url: url.clone(), message };
        let channel = channel(&url).map_err(failed)?;
        let exporter = SpanExporter::builder().with_tonic().with_channel(channel).build();
        let exporter = exporter.map_err(|error| failed(error.to_string()))?;
        let resource = Resource::builder()
            .with_service_name("tara-export")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        // The caller's sampling decision applies; without one, the ratio does.
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

    /// Sends the remaining spans within the timeout.
    pub(super) async fn shut_down(self, timeout: Duration) {
        // Blocks until the exporter is done, which needs this thread's runtime.
        let ended = task::spawn_blocking(move || self.provider.shutdown_with_timeout(timeout));
        match time::timeout(timeout, ended).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans were not sent"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last spans were not sent"),
        }
    }
}

/// A connection to the collector that is opened when spans are sent: through the machine's proxy, except to loopback
/// hosts, and with TLS for `https://` URLs.
fn channel(url: &str) -> Result<Channel, String> {
    let proxies = Proxies::of(&Environment::of_process());
    let authorities = Authorities::of_system();
    let connector = ProxyConnector::new(&proxies.except_loopback(), &authorities)?;
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    let mut endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(SEND_TIMEOUT);
    if url.starts_with("https://") {
        let anchors = authorities.certificates().iter();
        let anchors =
            anchors.filter_map(|der| Some(webpki::anchor_from_trusted_cert(der).ok()?.to_owned()));
        let tls = ClientTlsConfig::new().trust_anchors(anchors);
        endpoint = endpoint.tls_config(tls).map_err(|error| error.to_string())?;
    }
    Ok(endpoint.connect_with_connector_lazy(connector))
}

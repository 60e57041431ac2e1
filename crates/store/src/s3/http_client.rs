//! The HTTP client of the SDK: proxies, certificate authorities and limits on responses.

use aws_sdk_s3::config::{ConfigBag, RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpConnector,
        },
        orchestrator::HttpRequest,
        runtime_components::RuntimeComponentsBuilder,
    },
    shared::IntoShared as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tara_export_outbound::{Authorities, Proxies};

use super::response_limits::bounded;

/// The number of idle connections to keep: enough for two concurrent exports that each send a dozen objects in
/// parallel.
const IDLE_CONNECTIONS: usize = 32;

/// HTTP/1.1, TLS by rustls with these authorities, or plain HTTP for `http://` URLs, through the proxies. Responses
/// have size limits.
pub(super) fn http_client(proxies: &Proxies, authorities: &Authorities) -> SharedHttpClient {
    let tls = tls_context(authorities);
    let through = |proxy: Option<&str>, config: fn(String) -> Option<ProxyConfig>| {
        let config = proxy.and_then(|url| config(url.to_owned()));
        let config = config.map(|config| config.no_proxy(proxies.direct_hosts()));
        one_client(config.unwrap_or_else(ProxyConfig::disabled), tls.clone())
    };
    // The URLs were checked when they were read.
    let http = through(proxies.http(), |url| ProxyConfig::http(url).ok());
    if proxies.http().is_none() && proxies.https().is_none() {
        return bounded(http);
    }
    let https = through(proxies.https(), |url| ProxyConfig::https(url).ok());
    bounded(ByScheme { http, https }.into_shared())
}

fn one_client(proxy: ProxyConfig, tls: TlsContext) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls.clone()).build()
    })
}

/// The authorities as PEM, which is what the SDK reads. It panics if a certificate cannot be parsed:
/// [`Authorities`] has only those that can.
fn tls_context(authorities: &Authorities) -> TlsContext {
    if authorities.is_native() && !authorities.is_empty() {
        // The SDK loads the same ones, and parses them once.
        return TlsContext::default();
    }
    let mut store = TrustStore::empty();
    for certificate in authorities.certificates() {
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(certificate);
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        store.add_pem_certificate(pem);
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    // Never fails in this version of the SDK. The default trusts the system's authorities.
    context.unwrap_or_default()
}

/// One client for each scheme of a destination, because the SDK's client has either one proxy for all destinations
/// or one for one scheme.
#[derive(Debug)]
struct ByScheme {
    http: SharedHttpClient,
    https: SharedHttpClient,
}

impl HttpClient for ByScheme {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(ConnectorByScheme {
            http: self.http.http_connector(settings, components),
            https: self.https.http_connector(settings, components),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.http.validate_base_client_config(components, config)?;
        self.https.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.http.validate_final_config(components, config)?;
        self.https.validate_final_config(components, config)
    }
}

#[derive(Debug)]
struct ConnectorByScheme {
    http: SharedHttpConnector,
    https: SharedHttpConnector,
}

impl HttpConnector for ConnectorByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match request.uri().starts_with("http://") {
            true => self.http.call(request),
            false => self.https.call(request),
        }
    }
}

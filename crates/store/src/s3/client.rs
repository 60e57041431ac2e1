//! Configuration of the SDK's client.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, SharedInterceptor, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};
use tara_export_outbound::{Authorities, Proxies};

use super::{
    S3Settings,
    body::SignedDigest,
    credentials::Refusals,
    endpoint::EndpointOfBucket,
    http_client::http_client,
    identities::Identities,
    machine::{DEFAULT_REGION, Machine},
    observer::{ObserverInterceptor, RequestObserver},
    response_limits::{ExpectedResponses, bounded},
};

/// The client for these settings on this machine.
pub(super) fn client_on(
    settings: &S3Settings,
    machine: &Machine,
    observer: Option<Arc<dyn RequestObserver>>,
) -> Client {
    let identities = Identities::reloading(machine.base.credentials.clone());
    let mut builder = builder(settings, &machine.base.sdk, observer, identities)
        .http_client(machine.base.http_client.clone())
        .force_path_style(settings.path_style || machine.options.path_style);
    builder
        .push_interceptor(SharedInterceptor::permanent(Refusals(machine.base.credentials.clone())));
    builder.set_endpoint_url(machine.endpoint_url.as_deref().map(with_slash));
    if machine.endpoint_url.is_some() {
        builder = builder.use_fips(false).use_dual_stack(false);
    } else if machine.options.dual_stack {
        builder = builder.use_dual_stack(true);
    }
    if machine.options.accelerate {
        builder = builder.accelerate(true);
    }
    Client::from_conf(builder.build())
}

/// The client for these settings and this environment.
pub(super) fn client(
    settings: &S3Settings,
    environment: &SdkConfig,
    observer: Option<Arc<dyn RequestObserver>>,
) -> Client {
    let mut builder = builder(settings, environment, observer, Identities::new());
    builder = builder.http_client(
        environment
            .http_client()
            .map_or_else(|| http_client(&Proxies::default(), &Authorities::of_system()), bounded),
    );
    if let Some(endpoint_url) = &settings.endpoint_url {
        builder = builder.endpoint_url(with_slash(endpoint_url));
    }
    Client::from_conf(builder.build())
}

fn builder(
    settings: &S3Settings,
    environment: &SdkConfig,
    observer: Option<Arc<dyn RequestObserver>>,
    identities: Identities,
) -> Builder {
    let mut builder = Builder::from(environment)
        .force_path_style(settings.path_style)
        // The engine retries: it knows the time budget of an export and the fallback.
        .retry_config(RetryConfig::disabled())
        // Only the connect timeout. The SDK's read timeout also covers sending the body, so a large
        // upload over a slow connection could never finish; and clients with different timeouts do
        // not share connections. `S3Store` enforces all other timeouts itself.
        .timeout_config(TimeoutConfig::builder().connect_timeout(settings.connect_timeout).build())
        // Off, because it treats a connection that accepts no byte for seconds as dead, which happens
        // on a slow uplink with a full socket buffer (awslabs/aws-sdk-rust#1146). Uploads and
        // downloads have `read_timeout` instead.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .identity_cache(identities)
        .endpoint_resolver(EndpointOfBucket::default());
    if let Some(observer) = observer {
        builder.push_interceptor(SharedInterceptor::permanent(ObserverInterceptor(observer)));
    }
    builder.push_interceptor(SharedInterceptor::permanent(ExpectedResponses));
    builder.push_interceptor(SharedInterceptor::permanent(SignedDigest));
    if environment.behavior_version().is_none() {
        builder = builder.behavior_version(BehaviorVersion::v2026_01_12());
    }
    let region = settings.region.clone().map(Region::new).or_else(|| environment.region().cloned());
    builder.region(region.unwrap_or(Region::from_static(DEFAULT_REGION)))
}

/// The URL with a slash after its path. The SDK appends the bucket or the key without one.
fn with_slash(endpoint_url: &str) -> String {
    format!("{}/", endpoint_url.trim_end_matches('/'))
}

//! The SDK's client, as this service wants it.

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider,
};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, IdentityCache, SharedHttpClient, StalledStreamProtectionConfig,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::{
    S3Settings,
    answers::{AnswerKinds, bounded},
    observer::RequestObserver,
};

/// Connections kept warm: an export sends its dozen objects side by side, and two exports at once
/// should find theirs open.
const IDLE_CONNECTIONS: usize = 32;

/// How long the credentials of the default chain may take. The metadata service of EC2 gets four
/// tries of a second each from the SDK.
pub(super) const CREDENTIALS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(6);

/// Where a bucket is looked for when nobody says. S3 answers with the right region if it isn't there.
const DEFAULT_REGION: &str = "us-east-1";

/// What the SDK finds in its environment. Reads files and variables, and asks nobody over the
/// network: credentials are looked for by the first operation, and the region isn't asked of the
/// metadata service, which a laptop would wait seconds for.
pub(super) async fn environment(settings: &S3Settings) -> SdkConfig {
    let region = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(Region::new(DEFAULT_REGION));
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(region)
        .http_client(http_client())
        .load()
        .await
}

/// The S3 client for these settings and what the SDK found or a test gave.
pub(super) fn client(settings: &S3Settings, environment: &SdkConfig) -> Client {
    let mut builder = Builder::from(environment)
        .force_path_style(settings.path_style)
        // The engine retries: it knows how long an export may take, and what to do instead.
        .retry_config(RetryConfig::disabled())
        // Only the connect timeout. The SDK's read timeout covers the sending of the body too, so
        // that a large upload over a slow line would never end; and a client with other timeouts
        // has other connections. `S3Store` bounds everything else itself.
        .timeout_config(TimeoutConfig::builder().connect_timeout(settings.connect_timeout).build())
        // Off, because it takes a line for dead that takes no byte for seconds, which a slow uplink
        // with a full socket buffer does (awslabs/aws-sdk-rust#1146). Uploads and downloads have
        // `read_timeout` instead.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build());
    builder = builder
        .interceptor(RequestObserver { prices: settings.prices })
        .interceptor(AnswerKinds)
        .http_client(environment.http_client().map_or_else(http_client, bounded));
    if environment.behavior_version().is_none() {
        builder = builder.behavior_version(BehaviorVersion::v2026_01_12());
    }
    if let Some(endpoint_url) = &settings.endpoint_url {
        builder = builder.endpoint_url(endpoint_url);
    }
    let region = settings.region.clone().map(Region::new).or_else(|| environment.region().cloned());
    builder = builder.region(region.unwrap_or(Region::from_static(DEFAULT_REGION)));
    Client::from_conf(builder.build())
}

/// HTTP/1.1 and TLS by rustls with the system's certificates; plain HTTP where the URL says so. Answers
/// are bounded.
fn http_client() -> SharedHttpClient {
    bounded(
        aws_smithy_http_client::Builder::new()
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .build_https(),
    )
}

//! The real S3 client with a test S3 server.

use std::{env, sync::Arc, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_async::time::TimeSource;
use tara_export_store::{
    Store,
    s3::{S3Settings, S3Store, ServerSideEncryption},
};
use tara_export_test_support::{RecordedRequest, TestS3};
use uuid::Uuid;

/// A client with timeouts longer than a test.
pub(crate) fn store_of(server: &TestS3) -> Arc<dyn Store> {
    let (access_key, secret_key) = (server.access_key(), server.secret_key());
    s3_store(&server.endpoint(), server.bucket(), access_key, secret_key)
}

/// A client with this bucket and base path.
pub(crate) fn store_at(server: &TestS3, bucket: &str, base_path: &str) -> Arc<dyn Store> {
    let credentials =
        Credentials::new(server.access_key(), server.secret_key(), None, None, "test");
    let settings = settings(&server.endpoint(), bucket);
    store_with(S3Settings { base_path: base_path.to_owned(), ..settings }, credentials)
}

/// A client of any S3 server.
pub(crate) fn s3_store(
    endpoint: &str,
    bucket: &str,
    access_key: &str,
    secret_key: &str,
) -> Arc<dyn Store> {
    let settings = settings(endpoint, bucket);
    store_with(settings, Credentials::new(access_key, secret_key, None, None, "test"))
}

/// A client with these settings and credentials.
pub(crate) fn store_with(
    settings: S3Settings,
    credentials: impl ProvideCredentials + 'static,
) -> Arc<dyn Store> {
    let environment = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    Arc::new(S3Store::from_sdk_config(settings, &environment))
}

/// A client that sends slow requests twice.
pub(crate) fn hedging_store_of(server: &TestS3) -> Arc<dyn Store> {
    let settings = settings(&server.endpoint(), server.bucket());
    Arc::new(S3Store::from_sdk_config(settings, &server.sdk_config()).with_hedging(None))
}

/// A client that uses this clock.
pub(crate) fn store_with_clock(
    settings: S3Settings,
    credentials: impl ProvideCredentials + 'static,
    clock: impl TimeSource + 'static,
) -> Arc<dyn Store> {
    let environment = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .time_source(clock)
        .build();
    Arc::new(S3Store::from_sdk_config(settings, &environment))
}

pub(crate) fn settings(endpoint: &str, bucket: &str) -> S3Settings {
    S3Settings {
        bucket: bucket.to_owned(),
        base_path: "tara/".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(endpoint.to_owned()),
        path_style: true,
        server_side_encryption: ServerSideEncryption::BucketDefault,
        expected_bucket_owner: None,
        object_lock: None,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(600),
        operation_timeout: Duration::from_secs(600),
        concurrent_requests: 256,
    }
}

/// Whether a request concerns uploads. A server lists them at startup to find expired ones.
pub(crate) fn is_of_uploads(request: &RecordedRequest) -> bool {
    request.query.contains("uploads%2F")
}

/// A store in the real S3 server that `.ci/real-s3` starts, with a unique base path.
pub(crate) fn real_store() -> Arc<dyn Store> {
    let variable = |name: &str| {
        env::var(name).unwrap_or_else(|_| {
            panic!("{name} is not set; .ci/real-s3 starts a real S3 server and sets it")
        })
    };
    let shared = settings(&variable("TARA_TEST_S3_ENDPOINT"), &variable("TARA_TEST_S3_BUCKET"));
    let base_path = format!("tara-export-tests/{}/", Uuid::new_v4());
    let (access_key, secret_key) =
        (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let credentials = Credentials::new(access_key, secret_key, None, None, "test");
    store_with(S3Settings { base_path, ..shared }, credentials)
}

//! The real S3 client over a test's S3 server.

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use tara_export::store::{
    Store,
    s3::{S3Settings, S3Store, ServerSideEncryption},
};
use tara_export_test_support::TestS3;

/// A client that waits as long as a test does.
pub(crate) fn store_of(server: &TestS3) -> Arc<dyn Store> {
    let (access_key, secret_key) = (server.access_key(), server.secret_key());
    s3_store(&server.endpoint(), server.bucket(), access_key, secret_key)
}

/// The same for a server of any kind.
pub(crate) fn s3_store(
    endpoint: &str,
    bucket: &str,
    access_key: &str,
    secret_key: &str,
) -> Arc<dyn Store> {
    let settings = settings(endpoint, bucket);
    store_with(settings, Credentials::new(access_key, secret_key, None, None, "test"))
}

/// A client with settings and credentials of a test's own.
pub(crate) fn store_with(
    settings: S3Settings,
    credentials: impl ProvideCredentials + 'static,
) -> Arc<dyn Store> {
    let environment = SdkConfig::builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
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
        prices: Default::default(),
    }
}

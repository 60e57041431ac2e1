//! The backends under test, each empty.

use std::{any::Any, env, sync::Arc, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use tara_export_outbound::Environment;
use tara_export_store::{
    Store, StoreKind,
    local::LocalStore,
    memory::MemoryStore,
    s3::{S3Settings, S3Store, ServerSideEncryption},
};
use tara_export_test_support::TestS3;
use uuid::Uuid;

/// A store, and the resources that it depends on.
pub(crate) struct Backend {
    store: Arc<dyn Store>,
    _keep: Box<dyn Any>,
}

impl Backend {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

pub(crate) fn local() -> Backend {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path().join("exports")).unwrap();
    Backend { store: Arc::new(store), _keep: Box::new(folder) }
}

pub(crate) fn memory(kind: StoreKind) -> Backend {
    Backend { store: MemoryStore::new(kind, "bucket"), _keep: Box::new(()) }
}

pub(crate) async fn test_s3() -> Backend {
    let server = TestS3::start().await;
    let settings = settings(&server.endpoint(), server.bucket());
    let environment = environment(server.access_key(), server.secret_key());
    Backend {
        store: Arc::new(S3Store::from_sdk_config(settings, &environment)),
        _keep: Box::new(server),
    }
}

pub(crate) async fn real_s3() -> Backend {
    let store = S3Store::connect(real_settings(), Environment::of_process(), None).await.unwrap();
    Backend { store: Arc::new(store), _keep: Box::new(()) }
}

/// The real server's settings, with a separate base path for each test.
pub(crate) fn real_settings() -> S3Settings {
    let variable = |name: &str| {
        env::var(name).unwrap_or_else(|_| {
            panic!("{name} is not set; .ci/real-s3 starts a real S3 server and sets the variables")
        })
    };
    settings(&variable("TARA_TEST_S3_ENDPOINT"), &variable("TARA_TEST_S3_BUCKET"))
}

pub(crate) fn settings(endpoint_url: &str, bucket: &str) -> S3Settings {
    S3Settings {
        bucket: bucket.to_owned(),
        base_path: format!("tara-export-tests/{}/", Uuid::new_v4()),
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(endpoint_url.to_owned()),
        path_style: true,
        server_side_encryption: ServerSideEncryption::BucketDefault,
        expected_bucket_owner: None,
        object_lock: None,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(30),
        operation_timeout: Duration::from_secs(60),
        concurrent_requests: 256,
    }
}

/// An environment with only these credentials.
pub(crate) fn environment(access_key: &str, secret_key: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, secret_key, None, None, "test");
    SdkConfig::builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

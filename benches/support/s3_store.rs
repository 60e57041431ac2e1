//! A store over an S3 server in memory.

use std::{sync::Arc, time::Duration};

use tara_export_store::{
    Store,
    s3::{S3Settings, S3Store, ServerSideEncryption},
};
use tara_export_test_support::TestS3;

/// A store in the server's bucket.
pub(crate) fn store_of(server: &TestS3) -> Arc<dyn Store> {
    let settings = S3Settings {
        bucket: server.bucket().to_owned(),
        base_path: "tara/".to_owned(),
        region: Some(server.region().to_owned()),
        endpoint_url: Some(server.endpoint()),
        path_style: true,
        server_side_encryption: ServerSideEncryption::BucketDefault,
        expected_bucket_owner: None,
        object_lock: None,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(5),
        operation_timeout: Duration::from_secs(60),
        concurrent_requests: 256,
    };
    Arc::new(S3Store::from_sdk_config(settings, &server.sdk_config()))
}

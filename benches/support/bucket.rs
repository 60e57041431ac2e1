//! The S3 server of a benchmark.

use std::{env, net::SocketAddr, path::Path, sync::Arc};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::{
    Client,
    config::{Builder, retry::RetryConfig},
    types::{Delete, ObjectIdentifier},
};
use tara_export_test_support::TestS3;

/// A bucket of an S3 server.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) client: Client,
    /// The server's address.
    pub(crate) address: SocketAddr,
    /// Variables that a server process needs to use it, besides those of this process.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The server, if it is in this process.
    _s3: Option<Arc<TestS3>>,
}

impl Bucket {
    /// The bucket from `.ci/real-s3`; exits if there is none.
    pub(crate) async fn from_environment() -> Self {
        let (Ok(name), Ok(endpoint)) = (env::var("S3_BUCKET_NAME"), env::var("AWS_ENDPOINT_URL"))
        else {
            eprintln!("needs a real S3 server: .ci/real-s3 minio cargo bench --bench NAME");
            std::process::exit(2);
        };
        let address = endpoint.trim_start_matches("http://").parse().expect("an address");
        let config = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
        let client = client(&config);
        Self { name, client, address, environment: Vec::new(), _s3: None }
    }

    /// The bucket of a new S3 server in this process and in memory.
    pub(crate) async fn in_memory() -> Self {
        let s3 = TestS3::start().await;
        let config = s3.sdk_config().into_builder();
        let config = config
            .endpoint_url(s3.endpoint())
            .region(Region::new(s3.region().to_owned()))
            .behavior_version(BehaviorVersion::v2026_01_12())
            .build();
        let endpoint = s3.endpoint();
        let address = endpoint.trim_start_matches("http://").parse().expect("an address");
        Self {
            name: s3.bucket().to_owned(),
            client: client(&config),
            address,
            environment: s3.environment(),
            _s3: Some(Arc::new(s3)),
        }
    }

    /// The keys that start with a prefix.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut pages =
            self.client.list_objects_v2().bucket(&self.name).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let objects = page.expect("a listing").contents.unwrap_or_default();
            keys.extend(objects.into_iter().filter_map(|object| object.key));
        }
        keys
    }

    /// Removes all objects, so that no run finds objects of a previous one.
    pub(crate) async fn clear(&self) {
        for keys in self.keys("").await.chunks(1000) {
            let named = keys
                .iter()
                .map(|key| ObjectIdentifier::builder().key(key).build().expect("a key was given"));
            let delete = Delete::builder().set_objects(Some(named.collect())).quiet(true);
            let delete = delete.build().expect("objects were given");
            let request = self.client.delete_objects().bucket(&self.name).delete(delete);
            request.send().await.expect("objects are deleted");
        }
    }

    /// An object's bytes.
    pub(crate) async fn read(&self, key: &str) -> bytes::Bytes {
        let request = self.client.get_object().bucket(&self.name).key(key);
        let body = request.send().await.expect("an object").body;
        body.collect().await.expect("the object's bytes").into_bytes()
    }

    /// Downloads the objects below a prefix into a folder.
    pub(crate) async fn download(&self, prefix: &str, folder: &Path) {
        for key in self.keys(prefix).await {
            let file = folder.join(&key[prefix.len()..]);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, self.read(&key).await).expect("a file");
        }
    }
}

fn client(config: &SdkConfig) -> Client {
    let builder =
        Builder::from(config).force_path_style(true).retry_config(RetryConfig::disabled());
    Client::from_conf(builder.build())
}

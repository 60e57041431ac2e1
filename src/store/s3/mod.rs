//! Objects in an S3 bucket, below a base path.

mod answers;
mod body;
mod client;
mod delete;
mod disposition;
mod failure;
mod lifecycle;
mod links;
mod list;
mod observer;
mod parts;
mod probe;
mod put;
mod read;
mod settings;

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::{
    Client, config::SharedCredentialsProvider, primitives::DateTime,
    types::ObjectLockMode as LockMode,
};

use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::settings::{ObjectLock, ObjectLockMode, S3Settings, ServerSideEncryption};
use self::{failure::Failure, links::SigningCredentials};
use super::{
    LinkObjects, ListRequest, Listing, Object, ObjectInfo, ObjectKey, PartStore, Payload,
    ProbeResult, PutOutcome, Store, StoreError, StoreKind,
};

/// A bucket. Works with Amazon S3 and with servers that speak its protocol, if they honour
/// `If-None-Match` on puts ([`honours_conditional_put`](super::honours_conditional_put)).
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    signing_credentials: Arc<SigningCredentials>,
    settings: S3Settings,
    /// Places for requests. Not of downloads, once their answer has begun: those have limits of their own.
    requests: Arc<Semaphore>,
}

impl fmt::Debug for S3Store {
    // Neither the client nor the credentials, whose secrets have no place in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3Store").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl S3Store {
    /// The store with these settings and the credentials of the SDK's default chain. Asks nobody
    /// over the network: what is wrong shows with the first operation, or with
    /// [`probe`](Store::probe).
    pub async fn connect(settings: S3Settings) -> Self {
        let environment = client::environment(&settings).await;
        Self::from_sdk_config(settings, &environment)
    }

    /// The store with these settings; credentials, and whatever else the settings leave open, come
    /// from `environment`.
    pub fn from_sdk_config(settings: S3Settings, environment: &SdkConfig) -> Self {
        let client = client::client(&settings, environment);
        let credentials = environment.credentials_provider();
        let requests = Arc::new(Semaphore::new(settings.concurrent_requests.max(1)));
        Self { client, credentials, signing_credentials: Arc::default(), settings, requests }
    }

    /// The whole key of an object in the bucket.
    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.settings.base_path)
    }

    /// Who the bucket must belong to, for every request to it.
    fn owner(&self) -> Option<String> {
        self.settings.expected_bucket_owner.clone()
    }

    /// The same for a bucket that may be another: nothing is known of whose that is.
    fn owner_of(&self, bucket: &str) -> Option<String> {
        (bucket == self.settings.bucket).then(|| self.owner()).flatten()
    }

    /// How an object that is put now is locked, and until when.
    fn lock(&self, key: &ObjectKey) -> Option<(LockMode, DateTime)> {
        let lock = self.settings.object_lock.as_ref()?;
        let is_exempt = key.as_str().starts_with(&lock.except_prefix);
        let now = self.client.config().time_source().map_or_else(SystemTime::now, |t| t.now());
        (!is_exempt).then(|| (lock.mode.into(), (now + lock.retention).into()))
    }

    /// A place among the requests at once. To be taken before a request's time begins. None if the
    /// semaphore was closed, which never happens.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.requests.acquire().await.ok()
    }

    /// Bounds an operation that sends no body worth speaking of.
    async fn bounded<T, E: Into<Failure>>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let _place = self.place().await;
        let limit = self.settings.operation_timeout;
        match tokio::time::timeout(limit, operation).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(took_too_long(limit)),
        }
    }
}

fn took_too_long(limit: Duration) -> Failure {
    Failure::timed_out(format!("it took longer than {limit:?}"))
}

#[async_trait]
impl Store for S3Store {
    fn kind(&self) -> StoreKind {
        StoreKind::S3
    }

    fn location(&self, key: &str) -> String {
        format!("s3://{}/{}", self.settings.bucket, self.full_key(key))
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        self.put(key, payload)
            .await
            .map_err(|failure| failure.into_store_error("store", &self.location(key.as_str())))
    }

    fn parts(&self) -> Option<&dyn PartStore> {
        Some(self)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        self.look_up(key)
            .await
            .map_err(|failure| failure.into_store_error("look up", &self.location(key.as_str())))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, StoreError> {
        self.read(key)
            .await
            .map_err(|failure| failure.into_store_error("read", &self.location(key.as_str())))
    }

    async fn list(&self, request: ListRequest) -> Result<Listing, StoreError> {
        self.list_keys(&request)
            .await
            .map_err(|failure| failure.into_store_error("list", &self.location(&request.prefix)))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.remove(key)
            .await
            .map_err(|failure| failure.into_store_error("delete", &self.location(key.as_str())))
    }

    async fn probe(&self) -> Vec<ProbeResult> {
        probe::probe(self).await
    }

    fn links(&self) -> Option<&dyn LinkObjects> {
        Some(self)
    }
}

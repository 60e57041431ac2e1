//! Objects in an S3 bucket, below a base path.

mod body;
mod client;
mod credentials;
mod delete;
mod disposition;
mod endpoint;
mod failure;
mod hedge;
mod http_client;
mod identities;
mod lifecycle;
mod links;
mod list;
mod machine;
mod observer;
mod parts;
mod prices;
mod probe;
mod probe_list;
mod put;
mod read;
mod response_limits;
mod retention;
mod services;
mod settings;
mod unused;

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

use tara_export_outbound::Environment;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::{
    credentials::ReloadingCredentials,
    failure::Failure,
    hedge::{Answer, Attempt, Hedging, RequestClass},
    identities::CREDENTIALS_TIMEOUT,
    links::SigningCredentials,
    machine::Machine,
};
pub use self::{
    hedge::HedgeResult,
    machine::S3SettingsError,
    observer::{EndedRequest, RequestObserver},
    prices::RequestPrices,
    services::AwsServices,
    settings::{ObjectLock, ObjectLockMode, S3Settings, ServerSideEncryption},
};
use super::{
    LinkObjects, ListRequest, Listing, Object, ObjectInfo, ObjectKey, PartStore, Payload,
    ProbeResult, PutOutcome, Store, StoreError, StoreKind, StreamedPayload,
};

/// An S3 bucket. Works with Amazon S3 and with compatible servers that honour `If-None-Match` on puts
/// ([`honours_conditional_put`](super::honours_conditional_put)).
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    /// The credentials of the machine; `None` if the store was created with others.
    reloading: Option<Arc<ReloadingCredentials>>,
    /// Other services with these credentials.
    services: Option<AwsServices>,
    /// The endpoint as the settings and the variables name it.
    site_endpoint: Option<String>,
    /// Settings of the machine that are not used, each with the reason.
    warnings: Arc<[String]>,
    signing_credentials: Arc<SigningCredentials>,
    settings: S3Settings,
    /// Permits for concurrent requests. A download returns its permit when the response begins: downloads have
    /// their own limits.
    requests: Arc<Semaphore>,
    /// Whether listings can be continued after a key, as far as known.
    order: Arc<list::Order>,
    /// Whether and when requests are sent twice; `None`: never.
    hedging: Option<Arc<Hedging>>,
}

impl fmt::Debug for S3Store {
    // Without the client and the credentials: secrets must not be logged.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3Store").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl S3Store {
    /// Creates the store with the credentials of the SDK's default chain, and everything else that the variables and
    /// the profile of this machine configure. Sends no requests: problems of S3 are reported by the first operation or
    /// by [`probe`](Store::probe).
    ///
    /// # Errors
    /// If a setting of the machine is invalid, and without it another S3 would be used, or none be reached.
    pub async fn connect(
        settings: S3Settings,
        environment: Environment,
        observer: Option<Arc<dyn RequestObserver>>,
    ) -> Result<Self, S3SettingsError> {
        let machine = Machine::load(&settings, environment).await?;
        let client = client::client_on(&settings, &machine, observer);
        let credentials = machine.base.sdk.credentials_provider();
        let mut store = Self::of_client(client, credentials, settings);
        store.services = Some(AwsServices::of_base(&machine.base));
        store.reloading = Some(machine.base.credentials);
        store.site_endpoint = machine.site_endpoint;
        store.warnings = machine.warnings.into();
        Ok(store)
    }

    /// Creates the store with the credentials of `environment`, which also provides everything that the settings
    /// leave open.
    pub fn from_sdk_config(settings: S3Settings, environment: &SdkConfig) -> Self {
        let client = client::client(&settings, environment, None);
        Self::of_client(client, environment.credentials_provider(), settings)
    }

    fn of_client(
        client: Client,
        credentials: Option<SharedCredentialsProvider>,
        settings: S3Settings,
    ) -> Self {
        Self {
            client,
            credentials,
            reloading: None,
            services: None,
            site_endpoint: settings.endpoint_url.clone(),
            warnings: Arc::default(),
            signing_credentials: Arc::default(),
            requests: Arc::new(Semaphore::new(settings.concurrent_requests.max(1))),
            order: Arc::default(),
            hedging: None,
            settings,
        }
    }

    /// Sends reads and puts of permanent keys a second time if their response takes unusually long. The server must
    /// honour `If-None-Match`.
    #[must_use]
    pub fn with_hedging(self, observer: Option<Arc<dyn RequestObserver>>) -> Self {
        Self { hedging: Some(Arc::new(Hedging::new(observer))), ..self }
    }

    /// The settings of this machine that this store does not use, each with the reason, in one line.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Other services with the credentials of this store. `None` if it was created by [`Self::from_sdk_config`].
    pub fn services(&self) -> Option<&AwsServices> {
        self.services.as_ref()
    }

    /// The full key of an object in the bucket.
    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.settings.base_path)
    }

    /// The expected owner of the bucket, sent with every request to it.
    fn owner(&self) -> Option<String> {
        self.settings.expected_bucket_owner.clone()
    }

    /// The expected owner of any bucket; `None` for other buckets, whose owner is unknown.
    fn owner_of(&self, bucket: &str) -> Option<String> {
        (bucket == self.settings.bucket).then(|| self.owner()).flatten()
    }

    /// The Object Lock mode and end for an object that is put now.
    fn lock(&self, key: &ObjectKey) -> Option<(LockMode, DateTime)> {
        let lock = self.settings.object_lock.as_ref()?;
        let is_exempt = key.as_str().starts_with(&lock.except_prefix);
        let now = self.client.config().time_source().map_or_else(SystemTime::now, |t| t.now());
        (!is_exempt).then(|| (lock.mode.into(), (now + lock.retention).into()))
    }

    /// Acquires a permit for a request. Must be acquired before the request's timeout starts. `None` if the
    /// semaphore is closed, which never happens.
    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.requests.acquire().await.ok()
    }

    /// Applies the permit and the timeout to an operation that sends at most a small body, and that S3 answers
    /// at once.
    async fn bounded<T, E: Into<Failure>>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        self.within(self.small_request_timeout(), operation).await
    }

    /// The same as [`Self::bounded`], for an operation with work for S3 before its response, such as a copy.
    async fn bounded_work<T, E: Into<Failure>>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        self.within(self.settings.operation_timeout, operation).await
    }

    /// Applies the permit and the timeout to a read, which may be sent twice.
    async fn bounded_read<T, E, F>(
        &self,
        class: RequestClass,
        send: impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        T: Answer,
        E: Into<Failure>,
        F: Future<Output = Result<T, E>>,
    {
        let limit = self.small_request_timeout();
        // On the heap: the future of a request is large, and the caller's would contain it several times.
        self.hedged(Some(class), |_| timed(limit, Box::pin(send()))).await
    }

    /// Sends a request with a permit, and again if its class allows that and its response takes unusually long.
    async fn hedged<T, F>(
        &self,
        class: Option<RequestClass>,
        send: impl Fn(Attempt) -> F,
    ) -> Result<T, Failure>
    where
        T: Answer,
        F: Future<Output = Result<T, Failure>>,
    {
        let _permit = self.permit().await;
        match &self.hedging {
            Some(hedging) => hedging.race(class, &self.requests, send).await,
            None => send(Attempt::First).await,
        }
    }

    /// The timeout of a request with at most a small body, including the time to load credentials.
    fn small_request_timeout(&self) -> Duration {
        let settings = &self.settings;
        let limit = CREDENTIALS_TIMEOUT + settings.connect_timeout + settings.read_timeout;
        limit.min(settings.operation_timeout)
    }

    async fn within<T, E: Into<Failure>>(
        &self,
        limit: Duration,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let _permit = self.permit().await;
        let result = timed(limit, operation).await;
        if let (Err(failure), Some(hedging)) = (&result, &self.hedging) {
            hedging.failed(failure);
        }
        result
    }
}

async fn timed<T, E: Into<Failure>>(
    limit: Duration,
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, operation).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(operation_timed_out(limit)),
    }
}

fn operation_timed_out(limit: Duration) -> Failure {
    Failure::timed_out(format!("no result within {limit:?}"))
}

#[async_trait]
impl Store for S3Store {
    fn kind(&self) -> StoreKind {
        StoreKind::S3
    }

    fn location(&self, key: &str) -> String {
        format!("s3://{}/{}", self.settings.bucket, self.full_key(key))
    }

    fn site(&self) -> String {
        let region = self.client.config().region().map_or("no region", |region| region.as_ref());
        let endpoint = self.site_endpoint.as_deref().unwrap_or("the default endpoint");
        format!("{} in {region} at {endpoint}", self.location(""))
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

    async fn put_stream_if_absent(
        &self,
        key: &ObjectKey,
        _payload: StreamedPayload,
    ) -> Result<PutOutcome, StoreError> {
        Err(StoreError::streams_unsupported(&self.location(key.as_str())))
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

    async fn has_default_retention(&self) -> Result<bool, StoreError> {
        retention::has_default_retention(self).await
    }

    fn links(&self) -> Option<&dyn LinkObjects> {
        Some(self)
    }

    fn reload_credentials(&self) {
        if let Some(credentials) = &self.reloading {
            credentials.reload();
        }
    }
}

//! Starts, stops and controls the server.

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use chrono::TimeDelta;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use s3s::service::S3Service;
use tokio::sync::oneshot;

use crate::{
    bucket::{Attributes, StoredObject},
    connection::{Connection, ResetSwitch},
    exchange::Exchange,
    faults::{FaultId, FaultRule},
    operation::Operation,
    recording::RecordedRequest,
    s3,
    s3::bad_listings::ListingFaults,
    state::{Options, Shared},
};

/// Options of a [`TestS3`].
#[derive(Debug, Clone)]
pub struct TestS3Builder {
    bucket: String,
    extra_buckets: Vec<String>,
    port: u16,
    options: Options,
}

impl Default for TestS3Builder {
    fn default() -> Self {
        Self {
            bucket: "test-bucket".to_owned(),
            extra_buckets: Vec::new(),
            port: 0,
            options: Options {
                ignore_conditions: false,
                object_lock: false,
                ignore_checksums: false,
                minimum_part_size_bytes: 5 * 1024 * 1024,
            },
        }
    }
}

impl TestS3Builder {
    /// Sets the initial bucket; default `test-bucket`.
    #[must_use]
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.bucket = name.into();
        self
    }

    /// Adds another bucket.
    #[must_use]
    pub fn extra_bucket(mut self, name: impl Into<String>) -> Self {
        self.extra_buckets.push(name.into());
        self
    }

    /// Sets the TCP port; default a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Ignores If-Match and If-None-Match, as some S3-compatible servers do.
    #[must_use]
    pub fn ignore_conditions(mut self) -> Self {
        self.options.ignore_conditions = true;
        self
    }

    /// Accepts locks on objects, as buckets with Object Lock do; others refuse them.
    #[must_use]
    pub fn object_lock(mut self) -> Self {
        self.options.object_lock = true;
        self
    }

    /// Neither verifies nor stores checksums, as some S3-compatible servers do. The payload hash in
    /// the signature is still verified.
    #[must_use]
    pub fn ignore_checksums(mut self) -> Self {
        self.options.ignore_checksums = true;
        self
    }

    /// Sets the minimum size of all parts but the last; default 5 MiB, as in S3.
    #[must_use]
    pub fn minimum_part_size_bytes(mut self, size_bytes: usize) -> Self {
        self.options.minimum_part_size_bytes = size_bytes;
        self
    }

    /// Starts the server on 127.0.0.1.
    ///
    /// # Errors
    /// The port is not available.
    pub async fn start(self) -> io::Result<TestS3> {
        let buckets = self.extra_buckets.into_iter().chain([self.bucket.clone()]);
        let shared = Arc::new(Shared::new(self.options, buckets));
        let listener = listen(self.port)?;
        let port = listener.local_addr()?.port();
        let running = Running::start(listener, Arc::clone(&shared))?;
        Ok(TestS3 { bucket: self.bucket, port, shared, running: Mutex::new(Some(running)) })
    }
}

/// An in-memory S3 server on a port of 127.0.0.1. It runs in its own thread, so blocked tests and
/// tokio's paused time do not affect it. Dropping it frees the port.
#[derive(Debug)]
pub struct TestS3 {
    bucket: String,
    port: u16,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

impl TestS3 {
    /// Starts a server with one bucket on a free port.
    ///
    /// # Panics
    /// No port is available.
    #[allow(clippy::expect_used, reason = "a test has no use for the error")]
    pub async fn start() -> Self {
        TestS3Builder::default().start().await.expect("a free port on 127.0.0.1")
    }

    /// A builder with default options.
    pub fn builder() -> TestS3Builder {
        TestS3Builder::default()
    }

    /// The server's URL, for example `http://127.0.0.1:40001`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The accepted access key id.
    pub fn access_key(&self) -> &str {
        s3::ACCESS_KEY
    }

    /// The secret of the access key.
    pub fn secret_key(&self) -> &str {
        s3::SECRET_KEY
    }

    /// The name of the first bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The region for signatures.
    pub fn region(&self) -> &str {
        s3::REGION
    }

    /// An AWS SDK configuration with the server's credentials.
    pub fn sdk_config(&self) -> SdkConfig {
        let credentials =
            Credentials::new(self.access_key(), self.secret_key(), None, None, "test server");
        SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// The environment variables that make tara-export use this server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", self.access_key().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key().to_owned()),
            ("AWS_REGION", self.region().to_owned()),
            ("S3_BUCKET_NAME", self.bucket.clone()),
            ("S3_PATH_STYLE", "true".to_owned()),
        ]
    }

    /// Ends all connections and frees the port; objects, faults and recorded requests remain.
    /// Returns when the server has stopped completely. Does nothing if it is already stopped.
    pub fn stop(&self) {
        // Dropping waits for the server's thread.
        drop(self.running().take());
    }

    /// Restarts on the same port with the same objects.
    ///
    /// # Errors
    /// Another process has taken the port meanwhile.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop();
        let running = Running::start(listen(self.port)?, Arc::clone(&self.shared))?;
        *self.running() = Some(running);
        Ok(())
    }

    /// Adds a fault rule. Of several rules, the first that matches applies.
    pub fn fail(&self, rule: FaultRule) -> FaultId {
        self.shared.faults.add(rule)
    }

    /// Removes a rule; its stalled requests continue.
    pub fn clear_fault(&self, id: FaultId) {
        self.shared.faults.clear(id);
    }

    /// Removes all rules.
    pub fn clear_faults(&self) {
        self.shared.faults.clear_all();
    }

    /// The number of requests that a rule has failed; 0 after it was cleared.
    pub fn fault_hits(&self, id: FaultId) -> usize {
        self.shared.faults.hits(id).unwrap_or(0)
    }

    /// Sets a delay for every request.
    pub fn latency(&self, latency: Duration) {
        self.shared.set_latency(latency);
    }

    /// Makes listings (ListObjectsV2) break the rules of S3.
    pub fn break_listings(&self, faults: ListingFaults) {
        self.shared.set_listing_faults(faults);
    }

    /// Moves all objects of the first bucket whose keys contain this text to an archive: they are listed and looked
    /// up as before, and cannot be read or copied. Returns their number.
    pub fn archive(&self, key_contains: &str) -> usize {
        let mut buckets = self.shared.buckets();
        let Some(bucket) = buckets.get_mut(&self.bucket) else { return 0 };
        let keys = bucket.objects.keys().filter(|key| key.contains(key_contains)).cloned();
        bucket.archived.extend(keys.collect::<Vec<_>>());
        bucket.archived.len()
    }

    /// Restores all archived objects of the first bucket.
    pub fn restore(&self) {
        if let Some(bucket) = self.shared.buckets().get_mut(&self.bucket) {
            bucket.archived.clear();
        }
    }

    /// Skews the server's clock: later than this machine's, or earlier if negative. Responses have
    /// that time, and requests signed more than 15 minutes from it get RequestTimeTooSkewed.
    pub fn clock_skew(&self, skew: TimeDelta) {
        self.shared.clock.set_skew(skew);
    }

    /// The requests since the start or the last reset, oldest first; at most the last 100,000.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.recorder.requests()
    }

    /// The recorded requests for one operation.
    pub fn requests_of(&self, operation: Operation) -> Vec<RecordedRequest> {
        let mut requests = self.requests();
        requests.retain(|request| request.operation == operation);
        requests
    }

    /// Clears the recorded requests.
    pub fn reset_requests(&self) {
        self.shared.recorder.reset();
    }

    /// The objects of the first bucket by key.
    pub fn objects(&self) -> BTreeMap<String, StoredObject> {
        self.objects_in(&self.bucket)
    }

    /// The objects of a bucket by key; empty if the bucket does not exist.
    pub fn objects_in(&self, bucket: &str) -> BTreeMap<String, StoredObject> {
        self.shared.buckets().get(bucket).map(|bucket| bucket.objects.clone()).unwrap_or_default()
    }

    /// An object of the first bucket.
    pub fn object(&self, key: &str) -> Option<StoredObject> {
        self.shared.buckets().get(&self.bucket)?.objects.get(key).cloned()
    }

    /// The number of multipart uploads of the first bucket that are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.shared.buckets().get(&self.bucket).map_or(0, |bucket| bucket.uploads.len())
    }

    /// Puts a foreign object into the first bucket and replaces an existing one.
    pub fn put_raw(&self, key: impl Into<String>, bytes: impl Into<Bytes>) {
        self.put_raw_in(&self.bucket, key, bytes);
    }

    /// Puts a foreign object into a bucket and replaces an existing one. Does nothing if the bucket
    /// does not exist.
    pub fn put_raw_in(&self, bucket: &str, key: impl Into<String>, bytes: impl Into<Bytes>) {
        let object = s3::objects::stored(
            bytes.into(),
            None,
            Attributes::default(),
            self.shared.clock.system_time(),
        );
        if let Some(bucket) = self.shared.buckets().get_mut(bucket) {
            bucket.objects.insert(key.into(), object);
        }
    }

    /// Flips a bit in the middle of an object's bytes; ETag and checksum do not change. `false` if
    /// the object does not exist or is empty.
    pub fn corrupt(&self, key: &str) -> bool {
        self.change(key, |bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes.into()
        })
    }

    /// Cuts off the second half of an object's bytes; ETag and checksum do not change. `false` if
    /// the object does not exist or is empty.
    pub fn truncate(&self, key: &str) -> bool {
        self.change(key, |bytes| bytes.slice(..bytes.len() / 2))
    }

    /// Removes an object. `false` if it does not exist.
    pub fn remove(&self, key: &str) -> bool {
        self.shared
            .buckets()
            .get_mut(&self.bucket)
            .is_some_and(|bucket| bucket.objects.remove(key).is_some())
    }

    fn change(&self, key: &str, action: impl FnOnce(&Bytes) -> Bytes) -> bool {
        let mut buckets = self.shared.buckets();
        let object = buckets.get_mut(&self.bucket).and_then(|bucket| bucket.objects.get_mut(key));
        let Some(object) = object.filter(|object| !object.bytes.is_empty()) else { return false };
        object.bytes = action(&object.bytes);
        true
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's thread. Dropping it ends the thread with all connections and waits for it.
#[derive(Debug)]
struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(listener: TcpListener, shared: Arc<Shared>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        // The connections' tasks end when the runtime is dropped with the thread.
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("test-s3".to_owned()).spawn(serve)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed there, and the affected requests have failed.
            let _ = thread.join();
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let service = s3::service(Arc::clone(&shared));
    let mut connection = 0;
    loop {
        // Accepting fails for one connection, or if there are too many open files.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        connection += 1;
        tokio::spawn(serve(stream, connection, Arc::clone(&shared), service.clone()));
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    connection: u64,
    shared: Arc<Shared>,
    service: S3Service,
) {
    // Without it, small responses wait 40 ms for the client's delayed acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let reset = ResetSwitch::default();
    let exchange = Exchange { shared, service, connection, reset: reset.clone() };
    let io = TokioIo::new(Connection::new(stream, reset));
    // Faults and disconnecting clients end connections with errors.
    let _ = http1::Builder::new()
        .serve_connection(io, service_fn(move |request| exchange.clone().respond(request)))
        .await;
}

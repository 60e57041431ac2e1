//! Starting, stopping and steering the server.

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
    /// The bucket that exists from the start; `test-bucket` unless set.
    #[must_use]
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.bucket = name.into();
        self
    }

    /// One more bucket.
    #[must_use]
    pub fn extra_bucket(mut self, name: impl Into<String>) -> Self {
        self.extra_buckets.push(name.into());
        self
    }

    /// The TCP port; a free one unless set.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Writes whatever If-Match and If-None-Match say, as some S3-compatible servers do.
    #[must_use]
    pub fn ignore_conditions(mut self) -> Self {
        self.options.ignore_conditions = true;
        self
    }

    /// Takes locks on objects, as buckets with Object Lock do; others refuse them.
    #[must_use]
    pub fn object_lock(mut self) -> Self {
        self.options.object_lock = true;
        self
    }

    /// Neither checks nor keeps checksums, as some S3-compatible servers do. The payload's hash in
    /// the signature is checked all the same.
    #[must_use]
    pub fn ignore_checksums(mut self) -> Self {
        self.options.ignore_checksums = true;
        self
    }

    /// How small a part may be that isn't the last of its object; 5 MiB, as in S3, unless set.
    #[must_use]
    pub fn minimum_part_size_bytes(mut self, size_bytes: usize) -> Self {
        self.options.minimum_part_size_bytes = size_bytes;
        self
    }

    /// Starts the server on 127.0.0.1.
    ///
    /// # Errors
    /// When the port can't be had.
    pub async fn start(self) -> io::Result<TestS3> {
        let buckets = self.extra_buckets.into_iter().chain([self.bucket.clone()]);
        let shared = Arc::new(Shared::new(self.options, buckets));
        let listener = listen(self.port)?;
        let port = listener.local_addr()?.port();
        let running = Running::start(listener, Arc::clone(&shared))?;
        Ok(TestS3 { bucket: self.bucket, port, shared, running: Mutex::new(Some(running)) })
    }
}

/// An S3 server in memory on a port of 127.0.0.1. It runs in a thread of its own, so neither a
/// blocked test nor tokio's paused time touches it, and it is gone with its port when dropped.
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
    /// When no port can be had.
    #[allow(clippy::expect_used, reason = "a test has no use for the error")]
    pub async fn start() -> Self {
        TestS3Builder::default().start().await.expect("a free port on 127.0.0.1")
    }

    /// A server with options.
    pub fn builder() -> TestS3Builder {
        TestS3Builder::default()
    }

    /// Where the server listens, for example `http://127.0.0.1:40001`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The access key id that is let in.
    pub fn access_key(&self) -> &str {
        s3::ACCESS_KEY
    }

    /// The secret of the access key.
    pub fn secret_key(&self) -> &str {
        s3::SECRET_KEY
    }

    /// The first bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The region to sign for.
    pub fn region(&self) -> &str {
        s3::REGION
    }

    /// What the AWS SDK needs to reach this server, with its credentials.
    pub fn sdk_config(&self) -> SdkConfig {
        let credentials =
            Credentials::new(self.access_key(), self.secret_key(), None, None, "test server");
        SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// The environment that points tara-export at this server.
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

    /// Ends all connections and frees the port; objects, faults and the recording stay. Returns
    /// when nothing of the server runs any more. Does nothing when stopped already.
    pub fn stop(&self) {
        // Dropping waits for the server's thread.
        drop(self.running().take());
    }

    /// Starts again on the same port with the same objects, after stopping if needed.
    ///
    /// # Errors
    /// When somebody else has taken the port meanwhile.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop();
        let running = Running::start(listen(self.port)?, Arc::clone(&self.shared))?;
        *self.running() = Some(running);
        Ok(())
    }

    /// Makes requests fail. Of several rules the first that matches acts.
    pub fn fail(&self, rule: FaultRule) -> FaultId {
        self.shared.faults.add(rule)
    }

    /// Takes a rule back; requests that it stalls go on.
    pub fn clear_fault(&self, id: FaultId) {
        self.shared.faults.clear(id);
    }

    /// Takes all rules back.
    pub fn clear_faults(&self) {
        self.shared.faults.clear_all();
    }

    /// How many requests a rule has failed so far; 0 after it was cleared.
    pub fn fault_hits(&self, id: FaultId) -> usize {
        self.shared.faults.hits(id).unwrap_or(0)
    }

    /// Lets every request wait so long before it is handled.
    pub fn latency(&self, latency: Duration) {
        self.shared.set_latency(latency);
    }

    /// Sets the server's clock wrong: ahead of this machine's, or behind when negative. Answers
    /// carry that time, and requests signed more than 15 minutes from it get RequestTimeTooSkewed.
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

    /// Forgets the recorded requests.
    pub fn reset_requests(&self) {
        self.shared.recorder.reset();
    }

    /// The objects of the first bucket by key.
    pub fn objects(&self) -> BTreeMap<String, StoredObject> {
        self.objects_in(&self.bucket)
    }

    /// The objects of a bucket by key; empty when there is no such bucket.
    pub fn objects_in(&self, bucket: &str) -> BTreeMap<String, StoredObject> {
        self.shared.buckets().get(bucket).map(|bucket| bucket.objects.clone()).unwrap_or_default()
    }

    /// An object of the first bucket.
    pub fn object(&self, key: &str) -> Option<StoredObject> {
        self.shared.buckets().get(&self.bucket)?.objects.get(key).cloned()
    }

    /// How many multipart uploads of the first bucket are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.shared.buckets().get(&self.bucket).map_or(0, |bucket| bucket.uploads.len())
    }

    /// Puts a stranger's object into the first bucket, replacing what is there.
    pub fn put_raw(&self, key: impl Into<String>, bytes: impl Into<Bytes>) {
        self.put_raw_in(&self.bucket, key, bytes);
    }

    /// Puts a stranger's object into a bucket, replacing what is there; nothing when there is no
    /// such bucket.
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

    /// Flips a bit in the middle of an object's bytes; ETag and checksum stay. `false` when there
    /// is no such object, or it is empty.
    pub fn corrupt(&self, key: &str) -> bool {
        self.change(key, |bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes.into()
        })
    }

    /// Cuts off the second half of an object's bytes; ETag and checksum stay. `false` when there is
    /// no such object, or it is empty.
    pub fn truncate(&self, key: &str) -> bool {
        self.change(key, |bytes| bytes.slice(..bytes.len() / 2))
    }

    /// Removes an object. `false` when there is no such object.
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

/// The server's thread. Dropping it ends the thread with all connections and waits for that.
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
        // The tasks of the connections end when the runtime is dropped with the thread.
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
            // A panic in the thread was printed there, and the requests it harmed have failed.
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
        // Accepting fails for one connection, or while there are too many open files.
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
    // Without it small answers wait 40 ms for the client's delayed acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let reset = ResetSwitch::default();
    let exchange = Exchange { shared, service, connection, reset: reset.clone() };
    let io = TokioIo::new(Connection::new(stream, reset));
    // Connections that end in an error are what faults and impatient clients make.
    let _ = http1::Builder::new()
        .serve_connection(io, service_fn(move |request| exchange.clone().answer(request)))
        .await;
}

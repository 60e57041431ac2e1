//! A server on a port of its own, and what outlives it; with `requests` to send, streams to follow
//! and what to look at afterwards. Part of several tests.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod bundles;
pub(crate) mod catalogue;
pub(crate) mod following;
pub(crate) mod http;
pub(crate) mod raw;
pub(crate) mod requests;
pub(crate) mod s3;
pub(crate) mod statuses;
pub(crate) mod uploads;

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args as _, Command, FromArgMatches as _, builder::Resettable};
use tara_export::{
    clock::Clock,
    config::{ListenSettings, Settings},
    export::Stores,
    proto::export_service_client::ExportServiceClient,
    server::{Access, RunningServer, Service},
    store::{Store, local::LocalStore},
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

pub(crate) type Client = ExportServiceClient<Channel>;

/// The time at which every test starts, in whole microseconds.
pub(crate) const START: &str = "2026-11-22T18:37:00.123456Z";
/// What the name of every folder starts with that is made at [`START`].
pub(crate) const START_PREFIX: &str = "20261122_183700_";

/// Far longer than anything here takes: a test that hangs ends with a message.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of something that must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Waits until this is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    within(what, waiting).await;
}

/// Time stands still until a test moves it, and ids count.
#[derive(Debug)]
pub(crate) struct TestClock {
    state: Mutex<(DateTime<Utc>, u128)>,
}

impl TestClock {
    fn new() -> Self {
        Self { state: Mutex::new((START.parse().unwrap(), 0xC10C_0000)) }
    }

    pub(crate) fn advance(&self, delta: TimeDelta) {
        self.state.lock().unwrap().0 += delta;
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        self.state.lock().unwrap().0
    }

    fn new_id(&self) -> Uuid {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        Uuid::from_u128(state.1)
    }
}

/// What outlives a server's process: its disk, its clock, its settings, S3.
pub(crate) struct Host {
    folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
    s3: Option<Arc<dyn Store>>,
    local: fn(LocalStore) -> Arc<dyn Store>,
    flags: Vec<String>,
}

impl Host {
    /// A machine without S3.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let local = |store| Arc::new(store) as Arc<dyn Store>;
        Self { folder, clock: Arc::new(TestClock::new()), s3: None, local, flags: Vec::new() }
    }

    pub(crate) fn with_s3(store: Arc<dyn Store>) -> Self {
        Self { s3: Some(store), ..Self::new() }
    }

    /// With a local store that a test has wrapped.
    pub(crate) fn local(self, local: fn(LocalStore) -> Arc<dyn Store>) -> Self {
        Self { local, ..self }
    }

    /// With these flags of `tara-export serve`.
    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// Where the local store lies. Nothing is there before the first export.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("exports")
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.data_dir().join(name)
    }

    /// All files in the data directory, by their paths below it. Objects that try the store out are
    /// nobody's.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut folders = vec![self.data_dir()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let path = path.strip_prefix(self.data_dir()).unwrap();
                    files.push(path_text(path).to_owned());
                }
            }
        }
        files.retain(|file| !file.starts_with(".tara-export/probe/"));
        files.sort();
        files
    }

    /// Starts a server. One started after another's end is what a restart is.
    pub(crate) async fn start(&self) -> TestServer {
        self.start_with(&[]).await
    }

    /// Starts a server with these flags over the others.
    pub(crate) async fn start_with(&self, flags: &[&str]) -> TestServer {
        let (running, disk) = self.serve(flags).await;
        let address = running.address();
        let client = connect(address).await;
        TestServer { running, address, client, disk }
    }

    /// The same, without a client: for servers that not everybody may call.
    pub(crate) async fn serve(&self, flags: &[&str]) -> (RunningServer, LocalStore) {
        let (settings, listen) = self.settings(flags);
        let disk = LocalStore::open(settings.data_dir.clone()).unwrap();
        let local = (self.local)(disk.clone());
        let stores = Stores { s3: self.s3.clone(), local };
        let service =
            Service::over(&settings, stores, Access::Write, self.clock.clone()).await.unwrap();
        (RunningServer::start(service, &listen).await.unwrap(), disk)
    }

    /// From flags alone, whatever the environment of the tests has.
    fn settings(&self, flags: &[&str]) -> (Settings, ListenSettings) {
        let command = Command::new("test").no_binary_name(true).args_override_self(true);
        let command = ListenSettings::augment_args(Settings::augment_args(command))
            .mut_args(|argument| argument.env(Resettable::Reset));
        let own =
            ["--port=0", "--replica-name=replica-1", "--data-dir", path_text(&self.data_dir())]
                .map(str::to_owned);
        let own = own.iter().chain(&self.flags).map(String::as_str);
        let matches = command.try_get_matches_from(own.chain(flags.iter().copied())).unwrap();
        let settings = Settings::from_arg_matches(&matches).unwrap();
        settings.check().unwrap();
        (settings, ListenSettings::from_arg_matches(&matches).unwrap())
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).unwrap()
}

pub(crate) async fn connect(address: SocketAddr) -> Client {
    Client::new(endpoint(address).connect().await.unwrap())
}

/// A client with an address of its own: any of 127.0.0.0/8 is this machine's.
pub(crate) async fn connect_from(source: [u8; 4], address: SocketAddr) -> Client {
    let endpoint = endpoint(address).local_address(Some(source.into()));
    Client::new(endpoint.connect().await.unwrap())
}

/// A server that listens, and a client of it.
pub(crate) struct TestServer {
    pub(crate) running: RunningServer,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    disk: LocalStore,
}

impl TestServer {
    /// Ends the server as SIGTERM does.
    pub(crate) async fn stop(self) {
        let Self { running, client, disk, .. } = self;
        drop(client);
        within("the server stops", running.shut_down()).await;
        // A process that ends does this before another can have its folder.
        within("the disk is done", disk.finish()).await;
    }
}

//! A test server with its disk, clock and settings, which survive a restart; requests to send, and helpers
//! that follow streams and check results. Several test binaries include this module.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod authorities;
pub(crate) mod bundles;
pub(crate) mod catalogue;
pub(crate) mod checks;
pub(crate) mod following;
pub(crate) mod forward;
pub(crate) mod in_s3;
pub(crate) mod issuer;
pub(crate) mod mail_server;
pub(crate) mod pools;
pub(crate) mod raw;
pub(crate) mod requests;
pub(crate) mod s3;
pub(crate) mod statuses;
pub(crate) mod tokens;
pub(crate) mod uploads;
pub(crate) mod waiting;

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
    config::{ListenSettings, Settings},
    export::Stores,
    server::{Access, ListenError, RunningServer, Service, SetupError},
};
use tara_export_client::proto::export_service_client::ExportServiceClient;
use tara_export_clock::Clock;
use tara_export_store::{Store, local::LocalStore};
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use tara_export_test_support::http;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

pub(crate) type Client = ExportServiceClient<Channel>;

/// The time of the clock at the start of every test, in whole microseconds.
pub(crate) const START: &str = "2026-11-22T18:37:00.123456Z";
/// The prefix of the names of all folders made at [`START`].
pub(crate) const START_PREFIX: &str = "20261122_183700_";

/// Flags of a server that falls back, detects outages and stops quickly.
pub(crate) const QUICK: [&str; 3] =
    ["--s3-retry-budget=300ms", "--s3-outage-pause=10ms", "--shutdown-timeout=0s"];

/// Longer than any operation takes. A test that hangs fails with a message.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The result of a future. Panics with `what` after [`TEST_TIMEOUT`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TEST_TIMEOUT, future).await {
        Ok(result) => result,
        Err(_) => panic!("timed out: {what}"),
    }
}

/// Waits until `condition` is true.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    within(what, waiting).await;
}

/// A clock that changes only when a test moves it. Its ids are consecutive.
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

/// The environment that survives a server process: disk, clock, settings and S3.
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

    /// Sets the S3 store of the next start, or none.
    pub(crate) fn configure_s3(&mut self, store: Option<Arc<dyn Store>>) {
        self.s3 = store;
    }

    /// Wraps the local store.
    pub(crate) fn local(self, local: fn(LocalStore) -> Arc<dyn Store>) -> Self {
        Self { local, ..self }
    }

    /// Adds flags of `tara-export serve`.
    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("exports")
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.data_dir().join(name)
    }

    /// All files in the data directory, by their relative paths, except probe objects and the list of known
    /// stores.
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
        files.retain(|file| {
            !file.starts_with(".tara-export/probe/") && file != ".tara-export/stores.json"
        });
        files.sort();
        files
    }

    /// Starts a server. Starting one after another has stopped is a restart.
    pub(crate) async fn start(&self) -> TestServer {
        self.start_with(&[]).await
    }

    /// Starts a server with additional flags, which take precedence.
    pub(crate) async fn start_with(&self, flags: &[&str]) -> TestServer {
        let (running, disk) = self.serve(flags).await;
        let address = running.address();
        let client = connect(address).await;
        TestServer { running, address, client, disk }
    }

    /// Starts a server without a client, for servers that require credentials.
    pub(crate) async fn serve(&self, flags: &[&str]) -> (RunningServer, LocalStore) {
        let (settings, listen) = self.settings(flags);
        let disk = LocalStore::open(settings.disk.data_dir.clone()).unwrap();
        let local = (self.local)(disk.clone());
        let stores = Stores { s3: self.s3.clone(), local };
        let service =
            Service::over(&settings, stores, Access::Write, self.clock.clone()).await.unwrap();
        (RunningServer::start(service, &listen).await.unwrap(), disk)
    }

    /// Starts a server that may fail to listen.
    pub(crate) async fn try_serve(&self, flags: &[&str]) -> Result<RunningServer, ListenError> {
        let (settings, listen) = self.settings(flags);
        let local = LocalStore::open(settings.disk.data_dir.clone()).unwrap();
        let stores = Stores { s3: self.s3.clone(), local: (self.local)(local) };
        let service = Service::over(&settings, stores, Access::Write, self.clock.clone()).await;
        RunningServer::start(service.unwrap(), &listen).await
    }

    /// Builds a service that may be refused its settings.
    pub(crate) async fn try_setup(&self) -> Result<Service, SetupError> {
        let (settings, _) = self.settings(&[]);
        let local = LocalStore::open(settings.disk.data_dir.clone()).unwrap();
        let stores = Stores { s3: self.s3.clone(), local: (self.local)(local) };
        Service::over(&settings, stores, Access::Write, self.clock.clone()).await
    }

    /// Parses the settings from flags alone, without the environment.
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

/// The path of an export's receipt below the data directory.
pub(crate) fn receipt(number: u32) -> String {
    format!(".tara-export/receipts/{}.json", requests::id(number))
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

/// A client with this source address. All of 127.0.0.0/8 belongs to this machine.
pub(crate) async fn connect_from(source: [u8; 4], address: SocketAddr) -> Client {
    let endpoint = endpoint(address).local_address(Some(source.into()));
    Client::new(endpoint.connect().await.unwrap())
}

/// A listening server and a client of it.
pub(crate) struct TestServer {
    pub(crate) running: RunningServer,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    disk: LocalStore,
}

impl TestServer {
    /// Stops the server as SIGTERM does.
    pub(crate) async fn stop(self) {
        let Self { running, client, disk, .. } = self;
        drop(client);
        within("the server stops", running.shut_down()).await;
        // A process finishes its disk work before another one can lock its data directory.
        within("the disk work finishes", disk.finish()).await;
    }
}

//! Assembles the modules and serves gRPC, gRPC-Web and `/healthz` on one port.

mod accept;
mod connections;
mod cors;
mod descriptors;
mod health;
mod http;
mod intermediaries;
mod jobs;
mod notifications;
mod observed_s3;
mod routes;
mod security;
mod settings;
mod shutdown;
mod unix_socket;
mod unread;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use tara_export_auth::Authenticator;
use tara_export_catalog::Catalog;
use tara_export_clock::Clock;
use tara_export_limits::{ConnectionPermit, Connections, Pool, Pools};
use tara_export_store::Store;
use tara_export_telemetry::names;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::Notify,
    task::JoinHandle,
    time,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use self::{
    accept::accepted_connections,
    connections::{Connection, limited},
    descriptors::DescriptorPlan,
    health::HealthProbes,
    http::{HttpLimits, serve},
    routes::routes,
    security::refresh,
    settings::{
        auth_settings, batch_settings, computing_threads, engine_settings, journal_limits,
        left_exports, read_limits, tls_files, uploads,
    },
    unix_socket::SocketFile,
};
pub use self::{
    descriptors::TooFewDescriptors,
    health::{ACCEPTING, LIVENESS},
    notifications::target_context,
    security::ListenError,
    settings::{OpenStoresError, open_relocation, open_stores},
    shutdown::{Deadline, HUNG, StopSignal, Stopping},
};
use crate::{
    batch::{self, Batches, BatchesError},
    config::{ListenSettings, Settings, value},
    export::{self, Accepted, Engine, Journal, JournalError, Stores},
    grpc::{
        self, Automation, CallLimits, ExportApi, ExportApiParts, PulledRequests, Readers,
        RequestLimits,
    },
    health::{Health, Monitor, MonitorSettings},
    jobs::{Jobs, JobsContext, JobsError, Outbound},
    notifications::{Notifications, NotificationsError},
    tls::TlsServer,
};

/// How long open calls may take to end after everything else ended.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(2);
/// What a process may do with its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write, and finish the exports that previous processes accepted. Requires the directory's lock.
    Write,
    /// Read and write, for the exports of one command: those of previous processes stay in the journal. Requires the
    /// directory's lock.
    Command,
    /// Only read, while another process may write.
    Read,
}

/// A service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The stores cannot be opened.
    #[error(transparent)]
    Stores(#[from] OpenStoresError),
    /// The limit of open files is too low.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The journal cannot be read, so previously accepted exports are unknown.
    #[error("cannot read the journal, so accepted exports are unknown: {0}")]
    Journal(#[from] JournalError),
    /// The batches cannot be set up.
    #[error(transparent)]
    Batches(#[from] BatchesError),
    /// The notifications cannot be set up.
    #[error(transparent)]
    Notifications(#[from] NotificationsError),
    /// The jobs cannot be set up.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// The system cannot start threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] io::Error),
}

/// The engine, the API and their limits.
#[derive(Debug, Clone)]
pub struct Service {
    engine: Engine,
    api: ExportApi,
    health: Health,
    request_limits: RequestLimits,
    call_limits: CallLimits,
    s3: Option<Arc<dyn Store>>,
    notifications: Option<Notifications>,
    batches: Batches,
    jobs: Option<Jobs>,
}

impl Service {
    /// Builds the service for the configured stores. Does not wait for S3: a server starts without
    /// it.
    pub async fn new(
        settings: &Settings,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        Self::over(settings, open_stores(settings).await?, access, clock).await
    }

    /// Builds the service for these stores, and resumes the exports that a previous process of this data directory
    /// accepted.
    pub async fn over(
        settings: &Settings,
        stores: Stores,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let descriptors = DescriptorPlan::of_process()?;
        let limits = journal_limits(settings);
        let writes = access != Access::Read;
        let notifications = match writes {
            true => notifications::open(settings, stores.s3.clone(), clock.clone()).await?,
            false => None,
        };
        let journal = match writes {
            true => {
                let outbox = notifications.as_ref().map(Notifications::outbox);
                let data_dir = settings.disk.data_dir.clone();
                Some(Journal::open_with_outbox(data_dir, limits, outbox).await?)
            }
            false => None,
        };
        let catalog = Catalog::new(
            stores.s3.clone(),
            stores.local.clone(),
            settings.catalog_cache_size.as_u64(),
            clock.clone(),
        );
        let (s3, local) = (stores.s3.clone(), stores.local.clone());
        let outbound = Outbound::of_process();
        let jobs_file = match writes {
            true => jobs::read(settings, notifications.as_ref(), &outbound)?,
            false => None,
        };
        let uploads = uploads(settings, &stores, access, clock.clone())?;
        let computing = Pool::new("computing", computing_threads())?;
        let engine_settings = engine_settings(settings);
        let health = Health::default();
        let acceptance = health.acceptance.clone();
        let engine = Engine::new(
            engine_settings,
            stores,
            journal,
            uploads,
            computing,
            acceptance,
            clock.clone(),
        );
        engine
            .resume(match access {
                Access::Write => Accepted::Resume,
                Access::Command | Access::Read => Accepted::Leave,
            })
            .await?;
        if !writes {
            engine.report_left(left_exports(settings).await?);
        }
        if let Some(notifications) = &notifications {
            let engine = engine.clone();
            notifications.start(move |export_id| engine.has_entry(export_id)).await?;
        }
        // Reports of batches and the log of jobs: in S3, or on this disk without a bucket.
        let records_store = s3.clone().unwrap_or(local);
        let batches = Batches::open(
            batch_settings(settings),
            engine.clone(),
            records_store.clone(),
            notifications.as_ref().map(Notifications::outbox),
            clock.clone(),
            access != Access::Read,
        )
        .await?;
        batches.start();
        let recipients = value(&settings.notify.notify_recipients).unwrap_or_default();
        let jobs = jobs_file.map(|file| {
            let context = JobsContext {
                store: records_store,
                notifications: notifications.clone(),
                catalog: catalog.clone(),
                engine: engine.clone(),
                batches: batches.clone(),
                requests: Arc::new(PulledRequests::new(
                    engine.clone(),
                    notifications.clone(),
                    recipients.clone(),
                )),
                outbound,
                clock: clock.clone(),
            };
            Jobs::new(file, context)
        });
        let replica = value(&settings.replica_name)
            .unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned());
        let readers = Readers::new(read_limits(settings, descriptors), engine.ending())?;
        let automation =
            Automation { notifications: notifications.clone(), recipients, jobs: jobs.clone() };
        let api = ExportApi::new(ExportApiParts {
            engine: engine.clone(),
            catalog,
            clock,
            replica: replica.into(),
            health: health.clone(),
            readers,
            automation,
            batches: batches.clone(),
        });
        let request_limits = RequestLimits {
            size_bytes: settings.limits.max_request_size.as_u64(),
            timeout: settings.limits.request_timeout,
        };
        let call_limits = CallLimits::new(
            settings.limits.max_concurrent_calls,
            settings.limits.admission_timeout,
        );
        Ok(Self {
            engine,
            api,
            health,
            request_limits,
            call_limits,
            s3,
            notifications,
            batches,
            jobs,
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The thread pools for blocking work.
    fn pools(&self) -> Pools {
        let mut pools = self.engine.pools();
        pools.other.push(self.api.archives());
        pools.writing.extend(self.notifications.as_ref().map(Notifications::pool));
        pools.writing.push(self.batches.pool());
        pools
    }
}

/// The address that a server listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP address with its port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// The URL for commands on this machine.
    pub fn local_url(&self, has_tls: bool) -> String {
        let scheme = if has_tls { "https" } else { "http" };
        match self {
            Self::Tcp(address) if address.ip().is_unspecified() => {
                format!("{scheme}://localhost:{}", address.port())
            }
            Self::Tcp(address) => format!("{scheme}://{address}"),
            Self::Unix(_) => self.to_string(),
        }
    }
}

/// An open listener.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening server.
#[derive(Debug)]
pub struct RunningServer {
    address: ListenAddress,
    /// Removed when the server has stopped.
    _socket_file: Option<SocketFile>,
    engine: Engine,
    notifications: Option<Notifications>,
    batches: Batches,
    jobs: Option<Jobs>,
    health: HealthProbes,
    pools: Pools,
    _monitor: Monitor,
    draining: CancellationToken,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
    shutdown_timeout: Duration,
    reload: Arc<Notify>,
}

impl RunningServer {
    /// Starts listening.
    ///
    /// # Errors
    /// If the address cannot be bound, or a file with certificates, tokens or keys is invalid.
    pub async fn start(service: Service, settings: &ListenSettings) -> Result<Self, ListenError> {
        register_metrics();
        let tls = tls_files(&settings.security).map(TlsServer::open).transpose()?.map(Arc::new);
        let reader = Pool::new("security-files", 1).map_err(ListenError::Threads)?;
        let authenticator =
            Authenticator::open(auth_settings(&settings.security), reader.clone()).await?;
        let authenticator = authenticator.map(Arc::new);
        let (listener, address, socket_file) = listen(settings).await?;
        let descriptors = DescriptorPlan::of_process()?;
        let max_connections = descriptors.clamp_connections(settings.max_connections);
        let connections = Connections::new(max_connections as usize);
        let (draining, stopping) = (CancellationToken::new(), CancellationToken::new());
        let (health, routes) =
            routes(&service, settings, authenticator.clone(), draining.clone()).await?;
        let engine = service.engine.clone();
        let pools = service.pools();
        let monitor = Monitor::start(
            service.health.clone(),
            MonitorSettings {
                stall_threshold: settings.stall_threshold,
                pools: pools.clone(),
                check: Box::new(move || Box::pin(engine.check_acceptance())),
            },
        )
        .map_err(ListenError::Threads)?;
        tokio::spawn(stopping.clone().run_until_cancelled_owned(health.clone().report_changes()));
        let reload = Arc::new(Notify::new());
        let refreshing =
            refresh(tls.clone(), authenticator, service.s3.clone(), reload.clone(), reader);
        tokio::spawn(stopping.clone().run_until_cancelled_owned(refreshing));
        let limits = HttpLimits {
            concurrent_streams: settings.max_concurrent_streams,
            keepalive_interval: settings.keepalive_interval,
            idle_timeout: settings.read_idle_timeout,
        };
        let stop_accepting = stopping.clone();
        let waiting = descriptors.waiting as usize;
        let serving = match listener {
            Listener::Tcp(listener) => {
                let incoming = TcpIncoming::from(listener)
                    // Without it, a small response waits up to 40 ms for the peer's delayed acknowledgement.
                    .with_nodelay(Some(true))
                    .with_keepalive(Some(settings.keepalive_interval));
                let incoming = limited(accepted_connections(incoming), connections, waiting);
                match tls {
                    Some(tls) => {
                        let incoming = tls.accept(incoming);
                        let incoming = incoming.map(|(stream, permit)| open(stream, permit));
                        tokio::spawn(serve(incoming, routes, limits, stop_accepting))
                    }
                    None => {
                        let incoming = incoming.map(|(stream, permit)| {
                            let peer = stream.peer_addr().ok();
                            Ok(open(stream, permit)?.with_plain_peer(peer))
                        });
                        tokio::spawn(serve(incoming, routes, limits, stop_accepting))
                    }
                }
            }
            Listener::Unix(listener) => {
                let incoming = accepted_connections(unix_socket::incoming(listener));
                let incoming = limited(incoming, connections, waiting);
                let incoming = incoming.map(|(stream, permit)| open(stream, permit));
                tokio::spawn(serve(incoming, routes, limits, stop_accepting))
            }
        };
        let Service { engine, notifications, batches, jobs, .. } = service;
        let shutdown_timeout = settings.shutdown_timeout;
        Ok(Self {
            address,
            _socket_file: socket_file,
            engine,
            notifications,
            batches,
            jobs,
            health,
            pools,
            _monitor: monitor,
            draining,
            stopping,
            serving,
            shutdown_timeout,
            reload,
        })
    }

    /// Notify it to reload the files with certificates, tokens and keys, and the credentials for S3, now.
    pub fn reload(&self) -> Arc<Notify> {
        self.reload.clone()
    }

    /// The bound TCP address. `0.0.0.0:0` if the server listens on a Unix socket.
    pub fn address(&self) -> SocketAddr {
        match self.address {
            ListenAddress::Tcp(address) => address,
            ListenAddress::Unix(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        }
    }

    /// The notifications, if there are any.
    pub fn notifications(&self) -> Option<Notifications> {
        self.notifications.clone()
    }

    /// The scheduled jobs, if there are any. They run only when they are asked for until they are started.
    pub fn jobs(&self) -> Option<Jobs> {
        self.jobs.clone()
    }

    /// The address that the server listens on.
    pub fn listen_address(&self) -> &ListenAddress {
        &self.address
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The thread pools for blocking work.
    pub fn pools(&self) -> Pools {
        self.pools.clone()
    }

    /// Shuts down within `SHUTDOWN_TIMEOUT` from now.
    pub async fn shut_down(self) {
        let deadline = Deadline::from_now(self.shutdown_timeout);
        self.shut_down_by(deadline, &Stopping::default()).await;
    }

    /// Shuts down: accepts no new exports, waits for running ones, ends streams, closes connections and finishes
    /// writes to the disk. Returns whether all of that completed; the log names what did not.
    pub async fn shut_down_by(mut self, deadline: Deadline, stopping: &Stopping) -> bool {
        let pools = self.pools();
        stopping.set_pools(pools.clone());
        stopping.set_phase("journal writes");
        self.engine.announce_stop().await;
        self.draining.cancel();
        self.health.report_draining().await;
        if let Some(jobs) = &self.jobs {
            stopping.set_phase("jobs");
            jobs.shut_down(deadline.exports_end().into()).await;
        }
        stopping.set_phase("running exports");
        let exports_ended =
            self.engine.shut_down(deadline.exports_end().into(), deadline.end().into()).await;
        stopping.set_phase("batches");
        self.batches.shut_down(deadline.exports_end().into()).await;
        if let Some(notifications) = &self.notifications {
            stopping.set_phase("notifications");
            notifications.shut_down(deadline.exports_end().into()).await;
        }
        stopping.set_phase("open calls and connections");
        self.stopping.cancel();
        // Writes to the disk need the other half.
        let timeout = CLOSING_TIMEOUT.min(deadline.remaining() / 2);
        if time::timeout(timeout, &mut self.serving).await.is_err() {
            tracing::info!("closing connections with calls still open");
            self.serving.abort();
        }
        stopping.set_phase("disk work");
        let writes_ended = self.engine.finish_writes(deadline.end().into()).await;
        stopping.set_phase("the process to end");
        exports_ended && writes_ended
    }
}

/// Lets the metrics of alarms exist before the first event.
fn register_metrics() {
    names::BUILD_INFO.set(1.0, [env!("CARGO_PKG_VERSION")]);
    export::register_counters();
    grpc::register_counters();
    batch::register_counters();
}

/// Listens on the Unix socket, or else on the TCP address.
async fn listen(
    settings: &ListenSettings,
) -> Result<(Listener, ListenAddress, Option<SocketFile>), ListenError> {
    if let Some(path) = value(&settings.unix_socket) {
        let (listener, file) = unix_socket::listen(&path, settings.unix_socket_mode).await?;
        return Ok((Listener::Unix(listener), ListenAddress::Unix(path), Some(file)));
    }
    // The setting's range is the range of ports.
    let port = u16::try_from(settings.port).unwrap_or(0);
    let failed = |source| ListenError::Bind { address: settings.bind_address, port, source };
    let listener = TcpListener::bind((settings.bind_address, port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((Listener::Tcp(listener), ListenAddress::Tcp(address), None))
}

fn open<C>(stream: C, permit: ConnectionPermit) -> io::Result<Connection<C>> {
    Ok(Connection::new(stream, permit))
}

//! Puts the rooms together and listens: gRPC, gRPC-Web and `/healthz` on one port.

mod accept;
mod connections;
mod descriptors;
mod health;
mod http;
mod routes;
mod security;
mod settings;
mod shutdown;
mod unread;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt as _;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

pub use self::{
    descriptors::TooFewDescriptors,
    health::{ACCEPTING, LIVENESS},
    security::ListenError,
    settings::{OpenStoresError, open_stores},
    shutdown::{Deadline, HUNG, StopSignal, Stopping},
};

use self::{
    accept::accepted,
    connections::{Connection, bounded},
    descriptors::DescriptorPlan,
    health::HealthProbes,
    http::{HttpLimits, serve},
    routes::routes,
    security::refresh,
    settings::{
        auth_settings, computing_threads, engine_settings, read_limits, tls_files, uploads,
    },
};
use crate::{
    auth::Authenticator,
    catalog::Catalog,
    clock::Clock,
    config::{ListenSettings, Settings, value},
    export::{Engine, Journal, JournalError, JournalLimits, Stores},
    grpc::{CallLimits, ExportApi, Readers, RequestLimits},
    health::{Health, Monitor, MonitorSettings},
    limits::{ConnectionPlace, Connections, Pool, Pools},
    tls::TlsServer,
};

/// How long open calls may take to end after everything else has.
const CLOSING_PATIENCE: Duration = Duration::from_secs(2);
/// What a process may do with its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything: it holds the directory's lock.
    Write,
    /// Read, beside the process that writes.
    Read,
}

/// Why a service can't be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The stores can't be used.
    #[error(transparent)]
    Stores(#[from] OpenStoresError),
    /// Too few files may be open.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The journal can't be looked through, so that what was accepted before is not known.
    #[error("{0}: without it this server would forget what it accepted")]
    Journal(#[from] JournalError),
    /// The system gives no resources for threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] io::Error),
}

/// The engine and the catalog over the stores that the settings name.
#[derive(Debug, Clone)]
pub struct Service {
    engine: Engine,
    api: ExportApi,
    health: Health,
    request_limits: RequestLimits,
    call_limits: CallLimits,
}

impl Service {
    /// Builds the service over the stores that the settings name. Does not wait for S3: a server
    /// starts without it.
    pub async fn new(
        settings: &Settings,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        Self::over(settings, open_stores(settings).await?, access, clock).await
    }

    /// The service over these stores, with what an earlier process of this data directory accepted.
    pub async fn over(
        settings: &Settings,
        stores: Stores,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let descriptors = DescriptorPlan::of_process()?;
        let limits = JournalLimits { max_bytes: settings.max_journal_bytes.as_u64() };
        let journal = match access {
            Access::Write => Some(Journal::open(settings.data_dir.clone(), limits).await?),
            Access::Read => None,
        };
        let catalog = Catalog::new(
            stores.s3.clone(),
            stores.local.clone(),
            settings.catalog_cache_size.as_u64(),
            clock.clone(),
        );
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
        engine.resume().await?;
        let replica = value(&settings.replica_name)
            .unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned());
        let readers = Readers::new(read_limits(settings, descriptors), engine.ending())?;
        let api =
            ExportApi::new(engine.clone(), catalog, clock, replica.into(), health.clone(), readers);
        let request_limits = RequestLimits {
            size_bytes: settings.max_request_size.as_u64(),
            timeout: settings.request_timeout,
        };
        let call_limits =
            CallLimits::new(settings.max_concurrent_calls, settings.admission_timeout);
        Ok(Self { engine, api, health, request_limits, call_limits })
    }

    /// The engine, for what is done with it beside serving.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    engine: Engine,
    health: HealthProbes,
    _monitor: Monitor,
    draining: CancellationToken,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
    shutdown_timeout: Duration,
    look_again: Arc<Notify>,
}

impl RunningServer {
    /// Starts listening.
    ///
    /// # Errors
    /// Where the address can't be listened on, or a file of certificates, tokens or keys can't be used.
    pub async fn start(service: Service, settings: &ListenSettings) -> Result<Self, ListenError> {
        let tls = tls_files(&settings.security).map(TlsServer::open).transpose()?.map(Arc::new);
        let authenticator = Authenticator::open(auth_settings(&settings.security)).await?;
        let authenticator = authenticator.map(Arc::new);
        // The settings' range is that of ports.
        let port = u16::try_from(settings.port).unwrap_or(0);
        let failed = |source| ListenError::Bind { address: settings.bind_address, port, source };
        let listener = TcpListener::bind((settings.bind_address, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let descriptors = DescriptorPlan::of_process()?;
        let max_connections = descriptors.clamp_connections(settings.max_connections);
        let connections = Connections::new(max_connections as usize);
        let (draining, stopping) = (CancellationToken::new(), CancellationToken::new());
        let (health, routes) =
            routes(&service, settings, authenticator.clone(), draining.clone()).await?;
        let engine = service.engine.clone();
        let mut pools = engine.pools();
        pools.other.push(service.api.archives());
        let monitor = Monitor::start(
            service.health.clone(),
            MonitorSettings {
                stall_threshold: settings.stall_threshold,
                pools,
                check: Box::new(move || Box::pin(engine.check_acceptance())),
            },
        )
        .map_err(ListenError::Threads)?;
        tokio::spawn(stopping.clone().run_until_cancelled_owned(health.clone().follow()));
        let look_again = Arc::new(Notify::new());
        let reader = Pool::new("security-files", 1).map_err(ListenError::Threads)?;
        let refreshing = refresh(tls.clone(), authenticator, look_again.clone(), reader);
        tokio::spawn(stopping.clone().run_until_cancelled_owned(refreshing));
        let incoming = TcpIncoming::from(listener)
            // Without it, a small answer waits up to 40 ms for the peer's delayed acknowledgement.
            .with_nodelay(Some(true))
            .with_keepalive(Some(settings.keepalive_interval));
        let limits = HttpLimits {
            concurrent_streams: settings.max_concurrent_streams,
            keepalive_interval: settings.keepalive_interval,
            idle_timeout: settings.read_idle_timeout,
        };
        let stopped = stopping.clone();
        let incoming = bounded(accepted(incoming), connections, descriptors.waiting as usize);
        let serving = match tls {
            Some(tls) => {
                let incoming = tls.accept(incoming).map(|(stream, place)| open(stream, place));
                tokio::spawn(serve(incoming, routes, limits, stopped))
            }
            None => {
                let incoming = incoming.map(|(stream, place)| open(stream, place));
                tokio::spawn(serve(incoming, routes, limits, stopped))
            }
        };
        let engine = service.engine;
        let shutdown_timeout = settings.shutdown_timeout;
        Ok(Self {
            address,
            engine,
            health,
            _monitor: monitor,
            draining,
            stopping,
            serving,
            shutdown_timeout,
            look_again,
        })
    }

    /// What reads the files of certificates, tokens and keys again, at once.
    pub fn look_again(&self) -> Arc<Notify> {
        self.look_again.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The threads that do its blocking work.
    pub fn pools(&self) -> Pools {
        self.engine.pools()
    }

    /// Stops in order, within the setting `SHUTDOWN_TIMEOUT` from now on.
    pub async fn shut_down(self) {
        let deadline = Deadline::from_now(self.shutdown_timeout);
        self.shut_down_by(deadline, &Stopping::default()).await;
    }

    /// Stops in order: no new exports, running ones get their time, streams end, connections close, and what
    /// is being written to the disk is written. Whether all of that was done; the log says what was not.
    pub async fn shut_down_by(mut self, deadline: Deadline, stopping: &Stopping) -> bool {
        let pools = self.pools();
        stopping.watch(pools.clone());
        stopping.waits_for("the notes of the journal");
        self.engine.announce_stop().await;
        self.draining.cancel();
        self.health.drain().await;
        stopping.waits_for("running exports");
        let exports_ended =
            self.engine.shut_down(deadline.of_exports().into(), deadline.end().into()).await;
        stopping.waits_for("open calls and connections");
        self.stopping.cancel();
        // What is written to the disk needs the rest.
        let patience = CLOSING_PATIENCE.min(deadline.rest() / 2);
        if time::timeout(patience, &mut self.serving).await.is_err() {
            tracing::info!("closing connections with calls still open");
            self.serving.abort();
        }
        stopping.waits_for("disk work");
        let writes_ended = self.engine.finish_writes(deadline.end().into()).await;
        stopping.waits_for("the process to end");
        exports_ended && writes_ended
    }
}

fn open<C>(stream: C, place: ConnectionPlace) -> io::Result<Connection<C>> {
    Ok(Connection::new(stream, place))
}

//! Puts the rooms together and listens: gRPC, gRPC-Web and `/healthz` on one port.

mod connections;
mod security;

use std::{any::Any, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::get,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes, transport::server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_web::GrpcWebLayer;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};

pub use self::security::ListenError;

use self::{
    connections::bounded,
    security::{auth_settings, refresh, tls_files},
};
use crate::{
    auth::Authenticator,
    bundle::FormatVersion,
    catalog::{Catalog, layout},
    clock::Clock,
    config::{self, Encryption, ListenSettings, Settings, value},
    export::{
        AdmissionLimits, AllowedSource, Engine, EngineSettings, Journal, JournalError,
        JournalLimits, JournalPlace, Stores,
    },
    grpc::{
        AdmissionService, ExportApi, RequestLimits, authenticate, end_at, internal_fault, observe,
    },
    proto::{self, export_service_server::SERVICE_NAME},
    store::{
        Store, StoreError,
        local::LocalStore,
        s3::{ObjectLock, ObjectLockMode, S3Settings, S3Store, ServerSideEncryption},
    },
    telemetry::prices::RequestPrices,
    tls::TlsServer,
    transfer::{PartNotes, TransferLimits, Transfers},
    upload::{UploadSettings, Uploads},
};

/// How long open calls may take to end after everything else has.
const CLOSING_PATIENCE: Duration = Duration::from_secs(2);
/// Largest block of request headers; HTTP/2 peers are told it.
const HEADER_LIST_LIMIT_BYTES: u32 = 64 * 1024;
/// What a peer may send before it is read: with HTTP/2's own 64 KiB an upload would wait for each round
/// trip. Bounds what unread streams and connections hold in memory.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// How long a peer may take to answer a keepalive.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

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
    /// The local store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal can't be looked through, so that what was accepted before is not known.
    #[error("{0}: without it this server would forget what it accepted")]
    Journal(#[from] JournalError),
}

/// The engine and the catalog over the stores that the settings name.
#[derive(Debug, Clone)]
pub struct Service {
    engine: Engine,
    api: ExportApi,
    request_limits: RequestLimits,
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
        let uploads = uploads(settings, &stores, access, clock.clone());
        let engine =
            Engine::new(engine_settings(settings), stores, journal, uploads, clock.clone());
        engine.resume().await?;
        let replica = value(&settings.replica_name)
            .unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned());
        let api = ExportApi::new(engine.clone(), catalog, clock, replica.into());
        let request_limits = RequestLimits {
            size_bytes: settings.max_request_size.as_u64(),
            timeout: settings.request_timeout,
        };
        Ok(Self { engine, api, request_limits })
    }

    /// The engine, for what is done with it beside serving.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// The stores that the settings name. Asks nobody over the network.
///
/// # Errors
/// Where the local store can't be used.
pub async fn open_stores(settings: &Settings) -> Result<Stores, StoreError> {
    let s3: Option<Arc<dyn Store>> = match value(&settings.s3_bucket_name) {
        Some(bucket) => Some(Arc::new(S3Store::connect(s3_settings(settings, bucket)).await)),
        None => None,
    };
    let local: Arc<dyn Store> = Arc::new(LocalStore::open(settings.data_dir.clone())?);
    Ok(Stores { s3, local })
}

/// A server that listens.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    engine: Engine,
    health: HealthReporter,
    draining: CancellationToken,
    stopping: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
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
        let (draining, stopping) = (CancellationToken::new(), CancellationToken::new());
        let (health, routes) =
            routes(&service, settings, authenticator.clone(), draining.clone()).await?;
        let look_again = Arc::new(Notify::new());
        let refreshing = refresh(tls.clone(), authenticator, look_again.clone());
        tokio::spawn(stopping.clone().run_until_cancelled_owned(refreshing));
        let incoming = TcpIncoming::from(listener)
            // Without it, a small answer waits up to 40 ms for the peer's delayed acknowledgement.
            .with_nodelay(Some(true))
            .with_keepalive(Some(settings.keepalive_interval));
        let server = tonic::transport::Server::builder()
            .accept_http1(true)
            .max_concurrent_streams(settings.max_concurrent_streams)
            .http2_keepalive_interval(Some(settings.keepalive_interval))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(HEADER_LIST_LIMIT_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .add_routes(routes);
        let stopped = stopping.clone().cancelled_owned();
        let serving = match tls {
            Some(tls) => {
                let incoming = Box::pin(bounded(tls.accept(incoming), settings.max_connections));
                tokio::spawn(server.serve_with_incoming_shutdown(incoming, stopped))
            }
            None => {
                let incoming = Box::pin(bounded(incoming, settings.max_connections));
                tokio::spawn(server.serve_with_incoming_shutdown(incoming, stopped))
            }
        };
        let engine = service.engine;
        let shutdown_timeout = settings.shutdown_timeout;
        Ok(Self {
            address,
            engine,
            health,
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

    /// Stops in order: no new exports, running ones get their time, streams end, connections close.
    pub async fn shut_down(mut self) {
        self.draining.cancel();
        for service in ["", SERVICE_NAME] {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        self.engine.shut_down(self.shutdown_timeout).await;
        self.stopping.cancel();
        if time::timeout(CLOSING_PATIENCE, &mut self.serving).await.is_err() {
            tracing::info!("closing connections with calls still open");
            self.serving.abort();
        }
    }
}

async fn routes(
    service: &Service,
    settings: &ListenSettings,
    authenticator: Option<Arc<Authenticator>>,
    draining: CancellationToken,
) -> Result<(HealthReporter, Routes), ListenError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    for name in ["", SERVICE_NAME] {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // grpcurl prints the details of errors with it.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let longest = settings.max_stream_time.limit();
    let end_in_time = middleware::from_fn(move |request: Request, next: Next| async move {
        // Counted from the request's first bytes on, as platforms do.
        let until = longest.map(|longest| time::Instant::now() + longest);
        let response = next.run(request).await;
        match until {
            Some(until) => end_at(response, until).into_response(),
            None => response,
        }
    });
    let grpc = Routes::new(AdmissionService::new(&service.api, service.request_limits))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .into_axum_router()
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(end_in_time);
    let grpc = match authenticator {
        Some(authenticator) => {
            grpc.layer(middleware::from_fn_with_state(authenticator, authenticate))
        }
        None => grpc,
    };
    let grpc = grpc
        .layer(middleware::from_fn(observe))
        // Not around /healthz: it answers plain HTTP/1.1 with 400.
        .layer(GrpcWebLayer::new())
        .layer(cors(&settings.cors_allowed_origins));
    let healthz = get(move || async move {
        if draining.is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
        } else {
            (StatusCode::OK, "ok\n")
        }
    });
    let router = Router::new().route("/healthz", healthz).merge(grpc);
    Ok((health, Routes::from(router)))
}

/// What web pages of these origins may do.
fn cors(origins: &[String]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let names = |names: &[&'static str]| -> Vec<HeaderName> {
        names.iter().map(|name| HeaderName::from_static(name)).collect()
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::POST])
        .allow_headers(names(&[
            "content-type",
            "x-grpc-web",
            "x-user-agent",
            "grpc-timeout",
            "authorization",
            "traceparent",
            "tracestate",
        ]))
        // gRPC-Web reads the status from these where an answer has headers only.
        .expose_headers(names(&["grpc-status", "grpc-message", "grpc-status-details-bin"]))
        .max_age(Duration::from_secs(3600))
}

/// A panic in one call is that call's INTERNAL.
fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    tracing::error!("a call panicked");
    internal_fault().into_http()
}

fn engine_settings(settings: &Settings) -> EngineSettings {
    EngineSettings {
        heartbeat_interval: settings.heartbeat_interval,
        accept_timeout: settings.accept_timeout,
        retry_budget: settings.s3_retry_budget,
        parallel_puts: settings.s3_parallel_puts as usize,
        outage_pause: settings.s3_outage_pause,
        backlog_concurrency: settings.backlog_concurrency as usize,
        keep_local_copies: settings.keep_local_copies,
        receipt_retention: settings.receipt_retention,
        format_version: format_version(settings),
        journal: match settings.journal {
            config::JournalPlace::Local => JournalPlace::Local,
            config::JournalPlace::Store => JournalPlace::Store,
        },
        takeover_interval: settings.takeover_interval,
        takeover_age: settings.takeover_age,
        allow_unsafe_store: settings.allow_unsafe_store,
        document_size_bytes: settings.max_document_size.as_u64(),
        allowed_sources: settings
            .s3_sources
            .iter()
            .map(|source| AllowedSource {
                bucket: source.bucket.clone(),
                prefix: source.prefix.clone(),
            })
            .collect(),
        admission: AdmissionLimits {
            concurrent_exports: settings.max_concurrent_exports,
            request_memory_bytes: settings.max_request_memory.as_u64(),
            request_size_bytes: settings.max_request_size.as_u64(),
            patience: settings.admission_timeout,
        },
    }
}

/// How new exports are rendered.
#[cfg(not(feature = "next-format"))]
fn format_version(_: &Settings) -> FormatVersion {
    FormatVersion::CURRENT
}

/// How new exports are rendered: as this release does, or as tests' idea of the next one does.
#[cfg(feature = "next-format")]
fn format_version(settings: &Settings) -> FormatVersion {
    if settings.next_format { FormatVersion::Next } else { FormatVersion::CURRENT }
}

fn uploads(settings: &Settings, stores: &Stores, access: Access, clock: Arc<dyn Clock>) -> Uploads {
    let notes = settings.data_dir.join(".tara-export/parts");
    let notes = (access == Access::Write).then(|| PartNotes::new(notes));
    let limits = TransferLimits {
        memory_bytes: settings.transfer_memory.as_u64(),
        parallel_parts: settings.s3_parallel_parts as usize,
    };
    let upload_settings = UploadSettings {
        document_size_bytes: settings.max_document_size.as_u64(),
        concurrent_uploads: settings.max_concurrent_uploads as usize,
        retention: settings.upload_retention,
        store_patience: settings.accept_timeout,
        retry_budget: settings.s3_retry_budget,
        idle_timeout: settings.upload_idle_timeout,
        patience: settings.admission_timeout,
        disk_bytes: settings.max_local_uploads.as_u64(),
    };
    let transfers = Transfers::new(limits, notes);
    let data_dir = settings.data_dir.clone();
    Uploads::new(upload_settings, stores.s3.clone(), data_dir, transfers, clock)
}

fn s3_settings(settings: &Settings, bucket: String) -> S3Settings {
    S3Settings {
        bucket,
        base_path: settings.s3_base_path.clone(),
        region: value(&settings.aws_region),
        endpoint_url: value(&settings.aws_endpoint_url),
        path_style: settings.s3_path_style,
        server_side_encryption: match settings.s3_server_side_encryption {
            Encryption::Bucket => ServerSideEncryption::BucketDefault,
            Encryption::Aes256 => ServerSideEncryption::SseS3,
            Encryption::AwsKms => {
                ServerSideEncryption::SseKms { key_id: value(&settings.s3_kms_key_id) }
            }
        },
        expected_bucket_owner: value(&settings.s3_expected_bucket_owner),
        object_lock: value(&settings.s3_object_lock_mode).map(|mode| ObjectLock {
            mode: match mode {
                config::LockMode::Governance => ObjectLockMode::Governance,
                config::LockMode::Compliance => ObjectLockMode::Compliance,
            },
            retention: Duration::from_secs(u64::from(settings.s3_object_lock_days) * 24 * 60 * 60),
            // The service's own records are small, some of them are to go, and no auditor needs them.
            except_prefix: layout::own_prefix(),
        }),
        connect_timeout: settings.s3_connect_timeout,
        read_timeout: settings.s3_read_timeout,
        operation_timeout: settings.s3_operation_timeout,
        prices: RequestPrices {
            put: settings.s3_prices.put,
            get: settings.s3_prices.get,
            delete: settings.s3_prices.delete,
        },
    }
}

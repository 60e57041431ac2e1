//! Converts the settings for each module.

use std::{io, sync::Arc, time::Duration};

use tara_export_auth::{AuthSettings, JwtSettings, KeyLocation, KeySource, RoleNames};
use tara_export_bundle::FormatVersion;
use tara_export_catalog::layout;
use tara_export_clock::Clock;
use tara_export_limits::Pool;
use tara_export_outbound::Environment;
use tara_export_store::{
    Store, StoreError,
    local::LocalStore,
    s3::{ObjectLock, S3Settings, S3SettingsError, S3Store},
};

use super::{Access, TooFewDescriptors, descriptors::DescriptorPlan, observed_s3::ObservedS3};
use crate::{
    batch::BatchSettings,
    config::{DOWNLOAD_BYTES, SecuritySettings, Settings, StoreSettings, value, values},
    data_dir::DataDirUser,
    export::{
        AdmissionLimits, EngineSettings, Journal, JournalError, JournalLimits, JournalRetention,
        LeftExports, Relocation, RelocationSettings, Stores, journal::read_accepted,
    },
    grpc::ReadLimits,
    tls::TlsFiles,
    transfer::{PartUploadRecords, TransferLimits, Transfers},
    upload::{UploadSettings, Uploads},
};

/// Threads for documents on this machine's disk: they write uploads, and read documents that are sent to S3. Equals
/// the number of threads for local reads.
const DOCUMENT_THREADS: usize = 16;

/// Threads for long computations: one per processor, and at least two, so that one large request does not block all
/// others.
pub(super) fn computing_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}

/// The stores cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoresError {
    /// The local store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A setting of the AWS SDK is invalid.
    #[error(transparent)]
    S3(#[from] S3SettingsError),
    /// The limit of open files is too low.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
}

/// Opens the configured stores. Sends no requests over the network.
///
/// # Errors
/// If the local store cannot be opened, or a setting of the AWS SDK is invalid.
pub async fn open_stores(settings: &Settings) -> Result<Stores, OpenStoresError> {
    let descriptors = DescriptorPlan::of_process()?;
    let s3: Option<Arc<dyn Store>> = match value(&settings.store.s3_bucket_name) {
        Some(bucket) => {
            let prices = settings.store.s3_prices;
            let s3_settings = s3_settings(&settings.store, bucket, descriptors.s3_requests);
            let observer = Arc::new(ObservedS3::new(prices));
            let environment = Environment::of_process();
            let mut store =
                S3Store::connect(s3_settings, environment, Some(observer.clone())).await?;
            if settings.store.is_hedging() {
                store = store.with_hedging(Some(observer));
            }
            for warning in store.warnings() {
                tracing::warn!("{warning}");
            }
            Some(Arc::new(store))
        }
        None => None,
    };
    let local: Arc<dyn Store> = Arc::new(LocalStore::open(settings.disk.data_dir.clone())?);
    Ok(Stores { s3, local })
}

/// Prepares binding the unfinished exports of the data directory to the configured bucket.
///
/// # Errors
/// A human-readable message.
pub async fn open_relocation(
    settings: &Settings,
    dry_run: bool,
    clock: Arc<dyn Clock>,
) -> Result<Relocation, String> {
    let stores = open_stores(settings).await.map_err(|error| error.to_string())?;
    let journal = Journal::open(settings.disk.data_dir.clone(), journal_limits(settings)).await;
    let journal = journal.map_err(|error| error.to_string())?;
    let relocation_settings = RelocationSettings {
        retry_budget: settings.store.s3_retry_budget,
        memory_bytes: settings.limits.max_request_memory.as_u64(),
        dry_run,
    };
    Relocation::new(journal, &stores, clock, relocation_settings).map_err(|error| error.to_string())
}

pub(super) fn journal_limits(settings: &Settings) -> JournalLimits {
    JournalLimits {
        max_bytes: settings.disk.max_journal_bytes.as_u64(),
        max_receipts: settings.disk.max_receipts as usize,
        max_failures: settings.disk.max_failure_records as usize,
    }
}

pub(super) fn engine_settings(settings: &Settings) -> EngineSettings {
    EngineSettings {
        heartbeat_interval: settings.heartbeat_interval,
        accept_timeout: settings.accept_timeout,
        retry_budget: settings.store.s3_retry_budget,
        parallel_puts: settings.store.s3_parallel_puts as usize,
        outage_pause: settings.store.s3_outage_pause,
        backlog_concurrency: settings.disk.backlog_concurrency as usize,
        keep_local_copies: settings.disk.keep_local_copies,
        journal_retention: JournalRetention {
            receipts: settings.disk.receipt_retention,
            failures: settings.disk.failure_retention,
        },
        retention_interval: settings.disk.retention_interval,
        format_version: format_version(settings),
        journal: settings.disk.journal,
        takeover_interval: settings.disk.takeover_interval,
        takeover_age: settings.disk.takeover_age,
        allow_unsafe_store: settings.store.allow_unsafe_store,
        loss_confirmation: settings.disk.loss_confirmation,
        document_size_bytes: settings.limits.max_document_size.as_u64(),
        allowed_sources: values(&settings.limits.s3_sources),
        admission: AdmissionLimits {
            concurrent_exports: settings.limits.max_concurrent_exports,
            request_memory_bytes: settings.limits.max_request_memory.as_u64(),
            request_size_bytes: settings.limits.max_request_size.as_u64(),
            timeout: settings.limits.admission_timeout,
        },
    }
}

pub(super) fn batch_settings(settings: &Settings) -> BatchSettings {
    let disk = &settings.disk;
    BatchSettings {
        data_dir: disk.data_dir.clone(),
        max_batches: settings.limits.max_batches as usize,
        max_batches_per_caller: settings.limits.max_batches_per_caller as usize,
        resend_timeout: settings.limits.batch_resend_timeout,
        retention: disk.receipt_retention,
        retention_interval: disk.retention_interval,
        store_timeout: settings.accept_timeout,
    }
}

pub(super) fn read_limits(settings: &Settings, descriptors: DescriptorPlan) -> ReadLimits {
    ReadLimits {
        memory_bytes: settings.limits.max_read_memory.as_u64(),
        download_bytes: DOWNLOAD_BYTES,
        downloads: descriptors.clamp_downloads(settings.limits.max_concurrent_downloads),
        admission_timeout: settings.limits.admission_timeout,
    }
}

/// The format version of new exports.
#[cfg(not(feature = "next-format"))]
fn format_version(_: &Settings) -> FormatVersion {
    FormatVersion::CURRENT
}

/// The format version of new exports: the current one, or the next one of tests.
#[cfg(feature = "next-format")]
fn format_version(settings: &Settings) -> FormatVersion {
    if settings.next_format { FormatVersion::Next } else { FormatVersion::CURRENT }
}

/// The accepted exports in the data directory that a read-only process reports.
///
/// # Errors
/// If the journal's folder cannot be listed.
pub(super) async fn left_exports(settings: &Settings) -> Result<LeftExports, JournalError> {
    let data_dir = settings.disk.data_dir.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let is_in_use = DataDirUser::find(&data_dir).is_some();
        Ok(LeftExports::of(read_accepted(&data_dir)?, is_in_use))
    });
    reading.await.unwrap_or(Err(JournalError::Interrupted))
}

pub(super) fn uploads(
    settings: &Settings,
    stores: &Stores,
    access: Access,
    clock: Arc<dyn Clock>,
) -> io::Result<Uploads> {
    let parts_dir = settings.disk.data_dir.join(".tara-export/parts");
    let documents = Pool::new("documents", DOCUMENT_THREADS)?;
    let site = stores.s3.as_ref().map(|s3| s3.site()).unwrap_or_default();
    let part_records = (access != Access::Read)
        .then(|| PartUploadRecords::new(parts_dir, documents.clone(), site));
    let limits = TransferLimits {
        memory_bytes: settings.limits.transfer_memory.as_u64(),
        parallel_parts: settings.limits.s3_parallel_parts as usize,
    };
    let upload_settings = UploadSettings {
        document_size_bytes: settings.limits.max_document_size.as_u64(),
        concurrent_uploads: settings.limits.max_concurrent_uploads as usize,
        retention: settings.limits.upload_retention,
        store_timeout: settings.accept_timeout,
        retry_budget: settings.store.s3_retry_budget,
        idle_timeout: settings.limits.upload_idle_timeout,
        permit_timeout: settings.limits.admission_timeout,
        disk_bytes: settings.limits.max_local_uploads.as_u64(),
    };
    let transfers = Transfers::new(limits, part_records, documents.clone());
    let data_dir = settings.disk.data_dir.clone();
    Ok(Uploads::new(upload_settings, stores.s3.clone(), data_dir, transfers, clock, documents))
}

fn s3_settings(settings: &StoreSettings, bucket: String, concurrent_requests: u32) -> S3Settings {
    S3Settings {
        bucket,
        base_path: settings.s3_base_path.clone(),
        region: value(&settings.aws_region),
        endpoint_url: value(&settings.aws_endpoint_url),
        path_style: settings.s3_path_style,
        server_side_encryption: settings.encryption(),
        expected_bucket_owner: value(&settings.s3_expected_bucket_owner),
        object_lock: value(&settings.s3_object_lock_mode).map(|mode| ObjectLock {
            mode,
            retention: Duration::from_secs(u64::from(settings.s3_object_lock_days) * 24 * 60 * 60),
            // The service's own records are small, some of them are removed later, and auditors do not need them.
            except_prefix: layout::service_prefix(),
        }),
        connect_timeout: settings.s3_connect_timeout,
        read_timeout: settings.s3_read_timeout,
        operation_timeout: settings.s3_operation_timeout,
        concurrent_requests: concurrent_requests as usize,
    }
}

pub(super) fn tls_files(settings: &SecuritySettings) -> Option<TlsFiles> {
    Some(TlsFiles {
        certificates: value(&settings.tls_cert_file)?,
        key: value(&settings.tls_key_file)?,
        client_authorities: value(&settings.tls_client_ca_file),
    })
}

pub(super) fn auth_settings(settings: &SecuritySettings) -> AuthSettings {
    let jwt = || {
        let issuers = values(&settings.jwt_issuer);
        let keys = match (value(&settings.jwt_jwks_file), value(&settings.jwt_jwks_url)) {
            (Some(file), _) => KeySource::File(file),
            (None, url) => KeySource::Published {
                location: match url {
                    Some(url) => KeyLocation::Url(url),
                    None => KeyLocation::Issuer(issuers.first()?.clone()),
                },
                refresh: settings.jwt_jwks_refresh,
                authorities_file: value(&settings.jwt_jwks_ca_file),
                token_file: value(&settings.jwt_jwks_token_file),
            },
        };
        let role_names = match value(&settings.jwt_role_map) {
            Some(map) => RoleNames::Mapped(map),
            None => RoleNames::Prefixed(value(&settings.jwt_role_prefix).unwrap_or_default()),
        };
        (!issuers.is_empty()).then_some(JwtSettings {
            issuers,
            audiences: values(&settings.jwt_audience),
            audience_claim: settings.jwt_audience_claim.clone(),
            name_claim: settings.jwt_name_claim.clone(),
            required_claims: value(&settings.jwt_required_claims).unwrap_or_default(),
            roles_claim: settings.jwt_roles_claim.clone(),
            role_names,
            keys,
            leeway: settings.jwt_leeway,
        })
    };
    AuthSettings {
        tokens_file: value(&settings.auth_tokens_file),
        jwt: jwt(),
        client_certificates: value(&settings.tls_client_ca_file).is_some(),
    }
}

//! What the settings mean to each room.

use std::{io, sync::Arc, time::Duration};

use super::{Access, TooFewDescriptors, descriptors::DescriptorPlan};
use crate::{
    auth::{AuthSettings, JwtSettings, KeySource},
    bundle::FormatVersion,
    catalog::layout,
    clock::Clock,
    config::{self, Encryption, SecuritySettings, Settings, value},
    export::{AdmissionLimits, AllowedSource, EngineSettings, JournalPlace, Stores},
    grpc::ReadLimits,
    limits::Pool,
    store::{
        Store, StoreError,
        local::LocalStore,
        s3::{ObjectLock, ObjectLockMode, S3Settings, S3Store, ServerSideEncryption},
    },
    telemetry::prices::RequestPrices,
    tls::TlsFiles,
    transfer::{PartNotes, TransferLimits, Transfers},
    upload::{UploadSettings, Uploads},
};

/// Threads for documents on this machine's disk: uploads that are written there, and documents that are
/// read from there on their way to S3. As many as local reads have.
const DOCUMENT_THREADS: usize = 16;

/// Threads for what computes for a while. More than processors would not make it faster; at least two, so that
/// one large request does not keep all others waiting.
pub(super) fn computing_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}

/// Why the stores can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoresError {
    /// The local store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too few files may be open.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
}

/// The stores that the settings name. Asks nobody over the network.
///
/// # Errors
/// Where the local store can't be used.
pub async fn open_stores(settings: &Settings) -> Result<Stores, OpenStoresError> {
    let descriptors = DescriptorPlan::of_process()?;
    let s3: Option<Arc<dyn Store>> = match value(&settings.s3_bucket_name) {
        Some(bucket) => {
            let s3_settings = s3_settings(settings, bucket, descriptors.s3_requests);
            Some(Arc::new(S3Store::connect(s3_settings).await))
        }
        None => None,
    };
    let local: Arc<dyn Store> = Arc::new(LocalStore::open(settings.data_dir.clone())?);
    Ok(Stores { s3, local })
}

pub(super) fn engine_settings(settings: &Settings) -> EngineSettings {
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

pub(super) fn read_limits(settings: &Settings, descriptors: DescriptorPlan) -> ReadLimits {
    ReadLimits {
        memory_bytes: settings.max_read_memory.as_u64(),
        download_bytes: config::DOWNLOAD_BYTES,
        downloads: descriptors.clamp_downloads(settings.max_concurrent_downloads),
        patience: settings.admission_timeout,
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

pub(super) fn uploads(
    settings: &Settings,
    stores: &Stores,
    access: Access,
    clock: Arc<dyn Clock>,
) -> io::Result<Uploads> {
    let notes = settings.data_dir.join(".tara-export/parts");
    let documents = Pool::new("documents", DOCUMENT_THREADS)?;
    let notes = (access == Access::Write).then(|| PartNotes::new(notes, documents.clone()));
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
    let transfers = Transfers::new(limits, notes, documents.clone());
    let data_dir = settings.data_dir.clone();
    Ok(Uploads::new(upload_settings, stores.s3.clone(), data_dir, transfers, clock, documents))
}

fn s3_settings(settings: &Settings, bucket: String, concurrent_requests: u32) -> S3Settings {
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
        concurrent_requests: concurrent_requests as usize,
        prices: RequestPrices {
            put: settings.s3_prices.put,
            get: settings.s3_prices.get,
            delete: settings.s3_prices.delete,
        },
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
        let keys = match (value(&settings.jwt_jwks_file), value(&settings.jwt_jwks_url)) {
            (Some(file), _) => KeySource::File(file),
            (None, url) => KeySource::Url { url: url?, refresh: settings.jwt_jwks_refresh },
        };
        Some(JwtSettings {
            issuer: value(&settings.jwt_issuer)?,
            audience: value(&settings.jwt_audience)?,
            keys,
            leeway: settings.jwt_leeway,
            roles_claim: settings.jwt_roles_claim.clone(),
            role_prefix: value(&settings.jwt_role_prefix).unwrap_or_default(),
        })
    };
    AuthSettings {
        tokens_file: value(&settings.auth_tokens_file),
        jwt: jwt(),
        client_certificates: value(&settings.tls_client_ca_file).is_some(),
    }
}

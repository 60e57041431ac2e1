//! Bundles whose manifest cannot be read: what is known about them, and whether only they are affected.

use std::{sync::Arc, time::Duration};

use tara_export_bundle::{AcceptedTime, ExportId, FolderName};
use tara_export_digest::Sha256;
use tara_export_store::{FailureCause, Store, StoreError, StoreErrorKind};
use uuid::Uuid;

use super::{Export, ExportState, ReadError, StoredBundle, destination_of, records};

/// Pauses before a manifest is read again after an error that may be temporary.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// The result for an index entry whose manifest could not be read.
pub(super) enum Explained {
    /// The manifest can be read now, or does not exist.
    Readable(Option<Arc<StoredBundle>>),
    /// The manifest cannot be read, while the store works otherwise.
    Unreadable(Box<Export>),
    /// The index entry does not belong to an export.
    NoExport,
}

/// Finds out whether only this manifest cannot be read. The index entry, which has the export's id, is read for
/// that: if it can be read, the store works.
///
/// # Errors
/// The error of the manifest, if it concerns the entire store.
pub(super) async fn explain<F>(
    store: &dyn Store,
    time: AcceptedTime,
    folder: &FolderName,
    mut error: ReadError,
    read: impl Fn() -> F,
) -> Result<Explained, ReadError>
where
    F: Future<Output = Result<Option<Arc<StoredBundle>>, ReadError>>,
{
    if concerns_store(&error) {
        return Err(error);
    }
    let export_id = match records::read_index_entry(store, time, folder).await {
        Ok(Some(entry)) => Some(entry.export_id),
        Ok(None) => return Ok(Explained::NoExport),
        Err(entry_error) if entry_error.is_transient() => return Err(error),
        Err(_) => claimed_by(store, folder).await,
    };
    if error.is_transient() && !is_timeout(&error) {
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match read().await {
                Ok(bundle) => return Ok(Explained::Readable(bundle)),
                Err(again) => error = again,
            }
            if concerns_store(&error) {
                return Err(error);
            }
            if !error.is_transient() {
                break;
            }
        }
    }
    let is_explained = export_id.is_some() || error.is_archived() || error.is_data_loss();
    if !is_explained && records::read_store_identity(store).await.is_err() {
        return Err(error);
    }
    if error.is_data_loss() {
        tracing::error!(%folder, %error, "the manifest of a bundle is damaged");
    } else {
        tracing::warn!(%folder, %error, "the manifest of a bundle cannot be read");
    }
    let export = quarantined(store, export_id, time, folder.clone(), state_reason(&error));
    Ok(Explained::Unreadable(Box::new(export)))
}

/// Whether reading again would take as long as the caller already waited.
fn is_timeout(error: &ReadError) -> bool {
    matches!(error, ReadError::Store(error) if error.cause() == FailureCause::Timeout)
}

/// Whether an error cannot be about one object: the store is overloaded, or does not accept this service's
/// credentials. A timeout or a broken connection can be about one object, for example if a proxy refuses its content.
fn concerns_store(error: &ReadError) -> bool {
    let ReadError::Store(error) = error else { return false };
    match error.cause() {
        FailureCause::Throttled | FailureCause::Credentials => true,
        FailureCause::Timeout
        | FailureCause::Connection
        | FailureCause::ServerError
        | FailureCause::Conflict
        | FailureCause::Damaged
        | FailureCause::Disk
        | FailureCause::Other => false,
    }
}

/// The export that a folder belongs to, if its claim can be read.
async fn claimed_by(store: &dyn Store, folder: &FolderName) -> Option<ExportId> {
    let claim = records::read_claim(store, folder).await;
    claim.ok().flatten().map(|claim| claim.export_id)
}

/// The reason in UPPER_SNAKE_CASE, as in errors of the API.
fn state_reason(error: &ReadError) -> &'static str {
    match error {
        ReadError::Store(error) => reason_of(error),
        ReadError::DataLoss { .. } | ReadError::NoSuchArtifact { .. } => "DATA_LOSS",
    }
}

fn reason_of(error: &StoreError) -> &'static str {
    match error.kind() {
        StoreErrorKind::Archived => "ARCHIVED",
        StoreErrorKind::Denied => "STORE_DENIED",
        StoreErrorKind::Misconfigured => "STORE_MISCONFIGURED",
        StoreErrorKind::Unavailable | StoreErrorKind::Full => "STORE_UNAVAILABLE",
        StoreErrorKind::NotFound | StoreErrorKind::Changed | StoreErrorKind::Corrupt => "DATA_LOSS",
    }
}

/// The known fields of an export without a readable manifest.
fn quarantined(
    store: &dyn Store,
    export_id: Option<ExportId>,
    accepted_time: AcceptedTime,
    folder: FolderName,
    state_reason: &str,
) -> Export {
    Export {
        export_id: export_id.unwrap_or_else(|| position_of(&folder)),
        is_id_unknown: export_id.is_none(),
        state: ExportState::Quarantined,
        state_reason: state_reason.to_owned(),
        document_name: String::new(),
        session_id: String::new(),
        reviewer: String::new(),
        requested_by: String::new(),
        requested_destination: destination_of(store.kind()),
        stored_in: Some(store.kind()),
        location: store.location(&format!("{folder}/")),
        folder_name: Some(folder),
        artifacts: Vec::new(),
        manifest_sha256: None,
        accepted_time,
        committed_time: None,
        adopted: false,
        replacements: Default::default(),
    }
}

/// An id that gives an export without a known id its position among those of the same time.
fn position_of(folder: &FolderName) -> ExportId {
    let digest = Sha256::of(folder.as_str().as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    ExportId::new(Uuid::from_bytes(bytes))
}

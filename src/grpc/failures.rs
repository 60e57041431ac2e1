//! Logs and counts failures of stores, and converts them to statuses.

use tara_export_catalog::{LinkError, ReadError};
use tara_export_store::StoreError;
use tara_export_telemetry::names::{self, NONE};
use tonic::Status;

use super::status::{link_status, read_status, store_status, upload_status};
use crate::upload::UploadError;

/// A bundle cannot be read.
pub(super) fn read_failed(error: ReadError) -> Status {
    log_read_failure(&error);
    read_status(&error)
}

/// A link cannot be created.
pub(super) fn link_failed(error: LinkError) -> Status {
    if let LinkError::Read(error) = &error {
        log_read_failure(error);
    }
    link_status(&error)
}

/// A store cannot be read.
pub(super) fn store_failed(error: StoreError) -> Status {
    log_store_failure(&error);
    store_status(&error)
}

/// An upload failed.
pub(super) fn upload_failed(error: UploadError) -> Status {
    if let UploadError::Store(error) = &error {
        tracing::warn!(%error, "store failed during an upload");
    }
    upload_status(&error)
}

fn log_read_failure(error: &ReadError) {
    match error {
        ReadError::Store(error) => log_store_failure(error),
        ReadError::DataLoss { .. } => {
            names::DATA_LOSS.add(1, NONE);
            tracing::error!(%error, "data loss");
        }
        ReadError::NoSuchArtifact { .. } => {}
    }
}

fn log_store_failure(error: &StoreError) {
    tracing::warn!(%error, "store failed during a read");
}

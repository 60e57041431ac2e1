//! Handling of uploads with damaged records.

use tara_export_telemetry::names::{self, NONE};

use super::{UploadError, records::UploadRecord};

/// Replaces the error of a damaged upload with `None`, so that its content gets another upload.
pub(super) fn skip_damaged(
    found: Result<Option<UploadRecord>, UploadError>,
) -> Result<Option<UploadRecord>, UploadError> {
    match found {
        Err(error) if error.is_damage() => {
            tracing::warn!(%error, "skipping a damaged upload: its content gets another id");
            names::DAMAGED_UPLOADS.add(1, NONE);
            Ok(None)
        }
        found => found,
    }
}

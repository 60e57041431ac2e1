//! The description of an export in files of this machine: failure records, receipts and events.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tara_export_bundle::{AcceptedTime, Destination, ExportId, FolderName};
use tara_export_digest::Sha256;
use tara_export_store::StoreKind;

use super::{Export, ExportArtifact, ExportState};

/// An export without its state, which follows from the kind of file.
#[derive(Serialize, Deserialize)]
pub struct SummaryV1 {
    /// Its id.
    pub export_id: ExportId,
    document_name: String,
    session_id: String,
    reviewer: String,
    requested_by: String,
    requested_destination: Destination,
    stored_in: Option<StoredInV1>,
    folder_name: Option<FolderName>,
    location: String,
    artifacts: Vec<ArtifactV1>,
    manifest_sha256: Option<Sha256>,
    accepted_time: AcceptedTime,
    committed_time: Option<TimeV1>,
}

#[derive(Serialize, Deserialize)]
struct ArtifactV1 {
    path: String,
    size_bytes: u64,
    sha256: Sha256,
    media_type: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredInV1 {
    S3,
    Local,
}

/// A time in RFC 3339 with full precision.
#[derive(Clone, Copy)]
pub struct TimeV1(pub DateTime<Utc>);

impl Serialize for TimeV1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl<'de> Deserialize<'de> for TimeV1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(time.with_timezone(&Utc)))
    }
}

impl From<&Export> for SummaryV1 {
    fn from(export: &Export) -> Self {
        // Destructured without `..`, so that a new field must be handled here.
        let Export {
            export_id,
            // Only of bundles that cannot be read, which are never in a journal.
            is_id_unknown: _,
            state: _,
            state_reason: _,
            document_name,
            session_id,
            reviewer,
            requested_by,
            requested_destination,
            stored_in,
            folder_name,
            location,
            artifacts,
            manifest_sha256,
            accepted_time,
            committed_time,
            // Adopted bundles never have a journal entry.
            adopted: _,
            // The manifest has them. Here, they would multiply the size of a receipt.
            replacements: _,
        } = export;
        let artifacts = artifacts.iter().map(|artifact| ArtifactV1 {
            path: artifact.path.clone(),
            size_bytes: artifact.size_bytes,
            sha256: artifact.sha256,
            media_type: artifact.media_type.clone(),
        });
        Self {
            export_id: *export_id,
            document_name: document_name.clone(),
            session_id: session_id.clone(),
            reviewer: reviewer.clone(),
            requested_by: requested_by.clone(),
            requested_destination: *requested_destination,
            stored_in: stored_in.map(|kind| match kind {
                StoreKind::S3 => StoredInV1::S3,
                StoreKind::Local => StoredInV1::Local,
            }),
            folder_name: folder_name.clone(),
            location: location.clone(),
            artifacts: artifacts.collect(),
            manifest_sha256: *manifest_sha256,
            accepted_time: *accepted_time,
            committed_time: committed_time.map(TimeV1),
        }
    }
}

impl SummaryV1 {
    /// The export in this state.
    pub fn into_export(self, state: ExportState, state_reason: String) -> Export {
        let artifacts = self.artifacts.into_iter().map(|artifact| ExportArtifact {
            path: artifact.path,
            size_bytes: artifact.size_bytes,
            sha256: artifact.sha256,
            media_type: artifact.media_type,
        });
        Export {
            export_id: self.export_id,
            is_id_unknown: false,
            state,
            state_reason,
            document_name: self.document_name,
            session_id: self.session_id,
            reviewer: self.reviewer,
            requested_by: self.requested_by,
            requested_destination: self.requested_destination,
            stored_in: self.stored_in.map(|kind| match kind {
                StoredInV1::S3 => StoreKind::S3,
                StoredInV1::Local => StoreKind::Local,
            }),
            folder_name: self.folder_name,
            location: self.location,
            artifacts: artifacts.collect(),
            manifest_sha256: self.manifest_sha256,
            accepted_time: self.accepted_time,
            committed_time: self.committed_time.map(|time| time.0),
            adopted: false,
            replacements: Arc::default(),
        }
    }
}

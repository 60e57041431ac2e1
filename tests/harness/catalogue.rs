//! Thousands of committed bundles as a list reads them: index entry, manifest and record, without
//! artifacts. A benchmark includes this file too.

use chrono::{DateTime, Utc};
use tara_export_bundle::{
    AcceptedTime, ArtifactPath, Destination, ExportId, FolderBase, FolderName, Manifest,
    ManifestArtifact, to_json_pretty,
};
use tara_export_catalog::{
    layout,
    records::{ExportRecord, IndexEntry},
};
use tara_export_digest::Sha256;
use tara_export_store::ObjectKey;
use uuid::Uuid;

/// The artifacts of an ordinary bundle.
const PATHS: [&str; 12] = [
    "comprehensive_report.json",
    "documents/after_incident_report.docx",
    "documents/before_incident_report.docx",
    "documents/guidelines_incident_report.docx",
    "feedback/accepted_feedback.json",
    "feedback/all_ai_suggestions.json",
    "feedback/rejected_feedback.json",
    "feedback/user_custom_feedback.json",
    "logs/activity_log.json",
    "logs/audit_logs.json",
    "logs/chat_history.json",
    "readable_report.txt",
];

pub(crate) struct Committed {
    pub(crate) manifest: Manifest,
}

impl Committed {
    /// Bundle `number`, accepted at `time`. Higher numbers have lower names.
    pub(crate) fn new(number: u64, time: DateTime<Utc>, reviewer: &str) -> Self {
        let accepted_time = AcceptedTime::new(time);
        let document_name = "incident report.docx";
        // Separate folders for bundles of the same second.
        let suffix = u32::try_from(number + 2).expect("no more than millions");
        let base = FolderBase::new(&accepted_time, document_name);
        let artifacts = PATHS.map(|path| ManifestArtifact {
            path: path.parse::<ArtifactPath>().expect("a path"),
            size_bytes: 20_000,
            sha256: Sha256::of(path.as_bytes()),
            media_type: "application/json".to_owned(),
            file_name: None,
        });
        let manifest = Manifest {
            schema: Manifest::SCHEMA.to_owned(),
            export_id: ExportId::new(Uuid::from_u128(u128::MAX - u128::from(number))),
            folder_name: FolderName::new(&base, suffix),
            document_name: document_name.to_owned(),
            session_id: format!("session-{number}"),
            reviewer: reviewer.to_owned(),
            requested_by: String::new(),
            adopted: false,
            accepted_time,
            format_version: 1,
            content_digest: Sha256::of(&number.to_be_bytes()),
            artifacts: artifacts.into(),
            omitted: Vec::new(),
            replacements: Vec::new(),
        };
        Self { manifest }
    }

    /// The export name in the API.
    pub(crate) fn name(&self) -> String {
        format!("exports/{}", self.manifest.export_id)
    }

    pub(crate) fn index_entry(&self) -> (ObjectKey, Vec<u8>) {
        let manifest = &self.manifest;
        let key = layout::index_entry(manifest.accepted_time, &manifest.folder_name);
        (key, to_json_pretty(&IndexEntry { export_id: manifest.export_id }))
    }

    pub(crate) fn manifest(&self) -> (ObjectKey, Vec<u8>) {
        (layout::manifest(&self.manifest.folder_name), to_json_pretty(&self.manifest))
    }

    pub(crate) fn record(&self) -> (ObjectKey, Vec<u8>) {
        let manifest = &self.manifest;
        let record = ExportRecord {
            export_id: manifest.export_id,
            content_digest: manifest.content_digest,
            accepted_time: manifest.accepted_time,
            format_version: manifest.format_version,
            folder_base: FolderBase::new(&manifest.accepted_time, &manifest.document_name),
            requested_destination: Destination::S3,
            requested_by: String::new(),
        };
        (layout::record(manifest.export_id), to_json_pretty(&record))
    }
}

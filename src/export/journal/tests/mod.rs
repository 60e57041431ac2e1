#![allow(clippy::unwrap_used, clippy::panic)]

mod ended;
mod listing;
mod quarantine;
mod recording;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::bundle::{
    AcceptedTime, Destination, Document, DocumentKind, ExportContent, Fallback, FolderBase,
    FormatVersion, Review,
};

const NO_LIMIT: JournalLimits = JournalLimits { max_bytes: u64::MAX };

/// An export of its own for each number, accepted that many seconds after the first.
fn export(number: u32) -> AcceptedExport {
    export_of(number, &format!("report {number}.docx"))
}

fn export_of(number: u32, document_name: &str) -> AcceptedExport {
    let document = Bytes::from(format!("document {number}"));
    let content = ExportContent {
        review: Review {
            document_name: document_name.to_owned(),
            session_id: "session".into(),
            reviewer: "Jane Doe".into(),
            ..Review::default()
        },
        documents: vec![Document::inline(
            DocumentKind::Before,
            "a.docx".into(),
            String::new(),
            document,
        )],
        destination: Some(Destination::S3),
        fallback: Fallback::Local,
    };
    let accepted_time = AcceptedTime::new(seconds(number));
    AcceptedExport {
        export_id: ExportId::new(Uuid::from_u128(number.into())),
        content_digest: content.digest(FormatVersion::V1),
        folder_base: FolderBase::new(&accepted_time, document_name),
        content: content.into(),
        accepted_time,
        format_version: FormatVersion::V1,
        destination: Destination::S3,
        requested_by: String::new(),
        read_digests: Default::default(),
    }
}

fn seconds(number: u32) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2026-11-22T18:37:00Z".parse().unwrap();
    first + Duration::from_secs(number.into())
}

fn name(export: &AcceptedExport) -> String {
    format!("{}-{}.export", export.export_id, export.content_digest)
}

fn size_bytes(export: &AcceptedExport) -> u64 {
    export.encode().concat().len() as u64
}

async fn open(data_dir: &TempDir) -> Journal {
    Journal::open(data_dir.path().to_owned(), NO_LIMIT).await.unwrap()
}

/// Where an entry lies.
fn place(data_dir: &TempDir, name: &str) -> PathBuf {
    data_dir.path().join(".tara-export/journal").join(name)
}

fn ids(listing: &JournalListing) -> Vec<ExportId> {
    listing.entries.iter().map(|entry| entry.header.export_id).collect()
}

async fn listed(journal: &Journal) -> Vec<ExportId> {
    let listing = journal.entries(100).await.unwrap();
    assert!(listing.quarantined.is_empty() && listing.unread.is_empty(), "{listing:?}");
    ids(&listing)
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

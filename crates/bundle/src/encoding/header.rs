//! The header of an encoding.

use serde::{Deserialize, Serialize};
use tara_export_digest::Sha256;

use super::{CURRENT_VERSION, INLINE_VERSION, UndecodableExport, frame::Frame};
use crate::{
    AcceptedExport, AcceptedTime, ContentDigest, Destination, ExportId, Fallback, FolderBase,
    FormatVersion, StoreId,
};

/// The facts about an accepted export that are known without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedHeader {
    /// The export's id.
    pub export_id: ExportId,
    /// The content digest.
    pub content_digest: Sha256,
    /// When it was accepted.
    pub accepted_time: AcceptedTime,
    /// How it is rendered.
    pub format_version: FormatVersion,
    /// The requested destination.
    pub destination: Destination,
    /// What happens if the bundle cannot be stored in S3.
    pub fallback: Fallback,
    /// Start of the folder's name.
    pub folder_base: FolderBase,
    /// The authenticated caller; empty without authentication.
    pub requested_by: String,
    /// The document's name as the caller sent it.
    pub document_name: String,
    /// The review application's session id.
    pub session_id: String,
    /// Who reviewed the document.
    pub reviewer: String,
    /// The identity of the store that it was accepted for.
    pub store_id: Option<StoreId>,
}

/// A decoded header whose digest is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedHeader {
    /// The export.
    pub header: AcceptedHeader,
    /// Size of the complete encoding in bytes.
    pub size_bytes: u64,
    /// Bytes of memory to reserve before the encoding is read:
    /// [`ExportContent::footprint_bytes`](crate::ExportContent::footprint_bytes) according to the
    /// writer, or an estimate for versions without that field. Only a hint: decoding enforces a budget.
    pub memory_bytes: u64,
    pub(super) version: u32,
    pub(super) body_start: usize,
    pub(super) content_size_bytes: u64,
    pub(super) body_sha256: Sha256,
}

impl AcceptedExport {
    /// The header of the export.
    pub fn header(&self) -> AcceptedHeader {
        let review = &self.content.review;
        AcceptedHeader {
            export_id: self.export_id,
            content_digest: self.content_digest,
            accepted_time: self.accepted_time,
            format_version: self.format_version,
            destination: self.destination,
            fallback: self.content.fallback,
            folder_base: self.folder_base.clone(),
            requested_by: self.requested_by.clone(),
            document_name: review.document_name.clone(),
            session_id: review.session_id.clone(),
            reviewer: review.reviewer.clone(),
            store_id: self.store_id,
        }
    }
}

impl EncodedHeader {
    /// Where the body starts.
    pub fn body_start(&self) -> u64 {
        self.body_start as u64
    }

    /// The digest of the body.
    pub fn body_sha256(&self) -> Sha256 {
        self.body_sha256
    }

    /// Decodes a header from the first bytes of an encoding, at least up to
    /// [`header_end`](super::header_end).
    ///
    /// # Errors
    /// [`UndecodableExport`]; [`UndecodableExport::LaterRelease`] only if the digest is right.
    pub fn decode(first_bytes: &[u8]) -> Result<Self, UndecodableExport> {
        /// The field that the headers of all releases have.
        #[derive(Deserialize)]
        struct Pinned {
            format_version: u32,
        }

        let frame = Frame::parse(first_bytes)?;
        let (version, json) = frame.header(first_bytes)?;
        if !(INLINE_VERSION..=CURRENT_VERSION).contains(&version) {
            return Err(UndecodableExport::LaterRelease { what: "encoding version", version });
        }
        let unreadable = |error| UndecodableExport::unreadable_json("header", &error);
        let Pinned { format_version } = serde_json::from_slice(json).map_err(unreadable)?;
        let format_version = FormatVersion::try_from(format_version).map_err(|_| {
            UndecodableExport::LaterRelease { what: "format version", version: format_version }
        })?;
        let HeaderV1 { export, content_size_bytes, body_size_bytes, body_sha256, footprint_bytes } =
            serde_json::from_slice(json).map_err(unreadable)?;
        let size_bytes = frame.header_end().saturating_add(body_size_bytes);
        let estimate_bytes =
            content_size_bytes.saturating_mul(JSON_FACTOR).saturating_add(size_bytes);
        let ExportV1 {
            export_id,
            content_digest,
            accepted_time,
            format_version: _,
            destination,
            fallback,
            folder_base,
            requested_by,
            document_name,
            session_id,
            reviewer,
            store_id,
        } = export;
        let header = AcceptedHeader {
            export_id,
            content_digest,
            accepted_time,
            format_version,
            destination,
            fallback,
            folder_base,
            requested_by,
            document_name,
            session_id,
            reviewer,
            store_id,
        };
        Ok(Self {
            header,
            // At least the encoding itself is in memory.
            memory_bytes: footprint_bytes.unwrap_or(estimate_bytes).max(size_bytes),
            size_bytes,
            version,
            // The header is in memory, so its end is a valid index.
            body_start: super::FRAME_BYTES + json.len(),
            content_size_bytes,
            body_sha256,
        })
    }
}

/// Bytes of memory for each byte of JSON in exports of reviews. Hostile ones take more.
const JSON_FACTOR: u64 = 32;

/// The second line of an encoding.
#[derive(Serialize, Deserialize)]
pub(super) struct HeaderV1 {
    #[serde(flatten)]
    pub export: ExportV1,
    /// Bytes of the body before its documents.
    pub content_size_bytes: u64,
    pub body_size_bytes: u64,
    pub body_sha256: Sha256,
    /// Memory of the content; from version 3 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footprint_bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ExportV1 {
    export_id: ExportId,
    content_digest: Sha256,
    accepted_time: AcceptedTime,
    format_version: u32,
    destination: Destination,
    fallback: Fallback,
    folder_base: FolderBase,
    requested_by: String,
    document_name: String,
    session_id: String,
    reviewer: String,
    /// Was added after version 3, whose readers ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store_id: Option<StoreId>,
}

impl AcceptedHeader {
    /// The content's digest, in the export's own format version.
    pub fn digest(&self) -> ContentDigest {
        ContentDigest { format_version: self.format_version, sha256: self.content_digest }
    }
}

impl From<AcceptedHeader> for ExportV1 {
    fn from(header: AcceptedHeader) -> Self {
        Self {
            export_id: header.export_id,
            content_digest: header.content_digest,
            accepted_time: header.accepted_time,
            format_version: header.format_version.into(),
            destination: header.destination,
            fallback: header.fallback,
            folder_base: header.folder_base,
            requested_by: header.requested_by,
            document_name: header.document_name,
            session_id: header.session_id,
            reviewer: header.reviewer,
            store_id: header.store_id,
        }
    }
}

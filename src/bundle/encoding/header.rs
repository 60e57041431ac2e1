//! What an encoding says before its body.

use serde::{Deserialize, Serialize};

use super::{COMPACT_VERSION, INLINE_VERSION, UndecodableExport, frame::Frame};
use crate::{
    bundle::{
        AcceptedExport, AcceptedTime, ContentDigest, Destination, ExportId, Fallback, FolderBase,
        FormatVersion,
    },
    digest::Sha256,
};

/// What is known of an accepted export without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedHeader {
    /// The export's id.
    pub export_id: ExportId,
    /// The digest of what was asked for.
    pub content_digest: Sha256,
    /// When it was accepted.
    pub accepted_time: AcceptedTime,
    /// How it is rendered.
    pub format_version: FormatVersion,
    /// Where the bundle is to be stored.
    pub destination: Destination,
    /// What happens when S3 can't take it.
    pub fallback: Fallback,
    /// What its folder's name starts with.
    pub folder_base: FolderBase,
    /// The authenticated caller; empty where the server asked for none.
    pub requested_by: String,
    /// The document's name as the caller sent it.
    pub document_name: String,
    /// The review application's session id.
    pub session_id: String,
    /// Who reviewed the document.
    pub reviewer: String,
}

/// The header of an encoding, whose digest was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedHeader {
    /// The export.
    pub header: AcceptedHeader,
    /// Bytes of the whole encoding, header and body.
    pub size_bytes: u64,
    /// Bytes of memory to reserve before the whole is read. What the writer noted of
    /// [`ExportContent::footprint_bytes`](crate::bundle::ExportContent::footprint_bytes), or a guess
    /// where a version has no such note. Not to be relied on: decoding has a budget of its own.
    pub memory_bytes: u64,
    pub(super) version: u32,
    pub(super) body_start: usize,
    pub(super) content_size_bytes: u64,
    pub(super) body_sha256: Sha256,
}

impl AcceptedExport {
    /// What is known of the export without its content.
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
        }
    }
}

impl EncodedHeader {
    /// Where the body starts.
    pub fn body_start(&self) -> u64 {
        self.body_start as u64
    }

    /// The digest of the whole body.
    pub fn body_sha256(&self) -> Sha256 {
        self.body_sha256
    }

    /// Reads a header from the first bytes of an encoding, as many as
    /// [`header_end`](super::header_end) says, or more.
    ///
    /// # Errors
    /// [`UndecodableExport`]. What a later release wrote is told only where its digest is right.
    pub fn decode(first_bytes: &[u8]) -> Result<Self, UndecodableExport> {
        /// What every header has, whatever else a later release's may have.
        #[derive(Deserialize)]
        struct Pinned {
            format_version: u32,
        }

        let frame = Frame::parse(first_bytes)?;
        let (version, json) = frame.header(first_bytes)?;
        if !(INLINE_VERSION..=COMPACT_VERSION).contains(&version) {
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
        let guess_bytes = content_size_bytes.saturating_mul(JSON_FACTOR).saturating_add(size_bytes);
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
        };
        Ok(Self {
            header,
            // The bytes themselves are in memory too, whatever the header says.
            memory_bytes: footprint_bytes.unwrap_or(guess_bytes).max(size_bytes),
            size_bytes,
            version,
            // The header was found, so its end is the index of a byte in memory.
            body_start: super::FRAME_BYTES + json.len(),
            content_size_bytes,
            body_sha256,
        })
    }
}

/// What a byte of JSON becomes in memory, as far as exports of reviews go. Hostile ones become more.
const JSON_FACTOR: u64 = 32;

/// The second line of encodings.
#[derive(Serialize, Deserialize)]
pub(super) struct HeaderV1 {
    #[serde(flatten)]
    pub export: ExportV1,
    /// Bytes of the body before its documents.
    pub content_size_bytes: u64,
    pub body_size_bytes: u64,
    pub body_sha256: Sha256,
    /// From version 3 on: the memory that the content takes.
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
        }
    }
}

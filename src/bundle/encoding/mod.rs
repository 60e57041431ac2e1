//! An accepted export as bytes, for the journal: everything its bundle depends on, and nothing lost.
//!
//! ```text
//! tara-export/accepted v0003 <header's bytes, 20 digits> <digest of this line and the header>
//! {"export_id":…,"content_size_bytes":…,"body_size_bytes":…,"body_sha256":…,"footprint_bytes":…}
//! <the review and what the request says of its documents, as CBOR><first document><second document>…
//! ```
//!
//! | version | body | written |
//! |---|---|---|
//! | 1 | JSON; every document follows | by releases before this one |
//! | 2 | JSON; of documents that are stored elsewhere, it has the place | by releases before this one |
//! | 3 | CBOR, with or without such places | by this release |
//!
//! The first two lines describe an export without its body. The first has the same form in every
//! version, so that an entry of a later release is not taken for a damaged one.
//!
//! Invariant: the form of a version never changes, and every release reads all versions before its own
//! (docs/adr/0016).

mod compact;
mod content;
mod frame;
mod header;
mod meter;

use std::collections::BTreeMap;

use bytes::Bytes;

use self::{
    compact::encode_content,
    content::{decode_content, decode_json},
    frame::Frame,
    header::HeaderV1,
    meter::Meter,
};
pub use self::{
    frame::FRAME_BYTES,
    header::{AcceptedHeader, EncodedHeader},
};
use super::{AcceptedExport, format::to_json_compact};
use crate::digest::Sha256Hasher;

/// The first version. 2 differs from it by its documents only.
const INLINE_VERSION: u32 = 1;
/// The version that this release writes.
const COMPACT_VERSION: u32 = 3;

/// Why bytes are no accepted export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndecodableExport {
    /// They are not what was written.
    #[error("it is damaged: {reason}")]
    Damaged {
        /// What is wrong, for a person; nothing of the content.
        reason: String,
    },
    /// They are whole, and this release does not know their form.
    #[error("a later release wrote it, with {what} {version}: run that release again")]
    LaterRelease {
        /// What this release does not know.
        what: &'static str,
        /// Its number.
        version: u32,
    },
    /// They are whole as far as they were read, and become more in memory than they may.
    #[error("it takes more than {budget_bytes} bytes of memory")]
    OverBudget {
        /// What they may become.
        budget_bytes: u64,
    },
}

impl UndecodableExport {
    fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged { reason: reason.into() }
    }

    /// JSON whose digest is right and which can't be read. Says where, never what stands there.
    fn unreadable_json(part: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self::damaged(format!("its {part} can't be read at line {line}, column {column}"))
    }
}

impl AcceptedExport {
    /// The export as bytes, in pieces to be written one behind the other. The documents among them
    /// are not copied. The same export always gives the same bytes.
    pub fn encode(&self) -> Vec<Bytes> {
        let content = encode_content(&self.content);
        let content_size_bytes = content.len() as u64;
        let mut body = vec![Bytes::from(content)];
        let documents = &self.content.documents;
        body.extend(documents.iter().filter_map(|document| document.content.inline().cloned()));
        let mut hasher = Sha256Hasher::default();
        body.iter().for_each(|piece| hasher.update(piece));
        let mut header = to_json_compact(&HeaderV1 {
            export: self.header().into(),
            content_size_bytes,
            body_size_bytes: body.iter().map(|piece| piece.len() as u64).sum(),
            body_sha256: hasher.finish(),
            footprint_bytes: Some(self.content.footprint_bytes()),
        });
        header.push(b'\n');
        let mut pieces =
            vec![Bytes::from(frame::encode(COMPACT_VERSION, &header)), Bytes::from(header)];
        pieces.append(&mut body);
        pieces
    }

    /// Reads what [`Self::encode`] wrote. The documents share the given bytes.
    ///
    /// # Errors
    /// [`UndecodableExport`]: nothing is believed whose digest is not the one that was written.
    pub fn decode(bytes: Bytes) -> Result<Self, UndecodableExport> {
        Self::decode_within(bytes, u64::MAX)
    }

    /// Reads what [`Self::encode`] wrote, as long as the export, with these bytes themselves, takes
    /// no more than `budget_bytes` of memory, whatever its header says.
    ///
    /// # Errors
    /// [`UndecodableExport`]; [`UndecodableExport::OverBudget`] before more memory is taken.
    pub fn decode_within(bytes: Bytes, budget_bytes: u64) -> Result<Self, UndecodableExport> {
        let encoded = EncodedHeader::decode(&bytes)?;
        if bytes.len() as u64 != encoded.size_bytes {
            let (is, should) = (bytes.len(), encoded.size_bytes);
            return Err(UndecodableExport::damaged(format!(
                "it has {is} bytes and should have {should}"
            )));
        }
        let body = bytes.slice(encoded.body_start..);
        let mut hasher = Sha256Hasher::default();
        hasher.update(&body);
        if hasher.finish() != encoded.body_sha256 {
            return Err(UndecodableExport::damaged("its body hasn't the digest it should have"));
        }
        let header = encoded.header;
        let meter = Meter::new(budget_bytes.saturating_sub(bytes.len() as u64));
        let content =
            decode_content(&body, encoded.content_size_bytes, |review| match encoded.version {
                COMPACT_VERSION => compact::decode_content(review, &meter),
                _ => decode_json(review, &meter),
            });
        if meter.is_exceeded() {
            return Err(UndecodableExport::OverBudget { budget_bytes });
        }
        let content = content?;
        if content.digest(header.format_version) != header.content_digest {
            return Err(UndecodableExport::damaged(
                "its content hasn't the digest that was accepted",
            ));
        }
        let export = Self {
            export_id: header.export_id,
            content: content.into(),
            content_digest: header.content_digest,
            accepted_time: header.accepted_time,
            format_version: header.format_version,
            destination: header.destination,
            requested_by: header.requested_by.clone(),
            folder_base: header.folder_base.clone(),
            read_digests: BTreeMap::new(),
        };
        if export.header() != header {
            return Err(UndecodableExport::damaged("its header and its content differ"));
        }
        Ok(export)
    }
}

/// How many bytes of an encoding hold its header, told by its first [`FRAME_BYTES`] or more. Not
/// checked before the header is decoded, so no more than the whole is to be read.
///
/// # Errors
/// [`UndecodableExport::Damaged`] where the bytes are too few or don't begin an encoding.
pub fn header_end(first_bytes: &[u8]) -> Result<u64, UndecodableExport> {
    Frame::parse(first_bytes).map(|frame| frame.header_end())
}

#[cfg(test)]
pub(crate) mod tests;

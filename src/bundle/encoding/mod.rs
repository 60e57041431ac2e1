//! An accepted export as bytes, for the journal: everything its bundle depends on, and nothing lost.
//!
//! ```text
//! tara-export/accepted v0001 <header's bytes, 20 digits> <digest of this line and the header>
//! {"export_id":…,"content_size_bytes":…,"body_size_bytes":…,"body_sha256":…}
//! {"review":…,"documents":…}<first document><second document>…
//! ```
//!
//! Version 2 has documents among them that lie elsewhere: it says where, and their bytes are missing
//! from the body.
//!
//! The first two lines tell an export without its body. The first has the same form in every
//! version, so that what a later release wrote is told from what is damaged.
//!
//! Invariant: the form of a version never changes. A field more is a new version, which a release
//! can read before any release writes it.

mod content;
mod frame;
mod header;

use std::collections::BTreeMap;

use bytes::Bytes;

use self::{
    content::{decode_content, encode_content},
    frame::Frame,
    header::HeaderV1,
};
pub use self::{
    frame::FRAME_BYTES,
    header::{AcceptedHeader, EncodedHeader},
};
use super::{AcceptedExport, format::to_json_compact};
use crate::digest::Sha256Hasher;

/// The encoding of exports whose documents came with their requests.
const INLINE_VERSION: u32 = 1;
/// The encoding of exports with documents that lie elsewhere.
const REFERENCED_VERSION: u32 = 2;

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
        let is_inline = documents.iter().all(|document| document.content.inline().is_some());
        let version = if is_inline { INLINE_VERSION } else { REFERENCED_VERSION };
        let mut hasher = Sha256Hasher::default();
        body.iter().for_each(|piece| hasher.update(piece));
        let mut header = to_json_compact(&HeaderV1 {
            export: self.header().into(),
            content_size_bytes,
            body_size_bytes: body.iter().map(|piece| piece.len() as u64).sum(),
            body_sha256: hasher.finish(),
        });
        header.push(b'\n');
        let mut pieces = vec![Bytes::from(frame::encode(version, &header)), Bytes::from(header)];
        pieces.append(&mut body);
        pieces
    }

    /// Reads what [`Self::encode`] wrote. The documents share the given bytes.
    ///
    /// # Errors
    /// [`UndecodableExport`]: nothing is believed whose digest is not the one that was written.
    pub fn decode(bytes: Bytes) -> Result<Self, UndecodableExport> {
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
        let content = decode_content(&body, encoded.content_size_bytes)?;
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

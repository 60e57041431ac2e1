//! The journal's encoding of an accepted export, with everything that its bundle depends on.
//!
//! ```text
//! tara-export/accepted v0004 <header size, 20 digits> <digest of this line and the header>
//! {"export_id":…,"content_size_bytes":…,"body_size_bytes":…,"body_sha256":…,"footprint_bytes":…}
//! <the review and the metadata of the documents, as CBOR><first document><second document>…
//! ```
//!
//! | version | body | written |
//! |---|---|---|
//! | 1 | JSON, then all documents | by earlier releases |
//! | 2 | JSON, with the locations of documents that are stored elsewhere, then the others | by earlier releases |
//! | 3 | as version 2, but CBOR | by earlier releases |
//! | 4 | as version 3, with the review's replacements | by this release |
//!
//! The first two lines describe an export without its body. The first line has the same form in every
//! version, so that an entry of a later release is not mistaken for a damaged one.
//!
//! Invariant: the form of a version never changes, and every release reads all earlier versions
//! (docs/adr/0016).

mod compact;
mod content;
mod frame;
mod header;
mod meter;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::collections::BTreeMap;

use bytes::Bytes;
use tara_export_digest::Sha256Hasher;

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

/// The first version. Version 2 differs from it only by its documents.
const INLINE_VERSION: u32 = 1;
/// The first version whose body is CBOR.
const FIRST_CBOR_VERSION: u32 = 3;
/// The version that this release writes. It differs from version 3 only by replacements.
const CURRENT_VERSION: u32 = 4;

/// The reason why bytes cannot be decoded as an accepted export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndecodableExport {
    /// The bytes differ from those that were written.
    #[error("damaged: {reason}")]
    Damaged {
        /// Human-readable explanation without parts of the content.
        reason: String,
    },
    /// The bytes are intact, but this release does not know their form.
    #[error("written by a later release with {what} {version}: run that release again")]
    LaterRelease {
        /// The kind of version.
        what: &'static str,
        /// The version, which this release does not know.
        version: u32,
    },
    /// The bytes are intact as far as they were decoded, but exceed the memory budget.
    #[error("decoding takes more than {budget_bytes} bytes of memory")]
    OverBudget {
        /// The budget.
        budget_bytes: u64,
    },
}

impl UndecodableExport {
    fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged { reason: reason.into() }
    }

    /// The error of JSON that has the right digest but cannot be parsed. Names the position, not the text.
    fn unreadable_json(part: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self::damaged(format!("cannot parse the {part} at line {line}, column {column}"))
    }
}

impl AcceptedExport {
    /// Encodes the export in pieces to be written one after the other. The documents are not copied.
    /// The same export always has the same encoding.
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
            vec![Bytes::from(frame::encode(CURRENT_VERSION, &header)), Bytes::from(header)];
        pieces.append(&mut body);
        pieces
    }

    /// Decodes the output of [`Self::encode`]. The documents share the given bytes.
    ///
    /// # Errors
    /// [`UndecodableExport`], also if a digest differs from the encoded one.
    pub fn decode(bytes: Bytes) -> Result<Self, UndecodableExport> {
        Self::decode_within(bytes, u64::MAX)
    }

    /// Decodes the output of [`Self::encode`], if the export together with these bytes takes at most
    /// `budget_bytes` of memory. The figure in the header does not matter.
    ///
    /// # Errors
    /// [`UndecodableExport`]; [`UndecodableExport::OverBudget`] before more memory is allocated.
    pub fn decode_within(bytes: Bytes, budget_bytes: u64) -> Result<Self, UndecodableExport> {
        let encoded = EncodedHeader::decode(&bytes)?;
        if bytes.len() as u64 != encoded.size_bytes {
            let (actual, expected) = (bytes.len(), encoded.size_bytes);
            return Err(UndecodableExport::damaged(format!(
                "{actual} bytes instead of {expected}"
            )));
        }
        let body = bytes.slice(encoded.body_start..);
        let mut hasher = Sha256Hasher::default();
        hasher.update(&body);
        if hasher.finish() != encoded.body_sha256 {
            return Err(UndecodableExport::damaged("the body does not match its digest"));
        }
        let header = encoded.header;
        let meter = Meter::new(budget_bytes.saturating_sub(bytes.len() as u64));
        let content =
            decode_content(&body, encoded.content_size_bytes, |review| match encoded.version {
                FIRST_CBOR_VERSION.. => compact::decode_content(review, &meter),
                _ => decode_json(review, &meter),
            });
        if meter.is_exceeded() {
            return Err(UndecodableExport::OverBudget { budget_bytes });
        }
        let content = content?;
        if content.digest(header.format_version) != header.content_digest {
            return Err(UndecodableExport::damaged(
                "the content does not match the accepted digest",
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
            store_id: header.store_id,
            read_digests: BTreeMap::new(),
        };
        if export.header() != header {
            return Err(UndecodableExport::damaged("header and content differ"));
        }
        Ok(export)
    }
}

/// The end of an encoding's header, according to its first [`FRAME_BYTES`] or more. Decoding the header
/// checks it; until then, it may exceed the size of the encoding.
///
/// # Errors
/// [`UndecodableExport::Damaged`] if the bytes are too few or not the start of an encoding.
pub fn header_end(first_bytes: &[u8]) -> Result<u64, UndecodableExport> {
    Frame::parse(first_bytes).map(|frame| frame.header_end())
}

#[cfg(test)]
mod tests;

//! The content digest: the SHA-256 of a canonical encoding, which identifies a request's content.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use tara_export_digest::{Sha256, Sha256Hasher};

use super::{
    Content, Destination, ExportContent, Fallback, FeedbackSection, FormatVersion, JsonObject,
    Reference, Replacement, Review, format::write_json_compact,
};

impl ExportContent {
    /// The digest of the content. It depends neither on the way a document was sent nor on whether a
    /// value of an item is typed or free. The version determines the encoding.
    pub fn digest(&self, version: FormatVersion) -> Sha256 {
        match version {
            FormatVersion::V1 | FormatVersion::V2 => {
                let mut digest = Digest(Sha256Hasher::default());
                self.write_v1(&mut BufWriter::with_capacity(BUFFER_BYTES, &mut digest));
                digest.0.finish()
            }
            #[cfg(feature = "next-format")]
            FormatVersion::Next => {
                let mut encoded = Vec::new();
                self.write_v1(&mut encoded);
                super::next_format::digest(&encoded)
            }
        }
    }

    /// Writes compact JSON with the fields in a fixed order. Format versions 1 and 2 have the same
    /// encoding, so that replicas of both releases compute the same digest of a request. A request
    /// with replacements has another digest than one without them in both.
    fn write_v1(&self, writer: &mut impl Write) {
        let documents = self.documents.iter().map(|document| EncodedDocument {
            kind: document.kind.as_str(),
            file_name: &document.file_name,
            media_type: &document.media_type,
            sha256: document.sha256,
            pinned: match (&document.sha256, &document.content) {
                (None, Content::Referenced { reference, .. }) => Some(reference),
                _ => None,
            },
            size_bytes: document.content.size_bytes(),
        });
        let encoded = EncodedContent {
            version: 1,
            destination: self.destination,
            fallback: self.fallback,
            documents: documents.collect(),
            review: EncodedReview::from(&self.review),
        };
        write_json_compact(&encoded, &mut *writer);
        // Writing to a digest or to memory does not fail.
        let _ = writer.flush();
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

/// Digests the encoding while it is written, so that it is never completely in memory.
struct Digest(Sha256Hasher);

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Serialize)]
struct EncodedContent<'a> {
    version: u32,
    destination: Option<Destination>,
    fallback: Fallback,
    documents: Vec<EncodedDocument<'a>>,
    review: EncodedReview<'a>,
}

#[derive(Serialize)]
struct EncodedDocument<'a> {
    kind: &'static str,
    file_name: &'a str,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// The pinned object, instead of a digest that is not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<&'a Reference>,
    size_bytes: u64,
}

#[derive(Serialize)]
struct EncodedReview<'a> {
    document_name: &'a str,
    session_id: &'a str,
    reviewer: &'a str,
    guidelines_name: Option<&'a str>,
    guidelines_preference: &'a str,
    section_names: &'a [String],
    suggestions: Vec<EncodedSection<'a>>,
    accepted: Vec<EncodedSection<'a>>,
    rejected: Vec<EncodedSection<'a>>,
    user_created: Vec<EncodedSection<'a>>,
    activity_log: &'a [JsonObject],
    chat_history: &'a [JsonObject],
    audit_logs: &'a [JsonObject],
    activity_timeline: &'a [JsonObject],
    performance_metrics: &'a JsonObject,
    /// Absent if empty: requests without it keep the digest that they had before the field existed.
    #[serde(skip_serializing_if = "<[Replacement]>::is_empty")]
    replacements: &'a [Replacement],
}

#[derive(Serialize)]
struct EncodedSection<'a> {
    name: &'a str,
    // An item is one flat object without its absent keys.
    items: &'a [super::FeedbackItem],
}

impl<'a> From<&'a Review> for EncodedReview<'a> {
    fn from(review: &'a Review) -> Self {
        // Names every field, so that a new field does not compile until it is handled here.
        let Review {
            document_name,
            session_id,
            reviewer,
            guidelines_name,
            guidelines_preference,
            section_names,
            suggestions,
            accepted,
            rejected,
            user_created,
            activity_log,
            chat_history,
            audit_logs,
            activity_timeline,
            performance_metrics,
            replacements,
        } = review;
        let sections = |list: &'a [FeedbackSection]| {
            list.iter()
                .map(|section| EncodedSection { name: &section.name, items: &section.items })
                .collect()
        };
        Self {
            document_name,
            session_id,
            reviewer,
            guidelines_name: guidelines_name.as_deref(),
            guidelines_preference,
            section_names,
            suggestions: sections(suggestions),
            accepted: sections(accepted),
            rejected: sections(rejected),
            user_created: sections(user_created),
            activity_log,
            chat_history,
            audit_logs,
            activity_timeline,
            performance_metrics,
            replacements,
        }
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;

//! What makes two requests the same: the digest of a canonical encoding.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::{
    Content, Destination, ExportContent, Fallback, FeedbackSection, FormatVersion, JsonObject,
    Reference, Review, format::write_json_compact,
};
use crate::digest::{Sha256, Sha256Hasher};

impl ExportContent {
    /// The digest of the content: equal for equal contents, whatever way documents travelled and
    /// whether an item's value came typed or free. The version pins the encoding.
    pub fn digest(&self, version: FormatVersion) -> Sha256 {
        match version {
            FormatVersion::V1 => {
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

    /// Compact JSON with every field in a fixed order, and nothing left out that could differ.
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
        // Neither a digest nor memory fails.
        let _ = writer.flush();
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

/// A digest over what is written: the encoding is never in memory as a whole.
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
    /// In the digest's place where that is not known: the object as it was pinned.
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
}

#[derive(Serialize)]
struct EncodedSection<'a> {
    name: &'a str,
    // An item writes itself as one flat object, an absent key not at all.
    items: &'a [super::FeedbackItem],
}

impl<'a> From<&'a Review> for EncodedReview<'a> {
    fn from(review: &'a Review) -> Self {
        // Every field by name: a field that is added has to be decided upon here.
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
        }
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;

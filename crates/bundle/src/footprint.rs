//! An upper estimate of the memory that a content takes while its export runs.
//!
//! The figures are costs of this implementation's types. They depend on lengths, not on capacities,
//! so that equal contents have equal footprints, however they were decoded.

use std::mem::size_of;

use super::{
    Content, ExportContent, FeedbackItem, FeedbackSection, Json, JsonObject, Reference,
    Replacement, Review,
};

/// Memory of an export without its content: the run, its events, the manifest, the record, the fixed
/// lines of reports.
const CONSTANT_BYTES: u64 = 64 * 1024;
/// Overhead of the allocator for each block.
const BLOCK_BYTES: u64 = 32;
/// Entries of a full node of a `BTreeMap`. The first entry allocates a complete node.
const NODE_ENTRIES: u64 = 11;
/// Minimum number of entries of every node except the root.
const NODE_MIN_ENTRIES: u64 = 5;
/// Pointers and lengths of a node, and the edges of an inner one.
const NODE_OVERHEAD_BYTES: u64 = 112;
/// Bytes of the longest number in JSON, with its comma.
const NUMBER_BYTES: u64 = 25;
/// Bytes of a CBOR head.
const HEAD_BYTES: u64 = 9;
/// Bytes of a section in `comprehensive_report.json` and `readable_report.txt`, without its name.
const SECTION_REPORT_BYTES: u64 = 640;
/// Bytes of a replacement in the manifest or the readable report, without its texts.
const REPLACEMENT_LINES_BYTES: u64 = 64;
/// Bytes of a name in a table of counts: its entry in a hash map, its count and its line in two reports.
const COUNTED_NAME_BYTES: u64 = 256;

/// Bytes of a text on the heap.
pub(super) const fn text_bytes(length: usize) -> u64 {
    if length == 0 { 0 } else { length as u64 + BLOCK_BYTES }
}

/// Bytes of a list on the heap, without the heap memory of its elements. A growing list has up to
/// twice the capacity it needs, and at least four elements.
const fn list_bytes<T>(length: usize) -> u64 {
    list_bytes_of(size_of::<T>(), length)
}

/// As `list_bytes`, for elements of this size.
pub(super) const fn list_bytes_of(element_bytes: usize, length: usize) -> u64 {
    if length == 0 {
        return 0;
    }
    let capacity = if length < 2 { 4 } else { 2 * length as u64 };
    capacity * element_bytes as u64 + BLOCK_BYTES
}

/// Bytes of an ordered map on the heap, without the heap memory of its entries.
const fn map_bytes<K, V>(length: usize) -> u64 {
    map_bytes_of(size_of::<K>() + size_of::<V>(), length)
}

/// As `map_bytes`, for entries of this size.
pub(super) const fn map_bytes_of(entry_bytes: usize, length: usize) -> u64 {
    if length == 0 {
        return 0;
    }
    let node_bytes = NODE_ENTRIES * entry_bytes as u64 + NODE_OVERHEAD_BYTES + BLOCK_BYTES;
    (1 + length as u64 / NODE_MIN_ENTRIES) * node_bytes
}

impl ExportContent {
    /// An upper estimate of the memory that this content takes from its acceptance to the end of
    /// its export: the content, the files of its bundle, its journal encoding, and its inline
    /// documents once. Takes time in proportion to the content, and allocates no memory.
    pub fn footprint_bytes(&self) -> u64 {
        // Names every field, so that a new field does not compile until it is handled here.
        let Self { review, documents, destination: _, fallback: _ } = self;
        let mut sum = Footprint::default();
        sum.review(review);
        sum.heap += list_bytes::<super::Document>(documents.len());
        for document in documents {
            let texts = [&document.file_name, &document.media_type];
            let mut length: usize = texts.iter().map(|text| text.len()).sum();
            match &document.content {
                Content::Inline(bytes) => sum.documents += bytes.len() as u64 + 2 * BLOCK_BYTES,
                Content::Referenced { reference: Reference::Upload { e_tag, .. }, .. } => {
                    length += e_tag.len();
                }
                Content::Referenced { reference: Reference::Attachment { .. }, .. } => {}
                Content::Referenced {
                    reference: Reference::Object { bucket, key, version_id, e_tag, .. },
                    ..
                } => {
                    let version = version_id.as_ref().map_or(0, String::len);
                    length += bucket.len() + key.len() + version + e_tag.len();
                }
            }
            // Each text is cloned into artifacts and requests to the store.
            sum.heap += 4 * (length as u64 + 8 * BLOCK_BYTES);
            sum.encoding += length as u64 + 256;
        }
        sum.total()
    }
}

/// Bytes by purpose.
#[derive(Default)]
struct Footprint {
    heap: u64,
    documents: u64,
    encoding: u64,
    rendered: u64,
    /// Size of the largest file. While a file is rendered, its buffer has up to twice its size.
    largest_file: u64,
}

impl Footprint {
    fn total(&self) -> u64 {
        // The buffer of the encoding grows to up to twice its size, too.
        CONSTANT_BYTES
            + self.heap
            + self.documents
            + 2 * self.encoding
            + self.rendered
            + self.largest_file
    }

    fn review(&mut self, review: &Review) {
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
        let mut report = 0;
        let guidelines_name = guidelines_name.as_deref().unwrap_or_default();
        for text in
            [document_name.as_str(), session_id, reviewer, guidelines_name, guidelines_preference]
        {
            // In the header, the manifest, the record, the run, and escaped in up to four files.
            self.heap += 8 * text_bytes(text.len());
            self.encoding += text.len() as u64 + HEAD_BYTES;
            report += 4 * (escaped_bytes(text) + visible_bytes(text));
        }
        self.heap += list_bytes::<String>(section_names.len());
        for name in section_names {
            self.heap += text_bytes(name.len());
            self.encoding += name.len() as u64 + HEAD_BYTES;
        }
        for (index, sections) in
            [suggestions, accepted, rejected, user_created].into_iter().enumerate()
        {
            let (file, in_report) = self.sections(sections, index == 0);
            self.file(file);
            report += in_report;
        }
        for list in [activity_log, chat_history, audit_logs, activity_timeline] {
            let file = self.log(list);
            self.file(file);
        }
        let metrics = self.object(&performance_metrics.0, 1);
        self.file(metrics);
        report += self.replacements(replacements);
        // `comprehensive_report.json` and `readable_report.txt` together.
        self.file(report);
    }

    fn file(&mut self, size_bytes: u64) {
        self.rendered += size_bytes;
        self.largest_file = self.largest_file.max(size_bytes);
    }

    /// Adds the replacements. Returns the bytes in the readable report.
    fn replacements(&mut self, replacements: &[Replacement]) -> u64 {
        let (mut manifest, mut report) = (0, 0);
        // In the review, the manifest, the export, its event and its message.
        self.heap += 5 * list_bytes::<Replacement>(replacements.len());
        for Replacement { path, reason } in replacements {
            self.encoding += HEAD_BYTES;
            manifest += REPLACEMENT_LINES_BYTES;
            report += REPLACEMENT_LINES_BYTES;
            for text in [path, reason] {
                self.heap += 5 * text_bytes(text.len());
                self.encoding += text.len() as u64 + HEAD_BYTES + 3;
                manifest += escaped_bytes(text);
                report += visible_bytes(text);
            }
        }
        self.file(manifest);
        report
    }

    /// Adds a feedback list. Returns the bytes in its file and in the reports.
    fn sections(&mut self, sections: &[FeedbackSection], is_suggestions: bool) -> (u64, u64) {
        let (mut file, mut report) = (0, 0);
        self.heap += list_bytes::<FeedbackSection>(sections.len());
        for FeedbackSection { name, items } in sections {
            self.heap += text_bytes(name.len()) + list_bytes::<FeedbackItem>(items.len());
            self.encoding += name.len() as u64 + 3 * HEAD_BYTES;
            // Counted twice, for each of the two reports.
            self.heap += 2 * (text_bytes(name.len()) + COUNTED_NAME_BYTES);
            file += line_bytes(2) + line_bytes(2) + escaped_bytes(name);
            report += SECTION_REPORT_BYTES + escaped_bytes(name) + visible_bytes(name);
            for item in items {
                file += self.item(item);
                if is_suggestions {
                    report += self.counted(item, "risk_level") + self.counted(item, "category");
                }
            }
        }
        (file, report)
    }

    /// Adds a value that the reports count by its name, assuming that all names differ. Returns the bytes in
    /// the reports.
    fn counted(&mut self, item: &FeedbackItem, key: &str) -> u64 {
        let typed = if key == "category" { &item.category } else { &item.risk_level };
        let (length, shown) = match (typed, item.additional_fields.0.get(key)) {
            (Some(text), _) | (None, Some(Json::String(text))) => {
                (text.len() as u64, escaped_bytes(text) + visible_bytes(text))
            }
            (None, Some(free)) => {
                // The name is compact JSON in a JSON text: every quote is escaped again.
                let length = compact_bytes(free);
                (length, 2 * length + 9 * length)
            }
            (None, None) => return 0,
        };
        self.heap += 4 * length + COUNTED_NAME_BYTES;
        shown + COUNTED_NAME_BYTES
    }

    /// Adds an item. Returns the bytes in the file of its list.
    fn item(&mut self, item: &FeedbackItem) -> u64 {
        // Names every field, so that a new field does not compile until it is handled here.
        let FeedbackItem {
            id,
            r#type,
            category,
            description,
            suggestion,
            example,
            questions,
            hawkeye_refs,
            risk_level,
            confidence,
            user_created,
            timestamp,
            ai_reference,
            ai_id,
            additional_fields,
        } = item;
        let mut file = 2 * line_bytes(3);
        self.encoding += HEAD_BYTES;
        for text in [
            id,
            r#type,
            category,
            description,
            suggestion,
            example,
            risk_level,
            timestamp,
            ai_reference,
            ai_id,
        ]
        .into_iter()
        .flatten()
        {
            self.heap += text_bytes(text.len());
            self.encoding += text.len() as u64 + HEAD_BYTES + 3;
            file += known_key_bytes() + escaped_bytes(text);
        }
        if confidence.is_some() {
            self.encoding += HEAD_BYTES + 3;
            file += known_key_bytes() + NUMBER_BYTES;
        }
        if user_created.is_some() {
            self.encoding += HEAD_BYTES + 3;
            file += known_key_bytes();
        }
        if !questions.is_empty() {
            self.heap += list_bytes::<String>(questions.len());
            self.encoding += HEAD_BYTES + 3;
            file += known_key_bytes() + line_bytes(4);
            for text in questions {
                self.heap += text_bytes(text.len());
                self.encoding += text.len() as u64 + HEAD_BYTES;
                file += line_bytes(5) + escaped_bytes(text);
            }
        }
        if !hawkeye_refs.is_empty() {
            let count = hawkeye_refs.len() as u64;
            self.heap += list_bytes::<i64>(hawkeye_refs.len());
            self.encoding += (count + 1) * HEAD_BYTES + 3;
            file += known_key_bytes() + line_bytes(4) + count * (line_bytes(5) + NUMBER_BYTES);
        }
        file + self.object(&additional_fields.0, 3)
    }

    /// Adds a log. Returns the bytes in its file.
    fn log(&mut self, list: &[JsonObject]) -> u64 {
        self.heap += list_bytes::<JsonObject>(list.len());
        self.encoding += HEAD_BYTES;
        list.iter().map(|object| line_bytes(2) + self.object(&object.0, 2)).sum()
    }

    /// Adds an object whose braces are at this depth. Returns the bytes in its file.
    fn object(&mut self, object: &std::collections::BTreeMap<String, Json>, depth: u64) -> u64 {
        self.heap += map_bytes::<String, Json>(object.len());
        self.encoding += HEAD_BYTES;
        let mut file = line_bytes(depth);
        for (key, value) in object {
            self.heap += text_bytes(key.len());
            self.encoding += key.len() as u64 + HEAD_BYTES;
            file += line_bytes(depth + 1) + escaped_bytes(key) + 2;
            file += self.json(value, depth + 1);
        }
        file
    }

    fn json(&mut self, value: &Json, depth: u64) -> u64 {
        match value {
            Json::Null | Json::Bool(_) => {
                self.encoding += 1;
                6
            }
            Json::Number(_) => {
                self.encoding += HEAD_BYTES;
                NUMBER_BYTES
            }
            Json::String(text) => {
                self.heap += text_bytes(text.len());
                self.encoding += text.len() as u64 + HEAD_BYTES;
                escaped_bytes(text)
            }
            Json::Array(values) => {
                self.heap += list_bytes::<Json>(values.len());
                self.encoding += HEAD_BYTES;
                let values = values.iter();
                let lines = values.map(|value| line_bytes(depth + 1) + self.json(value, depth + 1));
                lines.sum::<u64>() + line_bytes(depth)
            }
            Json::Object(object) => self.object(&object.0, depth),
        }
    }
}

/// Bytes of a line break, the indent of this depth, a comma and a bracket.
const fn line_bytes(depth: u64) -> u64 {
    2 * depth + 4
}

/// Bytes of a line of an item with a known key.
const fn known_key_bytes() -> u64 {
    line_bytes(4) + 22
}

/// Bytes of a text in JSON, with its quotes.
fn escaped_bytes(text: &str) -> u64 {
    2 + text
        .bytes()
        .map(|byte| match byte {
            0..=0x1f => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        })
        .sum::<u64>()
}

/// Maximum number of bytes of a text in the readable report, where one byte can become `<U+0007>`.
/// Twice, because each line is a text of its own first.
fn visible_bytes(text: &str) -> u64 {
    let shown: u64 = text
        .bytes()
        // The code point of a character of several bytes has at most nine.
        .map(|byte| {
            if byte < 0x20 || byte == 0x7f {
                8
            } else if byte >= 0x80 {
                5
            } else {
                1
            }
        })
        .sum();
    2 * shown + 16
}

/// Maximum number of bytes of a value as compact JSON.
fn compact_bytes(value: &Json) -> u64 {
    match value {
        Json::Null | Json::Bool(_) => 6,
        Json::Number(_) => NUMBER_BYTES,
        Json::String(text) => escaped_bytes(text) + 1,
        Json::Array(values) => 3 + values.iter().map(compact_bytes).sum::<u64>(),
        Json::Object(object) => {
            let entries = object.0.iter();
            3 + entries
                .map(|(key, value)| escaped_bytes(key) + 1 + compact_bytes(value))
                .sum::<u64>()
        }
    }
}

#[cfg(test)]
#[path = "footprint_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;

//! How many of everything a request may have (docs/limits.md), and what each field costs beyond its own
//! bytes.

/// Sections in one list. A book has hundreds.
pub(crate) const SECTIONS: u64 = 20_000;
/// Names of analyzed sections.
pub(crate) const SECTION_NAMES: u64 = 20_000;
/// Items in all four lists together.
pub(crate) const ITEMS: u64 = 100_000;
/// Entries in one log.
pub(crate) const LOG_ENTRIES: u64 = 100_000;
/// Questions, and references to checklist points, of one item.
pub(crate) const LIST_OF_ITEM: u64 = 1_000;
/// Values in all free fields together: keys of objects and elements of lists.
pub(crate) const FREE_VALUES: u64 = 1_000_000;
/// Keys of one object.
pub(crate) const KEYS: u64 = 10_000;
/// Nesting of free fields.
pub(crate) const DEPTH: usize = 30;
/// Documents: one of each kind.
pub(crate) const DOCUMENTS: u64 = 3;
/// Bytes of one text or key.
pub(crate) const TEXT_BYTES: usize = 1024 * 1024;

/// What is counted over the whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    /// The elements of one list.
    List,
    /// The elements of this field in the whole request.
    Field,
    /// Items of all lists.
    Items,
}

/// The most elements of a repeated field.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountLimit {
    pub(super) counter: Counter,
    pub(super) most: u64,
    /// What the limit's message calls them.
    pub(super) what: &'static str,
}

/// What a field's value costs beyond the decoded value itself: bytes in the bundle's files, in encodings and
/// in the tables that reports are made from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// For each value.
    pub(super) each: u64,
    /// For each byte of a text as JSON writes it.
    pub(super) escaped: u64,
    /// For each byte of a text as the readable report shows it.
    pub(super) visible: u64,
    /// For each byte of a text as it is.
    pub(super) copies: u64,
}

const fn cost(each: u64, escaped: u64, visible: u64, copies: u64) -> Cost {
    Cost { each, escaped, visible, copies }
}

const fn limit(counter: Counter, most: u64, what: &'static str) -> Option<CountLimit> {
    Some(CountLimit { counter, most, what })
}

/// The rules of a field, by its full name in the proto. Fields without a row are in no file: they cost what
/// their decoded value takes.
pub(super) fn rules(full_name: &str) -> (Option<CountLimit>, Cost) {
    let name = full_name.strip_prefix("tara.export.v1.").unwrap_or(full_name);
    match name {
        // In the header, the manifest, the record, the run, and in up to four files.
        "Review.document_name"
        | "Review.session_id"
        | "Review.reviewer"
        | "Review.guidelines_name"
        | "Review.guidelines_preference" => (None, cost(1024, 5, 10, 12)),
        "Review.section_names" => {
            (limit(Counter::Field, SECTION_NAMES, "section names"), cost(24, 1, 0, 2))
        }
        "Review.suggestions" | "Review.accepted" | "Review.rejected" | "Review.user_created" => {
            // Its own file, two reports, and the tables that these are made from.
            (limit(Counter::Field, SECTIONS, "sections in a list"), cost(1400, 0, 0, 0))
        }
        "Review.activity_log"
        | "Review.chat_history"
        | "Review.audit_logs"
        | "Review.activity_timeline" => {
            (limit(Counter::Field, LOG_ENTRIES, "entries"), cost(48, 0, 0, 0))
        }
        "FeedbackSection.name" => (None, cost(0, 3, 2, 6)),
        "FeedbackSection.items" => {
            (limit(Counter::Items, ITEMS, "items in all lists"), cost(80, 0, 0, 0))
        }
        // Reports count by these: each name may differ from the others.
        "FeedbackItem.category" | "FeedbackItem.risk_level" => (None, cost(560, 4, 2, 6)),
        // A preview looks for the ids of accepted items among the others.
        "FeedbackItem.id" => (None, cost(224, 2, 0, 4)),
        "FeedbackItem.type"
        | "FeedbackItem.description"
        | "FeedbackItem.suggestion"
        | "FeedbackItem.example"
        | "FeedbackItem.timestamp"
        | "FeedbackItem.ai_reference"
        | "FeedbackItem.ai_id" => (None, cost(96, 2, 0, 2)),
        "FeedbackItem.questions" => {
            (limit(Counter::List, LIST_OF_ITEM, "questions of one item"), cost(64, 2, 0, 2))
        }
        "FeedbackItem.hawkeye_refs" => {
            (limit(Counter::List, LIST_OF_ITEM, "references of one item"), cost(80, 0, 0, 0))
        }
        "FeedbackItem.confidence" => (None, cost(128, 0, 0, 0)),
        "FeedbackItem.user_created" => (None, cost(96, 0, 0, 0)),
        "Document.file_name"
        | "Document.media_type"
        | "Document.sha256"
        | "Document.upload"
        | "S3Source.uri"
        | "S3Source.version_id"
        | "PreviewDocument.file_name" => (None, cost(512, 2, 2, 4)),
        "StartExportRequest.documents" | "PreviewExportRequest.documents" => {
            (limit(Counter::Field, DOCUMENTS, "documents"), cost(2048, 0, 0, 0))
        }
        _ => match full_name {
            "google.protobuf.Struct.fields" => (None, cost(48, 0, 0, 0)),
            "google.protobuf.Struct.FieldsEntry.key" => (None, cost(0, 2, 0, 2)),
            "google.protobuf.Value.string_value" => (None, cost(16, 2, 0, 2)),
            "google.protobuf.Value.number_value" => (None, cost(72, 0, 0, 0)),
            "google.protobuf.Value.bool_value" | "google.protobuf.Value.null_value" => {
                (None, cost(16, 0, 0, 0))
            }
            _ => (None, Cost::default()),
        },
    }
}

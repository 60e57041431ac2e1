//! Limits of a request (docs/limits.md), and the memory that each field costs in addition to its decoded value.

/// Sections in one list.
pub(crate) const SECTIONS: u64 = 20_000;
/// Names of analyzed sections.
pub(crate) const SECTION_NAMES: u64 = 20_000;
/// Items in all four lists together.
pub(crate) const ITEMS: u64 = 100_000;
/// Entries in one log.
pub(crate) const LOG_ENTRIES: u64 = 100_000;
/// Questions, and references to checklist points, of one item.
pub(crate) const ITEM_LIST_VALUES: u64 = 1_000;
/// Values in all free fields together: keys of objects and elements of lists.
pub(crate) const FREE_VALUES: u64 = 1_000_000;
/// Keys of one object.
pub(crate) const KEYS: u64 = 10_000;
/// Values that a client replaced.
pub(crate) const REPLACEMENTS: u64 = 1_000;
/// Nesting of free fields.
pub(crate) const DEPTH: usize = 30;
/// Documents: one of each kind.
pub(crate) const DOCUMENTS: u64 = 3;
/// Addresses to notify; the conversion checks the exact limit with its field.
pub(crate) const NOTIFY_EMAILS: u64 = 1_000;
/// Bytes of one text or key.
pub(crate) const TEXT_BYTES: usize = 1024 * 1024;

/// The scope of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    /// The elements of one list.
    List,
    /// All elements of this field in the request.
    Field,
    /// The items of all lists.
    Items,
}

/// The limit of a repeated field.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountLimit {
    pub(super) counter: Counter,
    pub(super) max: u64,
    /// The name of the elements in the error message.
    pub(super) noun: &'static str,
}

/// The memory that a field's value costs in addition to the decoded value: bytes in the bundle's files, in encodings,
/// and in the tables for reports.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// For each value.
    pub(super) each: u64,
    /// For each byte of a text escaped in JSON.
    pub(super) escaped: u64,
    /// For each byte of a text in the readable report.
    pub(super) visible: u64,
    /// For each byte of the original text.
    pub(super) copies: u64,
}

const fn cost(each: u64, escaped: u64, visible: u64, copies: u64) -> Cost {
    Cost { each, escaped, visible, copies }
}

const fn limit(counter: Counter, max: u64, noun: &'static str) -> Option<CountLimit> {
    Some(CountLimit { counter, max, noun })
}

/// The limit and the cost of a field, by its full name in the proto. Fields without a row are not in any file, and
/// cost only their decoded value.
pub(super) fn rules(full_name: &str) -> (Option<CountLimit>, Cost) {
    let name = full_name.strip_prefix("tara.export.v1.").unwrap_or(full_name);
    match name {
        "StartExportRequest.notify_emails" => {
            (limit(Counter::Field, NOTIFY_EMAILS, "addresses"), Cost::default())
        }
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
            // In its own file, two reports, and the tables for them.
            (limit(Counter::Field, SECTIONS, "sections in a list"), cost(1400, 0, 0, 0))
        }
        "Review.activity_log"
        | "Review.chat_history"
        | "Review.audit_logs"
        | "Review.activity_timeline" => {
            (limit(Counter::Field, LOG_ENTRIES, "entries"), cost(48, 0, 0, 0))
        }
        // In the manifest, the readable report, the export and its messages.
        "Review.replacements" => {
            (limit(Counter::Field, REPLACEMENTS, "replacements"), cost(1024, 0, 0, 0))
        }
        "Replacement.path" | "Replacement.reason" => (None, cost(256, 3, 3, 12)),
        "FeedbackSection.name" => (None, cost(0, 3, 2, 6)),
        "FeedbackSection.items" => {
            (limit(Counter::Items, ITEMS, "items in all lists"), cost(80, 0, 0, 0))
        }
        // Reports count by these fields, and each value may be different.
        "FeedbackItem.category" | "FeedbackItem.risk_level" => (None, cost(560, 4, 2, 6)),
        // A preview compares the ids of accepted items with the other items.
        "FeedbackItem.id" => (None, cost(224, 2, 0, 4)),
        "FeedbackItem.type"
        | "FeedbackItem.description"
        | "FeedbackItem.suggestion"
        | "FeedbackItem.example"
        | "FeedbackItem.timestamp"
        | "FeedbackItem.ai_reference"
        | "FeedbackItem.ai_id" => (None, cost(96, 2, 0, 2)),
        "FeedbackItem.questions" => {
            (limit(Counter::List, ITEM_LIST_VALUES, "questions of one item"), cost(64, 2, 0, 2))
        }
        "FeedbackItem.hawkeye_refs" => {
            (limit(Counter::List, ITEM_LIST_VALUES, "references of one item"), cost(80, 0, 0, 0))
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

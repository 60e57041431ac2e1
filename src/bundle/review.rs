//! A review as the caller sent it.

use super::json::JsonObject;

/// A completed review. Lists keep the caller's order; section names are unique within each of the
/// four feedback lists.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Review {
    /// The document's name, 1 to 2048 bytes, any characters.
    pub document_name: String,
    /// The review application's session id.
    pub session_id: String,
    /// Who reviewed the document.
    pub reviewer: String,
    /// The guidelines' name, when there were any.
    pub guidelines_name: Option<String>,
    /// The review application's setting for which guidelines to use.
    pub guidelines_preference: String,
    /// The sections that were analyzed.
    pub section_names: Vec<String>,
    /// What the assistant suggested.
    pub suggestions: Vec<FeedbackSection>,
    /// What the reviewer accepted.
    pub accepted: Vec<FeedbackSection>,
    /// What the reviewer rejected.
    pub rejected: Vec<FeedbackSection>,
    /// What the reviewer added.
    pub user_created: Vec<FeedbackSection>,
    /// What happened.
    pub activity_log: Vec<JsonObject>,
    /// The conversation with the assistant.
    pub chat_history: Vec<JsonObject>,
    /// The audit trail.
    pub audit_logs: Vec<JsonObject>,
    /// The timeline.
    pub activity_timeline: Vec<JsonObject>,
    /// The review application's measurements.
    pub performance_metrics: JsonObject,
}

/// The feedback on one section.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeedbackSection {
    /// The section's name.
    pub name: String,
    /// Its items.
    pub items: Vec<FeedbackItem>,
}

/// One piece of feedback: known keys typed, the rest free.
///
/// A key stands in one place only: `additional_fields` holds a known key only where its value is
/// null, an empty list or of another type, and then the typed field is absent or empty.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(
    missing_docs,
    reason = "the names are the review application's own, documented in review.proto"
)]
pub struct FeedbackItem {
    pub id: Option<String>,
    pub r#type: Option<String>,
    pub category: Option<String>,
    pub description: Option<String>,
    pub suggestion: Option<String>,
    pub example: Option<String>,
    pub questions: Vec<String>,
    pub hawkeye_refs: Vec<i64>,
    pub risk_level: Option<String>,
    /// Finite.
    pub confidence: Option<f64>,
    pub user_created: Option<bool>,
    pub timestamp: Option<String>,
    pub ai_reference: Option<String>,
    pub ai_id: Option<String>,
    pub additional_fields: JsonObject,
}

impl FeedbackItem {
    /// The known keys in the order in which a bundle writes them.
    pub const KEYS: [&'static str; 14] = [
        "id",
        "type",
        "category",
        "description",
        "suggestion",
        "example",
        "questions",
        "hawkeye_refs",
        "risk_level",
        "confidence",
        "user_created",
        "timestamp",
        "ai_reference",
        "ai_id",
    ];
}

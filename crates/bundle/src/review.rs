//! The review in a request.

use serde::{Deserialize, Serialize};

use super::json::JsonObject;

/// A completed review. Lists have the order of the request. Section names are unique within each of the
/// four feedback lists.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Review {
    /// The document's name, 1 to 2048 bytes, any characters.
    pub document_name: String,
    /// The review application's session id.
    pub session_id: String,
    /// Who reviewed the document.
    pub reviewer: String,
    /// The guidelines' name, if there were any.
    pub guidelines_name: Option<String>,
    /// The review application's setting that selects the guidelines.
    pub guidelines_preference: String,
    /// Names of the analyzed sections.
    pub section_names: Vec<String>,
    /// Suggestions of the assistant.
    pub suggestions: Vec<FeedbackSection>,
    /// Feedback that the reviewer accepted.
    pub accepted: Vec<FeedbackSection>,
    /// Feedback that the reviewer rejected.
    pub rejected: Vec<FeedbackSection>,
    /// Feedback that the reviewer added.
    pub user_created: Vec<FeedbackSection>,
    /// The activity log.
    pub activity_log: Vec<JsonObject>,
    /// The conversation with the assistant.
    pub chat_history: Vec<JsonObject>,
    /// The audit trail.
    pub audit_logs: Vec<JsonObject>,
    /// The timeline.
    pub activity_timeline: Vec<JsonObject>,
    /// The review application's measurements.
    pub performance_metrics: JsonObject,
    /// The values that the client could not send and replaced.
    pub replacements: Vec<Replacement>,
}

/// A value of the review that the client could not send and replaced by another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Replacement {
    /// Path of the value in the review, such as `suggestions["Intro"][0].confidence`.
    pub path: String,
    /// The reason for the replacement: an UPPER_SNAKE word or a sentence.
    pub reason: String,
}

impl Replacement {
    /// Bytes of the path and the reason together.
    pub fn text_bytes(&self) -> usize {
        self.path.len() + self.reason.len()
    }
}

/// The feedback on one section.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeedbackSection {
    /// The section's name.
    pub name: String,
    /// Its items.
    pub items: Vec<FeedbackItem>,
}

/// One piece of feedback, with typed values of known keys and free values of others.
///
/// A key has one value: `additional_fields` has a known key only if its value is null, an empty list or
/// of another type, and then the typed field is absent or empty.
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
    /// The known keys in the order of bundles.
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

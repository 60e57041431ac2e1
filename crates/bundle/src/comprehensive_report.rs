//! `comprehensive_report.json`: the statistics of a review.

use serde::{Deserialize, Serialize};

use super::{
    AcceptedTime, FormatVersion, Review, ordered_map,
    statistics::{
        SectionCounts, count_categories, count_items, count_risk_levels, count_sections,
        measure_duration, percent,
    },
};

/// The content of `comprehensive_report.json`. Maps are lists of pairs in the order of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComprehensiveReport {
    /// The reviewed document and the time of the export.
    pub export_metadata: ExportMetadata,
    /// Counts over all sections.
    pub summary_statistics: SummaryStatistics,
    /// Suggestions by risk level: always High, Medium and Low, then others in order of appearance.
    #[serde(with = "ordered_map")]
    pub risk_analysis: Vec<(String, u64)>,
    /// Suggestions by category in order of appearance.
    #[serde(with = "ordered_map")]
    pub category_analysis: Vec<(String, u64)>,
    /// Sections of the suggestions by name.
    #[serde(with = "ordered_map")]
    pub section_analysis: Vec<(String, SectionAnalysis)>,
    /// Activity during the review.
    pub activity_summary: ActivitySummary,
    /// Durations.
    pub performance_metrics: PerformanceMetrics,
}

/// The reviewed document and the time of the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportMetadata {
    /// When the export was accepted, in the form of artifacts.
    pub timestamp: String,
    /// The review application's session id.
    pub session_id: String,
    /// The document's name as the caller sent it.
    pub document_name: String,
    /// The guidelines' name, if there were any.
    pub guidelines_used: Option<String>,
    /// The review application's setting that selects the guidelines.
    pub guidelines_preference: String,
}

/// Counts over all sections.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SummaryStatistics {
    /// Items the assistant suggested.
    pub total_ai_suggestions: u64,
    /// Items the reviewer accepted.
    pub total_accepted: u64,
    /// Items the reviewer rejected.
    pub total_rejected: u64,
    /// Items the reviewer added.
    pub total_user_feedback: u64,
    /// Accepted items in percent of suggestions, unrounded; 0 without suggestions.
    pub acceptance_rate: f64,
    /// Added items in percent of suggestions, unrounded; 0 without suggestions.
    pub user_engagement_rate: f64,
}

/// Counts of one section.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SectionAnalysis {
    /// Items the assistant suggested.
    pub total_suggestions: u64,
    /// Items the reviewer accepted.
    pub accepted: u64,
    /// Items the reviewer rejected.
    pub rejected: u64,
    /// Items the reviewer added.
    pub user_added: u64,
    /// Accepted items in percent of suggestions, unrounded; 0 without suggestions.
    pub acceptance_rate: f64,
}

/// Activity during the review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivitySummary {
    /// Entries of the activity log.
    pub total_activities: u64,
    /// Messages of the chat history.
    pub chat_interactions: u64,
    /// Sections that were analyzed.
    pub sections_analyzed: u64,
}

/// Durations in minutes with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PerformanceMetrics {
    /// From the earliest to the latest activity; 0 with fewer than two readable timestamps.
    pub review_duration: f64,
    /// Average duration per analyzed section; 0 without sections.
    pub avg_time_per_section: f64,
}

/// The bytes are not a comprehensive report.
#[derive(Debug, thiserror::Error)]
#[error("not a comprehensive report: {0}")]
pub struct InvalidReport(#[source] serde_json::Error);

impl ComprehensiveReport {
    /// Computes the report on a review.
    pub(super) fn new(
        review: &Review,
        accepted_time: AcceptedTime,
        format_version: FormatVersion,
    ) -> Self {
        let total_ai_suggestions = count_items(&review.suggestions);
        let total_accepted = count_items(&review.accepted);
        let total_user_feedback = count_items(&review.user_created);
        let sections = count_sections(review).suggested;
        let (review_duration, avg_time_per_section) = measure_duration(review, format_version);
        Self {
            export_metadata: ExportMetadata {
                timestamp: accepted_time.to_string(),
                session_id: review.session_id.clone(),
                document_name: review.document_name.clone(),
                guidelines_used: review.guidelines_name.clone(),
                guidelines_preference: review.guidelines_preference.clone(),
            },
            summary_statistics: SummaryStatistics {
                total_ai_suggestions,
                total_accepted,
                total_rejected: count_items(&review.rejected),
                total_user_feedback,
                acceptance_rate: percent(total_accepted, total_ai_suggestions),
                user_engagement_rate: percent(total_user_feedback, total_ai_suggestions),
            },
            risk_analysis: count_risk_levels(review),
            category_analysis: count_categories(review),
            section_analysis: sections
                .into_iter()
                .map(|(name, counts)| (name, counts.into()))
                .collect(),
            activity_summary: ActivitySummary {
                total_activities: review.activity_log.len() as u64,
                chat_interactions: review.chat_history.len() as u64,
                sections_analyzed: review.section_names.len() as u64,
            },
            performance_metrics: PerformanceMetrics { review_duration, avg_time_per_section },
        }
    }

    /// Parses the artifact. Ignores fields of later releases.
    ///
    /// # Errors
    /// [`InvalidReport`] if a field is missing or has another type.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidReport> {
        serde_json::from_slice(bytes).map_err(InvalidReport)
    }
}

impl From<SectionCounts> for SectionAnalysis {
    fn from(counts: SectionCounts) -> Self {
        Self {
            total_suggestions: counts.suggestions,
            accepted: counts.accepted,
            rejected: counts.rejected,
            user_added: counts.user_added,
            acceptance_rate: percent(counts.accepted, counts.suggestions),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{FeedbackItem, FeedbackSection, format::to_json_pretty};

    #[test]
    fn report_round_trips_in_order() {
        let item = |category: &str| FeedbackItem {
            category: Some(category.into()),
            ..FeedbackItem::default()
        };
        let review = Review {
            document_name: "d".into(),
            guidelines_name: Some("g".into()),
            suggestions: vec![
                FeedbackSection { name: "z".into(), items: vec![item("y"), item("x"), item("y")] },
                FeedbackSection { name: "a".into(), items: vec![] },
            ],
            accepted: vec![FeedbackSection { name: "z".into(), items: vec![item("y")] }],
            ..Review::default()
        };
        let report = ComprehensiveReport::new(
            &review,
            AcceptedTime::new(chrono::DateTime::UNIX_EPOCH),
            FormatVersion::CURRENT,
        );
        let bytes = to_json_pretty(&report);
        assert_eq!(ComprehensiveReport::parse(&bytes).unwrap(), report);
        let sections: Vec<&str> =
            report.section_analysis.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(sections, ["z", "a"]);
        assert_eq!(report.section_analysis[0].1.acceptance_rate, 1.0 / 3.0 * 100.0);

        let later = String::from_utf8(bytes).unwrap().replacen('{', "{\"added_later\": [1],", 1);
        assert_eq!(ComprehensiveReport::parse(later.as_bytes()).unwrap(), report);
        for wrong in [
            "",
            "{}",
            "[]",
            &later.replace("\"total_activities\": 0", "\"total_activities\": \"0\""),
        ] {
            assert!(ComprehensiveReport::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

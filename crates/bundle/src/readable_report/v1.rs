//! The report of format version 1. Its text never changes.

use std::fmt::Display;

use super::{SectionWording, TOP_CATEGORIES, Text, grouped};
use crate::{
    AcceptedTime, ComprehensiveReport, Omitted, Review, plan::PlannedDocument, visible::Visible,
};

const SECTIONS: SectionWording = SectionWording {
    no_sections: "  (none with suggestions)",
    other_sections: "SECTIONS OUTSIDE THE SUGGESTIONS",
    unnamed: "(none)",
    percent,
};

/// Renders the report.
pub(crate) fn render(
    review: &Review,
    report: &ComprehensiveReport,
    accepted_time: AcceptedTime,
    documents: &[PlannedDocument],
    omitted: &[Omitted],
) -> String {
    let mut text = Text::titled();
    write_header(&mut text, review, accepted_time);
    write_documents(&mut text, documents, omitted);
    write_statistics(&mut text, report);
    write_risk(&mut text, report);
    write_categories(&mut text, report);
    SECTIONS.write(&mut text, review, report);
    write_performance(&mut text, report);
    text.finish()
}

fn write_header(text: &mut Text, review: &Review, accepted_time: AcceptedTime) {
    let date = accepted_time.as_datetime().format("%Y-%m-%d %H:%M:%S UTC");
    field(text, "Document", or_none(&review.document_name));
    field(text, "Session", or_none(&review.session_id));
    field(text, "Reviewer", or_none(&review.reviewer));
    field(text, "Date", date);
    field(text, "Guidelines", or_none(review.guidelines_name.as_deref().unwrap_or_default()));
    if !review.guidelines_preference.is_empty() {
        field(text, "Preference", Visible(&review.guidelines_preference));
    }
}

fn write_documents(text: &mut Text, documents: &[PlannedDocument], omitted: &[Omitted]) {
    text.heading("DOCUMENTS");
    for document in documents {
        text.line(format_args!("  {}", Visible(document.path.as_str())));
        text.line(format_args!("      {} bytes", grouped(document.size_bytes)));
    }
    for omitted in omitted {
        text.line(format_args!("  {}", Visible(&omitted.path)));
        text.line(format_args!("      not included: {}", omitted.reason));
    }
}

fn write_statistics(text: &mut Text, report: &ComprehensiveReport) {
    let statistics = &report.summary_statistics;
    let activity = &report.activity_summary;
    text.heading("STATISTICS");
    let of_suggestions = |rate| format!("   {} of the suggestions", percent(rate));
    for (label, count, note) in [
        ("AI suggestions", statistics.total_ai_suggestions, String::new()),
        ("Accepted", statistics.total_accepted, of_suggestions(statistics.acceptance_rate)),
        ("Rejected", statistics.total_rejected, String::new()),
        (
            "Added by the reviewer",
            statistics.total_user_feedback,
            of_suggestions(statistics.user_engagement_rate),
        ),
        ("Sections analyzed", activity.sections_analyzed, String::new()),
        ("Activities logged", activity.total_activities, String::new()),
        ("Chat messages", activity.chat_interactions, String::new()),
    ] {
        text.line(format_args!("  {label:<22}{:>9}{note}", grouped(count)));
    }
}

fn write_risk(text: &mut Text, report: &ComprehensiveReport) {
    text.heading("RISK OF THE SUGGESTIONS");
    for (level, count) in &report.risk_analysis {
        text.count(*count, or_none(level));
    }
}

fn write_categories(text: &mut Text, report: &ComprehensiveReport) {
    text.heading("TOP CATEGORIES");
    let mut categories: Vec<&(String, u64)> = report.category_analysis.iter().collect();
    // Stable: of two with one count, the first to appear stays first.
    categories.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (category, count) in categories.iter().take(TOP_CATEGORIES) {
        text.count(*count, or_none(category));
    }
    match categories.len() {
        0 => text.line("  (none)"),
        all if all > TOP_CATEGORIES => {
            text.line(format_args!("          and {} more", all - TOP_CATEGORIES));
        }
        _ => {}
    }
}

fn write_performance(text: &mut Text, report: &ComprehensiveReport) {
    let performance = &report.performance_metrics;
    text.heading("PERFORMANCE");
    for (label, minutes) in [
        ("Review duration", performance.review_duration),
        ("Average per section", performance.avg_time_per_section),
    ] {
        text.line(format_args!("  {label:<22}{minutes:>9.2} minutes"));
    }
}

/// A caller's text, or `(none)` where it is empty.
fn or_none(text: &str) -> Visible<'_> {
    Visible(if text.is_empty() { "(none)" } else { text })
}

fn percent(rate: f64) -> String {
    format!("{rate:.1} %")
}

fn field(text: &mut Text, label: &str, value: impl Display) {
    text.line(format_args!("{:<12}{value}", format!("{label}:")));
}

//! The report of format version 2. Its text never changes.

use std::fmt::Display;

use super::{SectionWording, TOP_CATEGORIES, Text, grouped};
use crate::{
    AcceptedTime, ComprehensiveReport, Omitted, Replacement, Review, plan::PlannedDocument,
    visible::Visible,
};

const SECTIONS: SectionWording = SectionWording {
    no_sections: "  No sections.",
    other_sections: "OTHER SECTIONS WITH FEEDBACK",
    unnamed: "(unnamed)",
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
    write_risk_levels(&mut text, report);
    write_categories(&mut text, report);
    SECTIONS.write(&mut text, review, report);
    write_time(&mut text, report);
    write_replacements(&mut text, &review.replacements);
    text.finish()
}

fn write_header(text: &mut Text, review: &Review, accepted_time: AcceptedTime) {
    let mut field = |label: &str, value: &dyn Display| {
        text.line(format_args!("{:<24}{value}", format!("{label}:")));
    };
    let guidelines_name = review.guidelines_name.as_deref().unwrap_or_default();
    field("Document", &or_not_specified(&review.document_name));
    field("Session", &or_not_specified(&review.session_id));
    field("Reviewer", &or_not_specified(&review.reviewer));
    field("Exported", &accepted_time.as_datetime().format("%Y-%m-%d %H:%M:%S UTC"));
    field("Guidelines", &or_not_specified(guidelines_name));
    field("Guidelines preference", &or_not_specified(&review.guidelines_preference));
}

fn write_documents(text: &mut Text, documents: &[PlannedDocument], omitted: &[Omitted]) {
    text.heading("DOCUMENTS");
    for document in documents {
        text.line(format_args!("  {}", Visible(document.path.as_str())));
        text.line(format_args!("      {}", counted(document.size_bytes, "byte", "bytes")));
    }
    for omitted in omitted {
        text.line(format_args!("  {}", Visible(&omitted.path)));
        text.line(format_args!("      Not included: {}", omitted.reason));
    }
}

fn write_statistics(text: &mut Text, report: &ComprehensiveReport) {
    let statistics = &report.summary_statistics;
    let activity = &report.activity_summary;
    text.heading("STATISTICS");
    let of_suggestions = |rate| format!("   {} of the suggestions", percent(rate));
    for (label, count, remark) in [
        ("Suggestions by the assistant", statistics.total_ai_suggestions, String::new()),
        (
            "Accepted by the reviewer",
            statistics.total_accepted,
            of_suggestions(statistics.acceptance_rate),
        ),
        ("Rejected by the reviewer", statistics.total_rejected, String::new()),
        (
            "Added by the reviewer",
            statistics.total_user_feedback,
            of_suggestions(statistics.user_engagement_rate),
        ),
        ("Analyzed sections", activity.sections_analyzed, String::new()),
        ("Logged activities", activity.total_activities, String::new()),
        ("Chat messages", activity.chat_interactions, String::new()),
    ] {
        text.line(format_args!("  {label:<28}  {:>9}{remark}", grouped(count)));
    }
}

fn write_risk_levels(text: &mut Text, report: &ComprehensiveReport) {
    text.heading("SUGGESTIONS BY RISK LEVEL");
    for (level, count) in &report.risk_analysis {
        text.count(*count, or_unnamed(level));
    }
}

fn write_categories(text: &mut Text, report: &ComprehensiveReport) {
    text.heading("SUGGESTIONS BY CATEGORY");
    let mut categories: Vec<&(String, u64)> = report.category_analysis.iter().collect();
    // Stable: categories with equal counts keep the order in which they appear.
    categories.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (category, count) in categories.iter().take(TOP_CATEGORIES) {
        text.count(*count, or_unnamed(category));
    }
    match categories.len() as u64 {
        0 => text.line("  No suggestions."),
        all if all > TOP_CATEGORIES as u64 => {
            let more = all - TOP_CATEGORIES as u64;
            text.line(format_args!(
                "          and {}",
                counted(more, "more category", "more categories")
            ));
        }
        _ => {}
    }
}

fn write_time(text: &mut Text, report: &ComprehensiveReport) {
    let performance = &report.performance_metrics;
    text.heading("REVIEW TIME");
    for (label, minutes) in [
        ("Duration", performance.review_duration),
        ("Average per section", performance.avg_time_per_section),
    ] {
        text.line(format_args!("  {label:<28}  {minutes:>9.2} minutes"));
    }
}

fn write_replacements(text: &mut Text, replacements: &[Replacement]) {
    if replacements.is_empty() {
        return;
    }
    text.heading("REPLACED VALUES");
    let count = replacements.len() as u64;
    text.line(format_args!(
        "  The client could not send {} of the review and replaced {}:",
        counted(count, "value", "values"),
        if count == 1 { "it" } else { "them" },
    ));
    for Replacement { path, reason } in replacements {
        text.line(format_args!("  {}", or_not_specified(path)));
        text.line(format_args!("      {}", or_not_specified(reason)));
    }
}

/// A text of the caller, or a placeholder if it is empty.
fn or_not_specified(text: &str) -> Visible<'_> {
    Visible(if text.is_empty() { "(not specified)" } else { text })
}

/// A name of the caller, or a placeholder if it is empty.
fn or_unnamed(name: &str) -> Visible<'_> {
    Visible(if name.is_empty() { "(unnamed)" } else { name })
}

fn percent(rate: f64) -> String {
    format!("{rate:.1}%")
}

/// A number with its unit: `1 byte`, `1,234 bytes`.
fn counted(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { singular } else { plural })
}

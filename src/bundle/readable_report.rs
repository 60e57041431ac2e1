//! `readable_report.txt`: the comprehensive report for a person.

use std::fmt::Display;

use super::{
    AcceptedTime, ComprehensiveReport, Omitted, Review, comprehensive_report::SectionAnalysis,
    plan::PlannedDocument, statistics::count_sections, visible::Visible,
};

const TITLE: &str = "DOCUMENT REVIEW REPORT";
const TOP_CATEGORIES: usize = 5;

/// The report's text. A caller's texts stand on lines of their own or at the end of one, and can't
/// break it.
pub(super) fn render(
    review: &Review,
    report: &ComprehensiveReport,
    accepted_time: AcceptedTime,
    documents: &[PlannedDocument],
    omitted: &[Omitted],
) -> String {
    let mut text = Text::default();
    text.line(TITLE);
    text.line("=".repeat(TITLE.len()));
    text.blank();
    write_head(&mut text, review, accepted_time);
    write_documents(&mut text, documents, omitted);
    write_statistics(&mut text, report);
    write_risk(&mut text, report);
    write_categories(&mut text, report);
    write_sections(&mut text, review, report);
    write_performance(&mut text, report);
    text.0.shrink_to_fit();
    text.0
}

fn write_head(text: &mut Text, review: &Review, accepted_time: AcceptedTime) {
    let date = accepted_time.as_datetime().format("%Y-%m-%d %H:%M:%S UTC");
    text.field("Document", or_none(&review.document_name));
    text.field("Session", or_none(&review.session_id));
    text.field("Reviewer", or_none(&review.reviewer));
    text.field("Date", date);
    text.field("Guidelines", or_none(review.guidelines_name.as_deref().unwrap_or_default()));
    if !review.guidelines_preference.is_empty() {
        text.field("Preference", Visible(&review.guidelines_preference));
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

fn write_sections(text: &mut Text, review: &Review, report: &ComprehensiveReport) {
    text.heading("SECTIONS");
    for (index, (name, section)) in report.section_analysis.iter().enumerate() {
        if index > 0 {
            text.blank();
        }
        write_section(text, name, section);
    }
    if report.section_analysis.is_empty() {
        text.line("  (none with suggestions)");
    }
    let others = count_sections(review).others;
    if !others.is_empty() {
        text.heading("SECTIONS OUTSIDE THE SUGGESTIONS");
    }
    for (index, (name, counts)) in others.into_iter().enumerate() {
        if index > 0 {
            text.blank();
        }
        write_section(text, &name, &counts.into());
    }
}

fn write_section(text: &mut Text, name: &str, section: &SectionAnalysis) {
    text.line(format_args!("  {}", or_none(name)));
    let rate = match section.total_suggestions {
        0 => String::new(),
        _ => format!(" ({})", percent(section.acceptance_rate)),
    };
    text.line(format_args!(
        "      {} suggested, {} accepted{rate}, {} rejected, {} added by the reviewer",
        grouped(section.total_suggestions),
        grouped(section.accepted),
        grouped(section.rejected),
        grouped(section.user_added),
    ));
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

/// A number with its thousands apart: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Text under construction, line by line.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: impl Display) {
        self.0.push_str(&line.to_string());
        self.blank();
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        self.blank();
        self.line(heading);
        self.line("-".repeat(heading.len()));
    }

    fn field(&mut self, label: &str, value: impl Display) {
        self.line(format_args!("{:<12}{value}", format!("{label}:")));
    }

    fn count(&mut self, count: u64, of_what: impl Display) {
        self.line(format_args!("  {:>6}  {of_what}", grouped(count)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn names_forge_no_lines() {
        let review = Review {
            document_name: "report\n\nSTATISTICS\n----------\n  999 accepted\u{202E}".into(),
            reviewer: "a\r\u{2028}b".into(),
            ..Review::default()
        };
        let time = AcceptedTime::new(chrono::DateTime::UNIX_EPOCH);
        let report = ComprehensiveReport::new(&review, time);
        let text = render(&review, &report, time, &[], &[]);
        assert_eq!(text.lines().filter(|line| *line == "STATISTICS").count(), 1);
        assert!(text.contains(
            "\nDocument:   report<U+000A><U+000A>STATISTICS<U+000A>----------<U+000A>  999 accepted<U+202E>\n"
        ));
        assert!(text.contains("\nReviewer:   a<U+000D><U+2028>b\n"));
    }
}

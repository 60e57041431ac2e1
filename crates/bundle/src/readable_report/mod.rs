//! `readable_report.txt`: the comprehensive report as text for people.
//!
//! Texts of the caller are on lines of their own or at the end of a line, with their control
//! characters escaped, so that they cannot imitate lines of the report.

pub(super) mod v1;
pub(super) mod v2;

use std::fmt::Display;

use crate::{
    ComprehensiveReport, Review, comprehensive_report::SectionAnalysis, statistics::count_sections,
    visible::Visible,
};

const TITLE: &str = "DOCUMENT REVIEW REPORT";
const TOP_CATEGORIES: usize = 5;

/// A number with thousands separators: `1,234,567`.
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

/// The wording of the sections in one format version.
struct SectionWording {
    no_sections: &'static str,
    other_sections: &'static str,
    /// The name of a section without a name.
    unnamed: &'static str,
    percent: fn(f64) -> String,
}

impl SectionWording {
    fn write(&self, text: &mut Text, review: &Review, report: &ComprehensiveReport) {
        text.heading("SECTIONS");
        for (index, (name, section)) in report.section_analysis.iter().enumerate() {
            self.write_section(text, index, name, section);
        }
        if report.section_analysis.is_empty() {
            text.line(self.no_sections);
        }
        let others = count_sections(review).others;
        if !others.is_empty() {
            text.heading(self.other_sections);
        }
        for (index, (name, counts)) in others.into_iter().enumerate() {
            self.write_section(text, index, &name, &counts.into());
        }
    }

    fn write_section(&self, text: &mut Text, index: usize, name: &str, section: &SectionAnalysis) {
        if index > 0 {
            text.blank();
        }
        let name = if name.is_empty() { self.unnamed } else { name };
        text.line(format_args!("  {}", Visible(name)));
        let rate = match section.total_suggestions {
            0 => String::new(),
            _ => format!(" ({})", (self.percent)(section.acceptance_rate)),
        };
        text.line(format_args!(
            "      {} suggested, {} accepted{rate}, {} rejected, {} added by the reviewer",
            grouped(section.total_suggestions),
            grouped(section.accepted),
            grouped(section.rejected),
            grouped(section.user_added),
        ));
    }
}

/// A text that is written line by line.
struct Text(String);

impl Text {
    /// A text that starts with the title.
    fn titled() -> Self {
        let mut text = Self(String::new());
        text.line(TITLE);
        text.line("=".repeat(TITLE.len()));
        text.blank();
        text
    }

    fn finish(mut self) -> String {
        self.0.shrink_to_fit();
        self.0
    }

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

    fn count(&mut self, count: u64, of_what: impl Display) {
        self.line(format_args!("  {:>6}  {of_what}", grouped(count)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AcceptedTime, ComprehensiveReport, FormatVersion, Replacement, Review};

    #[test]
    fn numbers_have_thousands_separators() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn names_cannot_imitate_lines() {
        let review = Review {
            document_name: "report\n\nSTATISTICS\n----------\n  999 accepted\u{202E}".into(),
            reviewer: "a\r\u{2028}b".into(),
            replacements: vec![Replacement { path: "a\nb".into(), reason: "c\nd".into() }],
            ..Review::default()
        };
        let time = AcceptedTime::new(chrono::DateTime::UNIX_EPOCH);
        let report = ComprehensiveReport::new(&review, time, FormatVersion::CURRENT);
        let name =
            "report<U+000A><U+000A>STATISTICS<U+000A>----------<U+000A>  999 accepted<U+202E>";
        let text = v1::render(&review, &report, time, &[], &[]);
        assert_eq!(text.lines().filter(|line| *line == "STATISTICS").count(), 1);
        assert!(text.contains(&format!("\nDocument:   {name}\n")));
        assert!(text.contains("\nReviewer:   a<U+000D><U+2028>b\n"));
        let text = v2::render(&review, &report, time, &[], &[]);
        assert_eq!(text.lines().filter(|line| *line == "STATISTICS").count(), 1);
        assert!(text.contains(&format!("\nDocument:               {name}\n")));
        assert!(text.contains("\nReviewer:               a<U+000D><U+2028>b\n"));
        assert!(text.contains("\n  a<U+000A>b\n      c<U+000A>d\n"));
    }
}

//! The statistics in the reports.

use std::collections::HashMap;

use super::{
    FeedbackItem, FeedbackSection, FormatVersion, Json, Review, feedback::KnownValue,
    format::to_json_compact, timestamp::parse_micros,
};

/// Number of items in all sections of a list.
pub(super) fn count_items(sections: &[FeedbackSection]) -> u64 {
    sections.iter().map(|section| section.items.len() as u64).sum()
}

/// A part of a total in percent, unrounded; 0 if the total is 0.
pub(super) fn percent(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 / total as f64 * 100.0 }
}

/// Suggestions by risk level: always High, Medium and Low, then others in order of appearance. A
/// suggestion without a level counts as Low.
pub(super) fn count_risk_levels(review: &Review) -> Vec<(String, u64)> {
    count_by(review, "risk_level", "Low", &["High", "Medium", "Low"])
}

/// Suggestions by category in order of appearance. One without a category counts as Unknown.
pub(super) fn count_categories(review: &Review) -> Vec<(String, u64)> {
    count_by(review, "category", "Unknown", &[])
}

fn count_by(review: &Review, key: &str, missing: &str, always: &[&str]) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> =
        always.iter().map(|name| ((*name).to_owned(), 0)).collect();
    let mut indexes: HashMap<String, usize> =
        always.iter().enumerate().map(|(index, name)| ((*name).to_owned(), index)).collect();
    for item in review.suggestions.iter().flat_map(|section| &section.items) {
        let name = name_under(item, key).unwrap_or_else(|| missing.to_owned());
        let index = *indexes.entry(name).or_insert_with_key(|name| {
            counts.push((name.clone(), 0));
            counts.len() - 1
        });
        counts[index].1 += 1;
    }
    counts
}

/// The value of a known key as a name: a text as it is, other values as compact JSON; `None` if the
/// value is missing or null.
pub(super) fn name_under(item: &FeedbackItem, key: &str) -> Option<String> {
    match item.known_value(key)? {
        KnownValue::Text(text) => Some(text.to_owned()),
        KnownValue::Free(Json::Null) => None,
        other => Some(String::from_utf8_lossy(&to_json_compact(&other)).into_owned()),
    }
}

/// The counts of one section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SectionCounts {
    pub(super) suggestions: u64,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) user_added: u64,
}

/// Counts by the names of the sections in all four lists.
pub(super) struct SectionStatistics {
    /// Sections of the suggestions, with empty ones.
    pub(super) suggested: Vec<(String, SectionCounts)>,
    /// Sections with at least one item that are only in other lists, in order of appearance.
    pub(super) others: Vec<(String, SectionCounts)>,
}

pub(super) fn count_sections(review: &Review) -> SectionStatistics {
    let mut all: Vec<(String, SectionCounts)> = Vec::new();
    let mut indexes: HashMap<&str, usize> = HashMap::new();
    let mut suggested = 0;
    type Count = fn(&mut SectionCounts) -> &mut u64;
    let lists: [(&[FeedbackSection], Count); 4] = [
        (&review.suggestions, |counts| &mut counts.suggestions),
        (&review.accepted, |counts| &mut counts.accepted),
        (&review.rejected, |counts| &mut counts.rejected),
        (&review.user_created, |counts| &mut counts.user_added),
    ];
    for (number, (sections, count)) in lists.into_iter().enumerate() {
        for section in sections {
            let index = *indexes.entry(&section.name).or_insert_with(|| {
                all.push((section.name.clone(), SectionCounts::default()));
                all.len() - 1
            });
            *count(&mut all[index].1) += section.items.len() as u64;
        }
        if number == 0 {
            suggested = all.len();
        }
    }
    let mut others = all.split_off(suggested);
    others.retain(|(_, counts)| *counts != SectionCounts::default());
    SectionStatistics { suggested: all, others }
}

/// Minutes from the earliest to the latest activity, and their average per analyzed section, both
/// rounded to two decimals. 0 with fewer than two readable timestamps. From format version 2 on, the
/// average is computed from the rounded duration, as the review application does.
pub(super) fn measure_duration(review: &Review, format_version: FormatVersion) -> (f64, f64) {
    let times = || {
        review.activity_log.iter().filter_map(|entry| match entry.0.get("timestamp")? {
            Json::String(text) => parse_micros(text),
            _ => None,
        })
    };
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return (0.0, 0.0);
    };
    let minutes = (last - first) as f64 / 1_000_000.0 / 60.0;
    let rounded = round_to_cents(minutes);
    let total = if format_version == FormatVersion::V1 { minutes } else { rounded };
    let per_section = match review.section_names.len() {
        0 => 0.0,
        sections => total / sections as f64,
    };
    (rounded, round_to_cents(per_section))
}

/// Rounds to two decimals as Python's `round`: from the exact value of the double, ties to even.
fn round_to_cents(number: f64) -> f64 {
    format!("{number:.2}").parse().unwrap_or(number)
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;

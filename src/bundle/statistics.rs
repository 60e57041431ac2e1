//! What the reports count.

use std::collections::HashMap;

use super::{
    FeedbackItem, FeedbackSection, Json, Review, feedback::KnownValue, format::to_json_compact,
    timestamp::parse_micros,
};

/// Items in all sections of a list.
pub(super) fn count_items(sections: &[FeedbackSection]) -> u64 {
    sections.iter().map(|section| section.items.len() as u64).sum()
}

/// A part in percent of a whole, unrounded; 0 of nothing.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// Suggestions by risk level: High, Medium and Low always, then others as they appear. One without
/// a level counts as Low.
pub(super) fn count_risk_levels(review: &Review) -> Vec<(String, u64)> {
    count_by(review, "risk_level", "Low", &["High", "Medium", "Low"])
}

/// Suggestions by category as they appear. One without a category counts as Unknown.
pub(super) fn count_categories(review: &Review) -> Vec<(String, u64)> {
    count_by(review, "category", "Unknown", &[])
}

fn count_by(review: &Review, key: &str, missing: &str, always: &[&str]) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> =
        always.iter().map(|name| ((*name).to_owned(), 0)).collect();
    let mut places: HashMap<String, usize> =
        always.iter().enumerate().map(|(place, name)| ((*name).to_owned(), place)).collect();
    for item in review.suggestions.iter().flat_map(|section| &section.items) {
        let name = name_under(item, key).unwrap_or_else(|| missing.to_owned());
        let place = *places.entry(name).or_insert_with_key(|name| {
            counts.push((name.clone(), 0));
            counts.len() - 1
        });
        counts[place].1 += 1;
    }
    counts
}

/// A known key's value as a name: a text itself, anything else as compact JSON; none where it is
/// missing or null.
pub(super) fn name_under(item: &FeedbackItem, key: &str) -> Option<String> {
    match item.known_value(key)? {
        KnownValue::Text(text) => Some(text.to_owned()),
        KnownValue::Free(Json::Null) => None,
        other => Some(String::from_utf8_lossy(&to_json_compact(&other)).into_owned()),
    }
}

/// What became of one section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SectionCounts {
    pub(super) suggestions: u64,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) user_added: u64,
}

/// The counts of every section of the four lists by its name: first those of the suggestion list,
/// empty ones too, then others as they appear.
pub(super) struct SectionStatistics {
    /// The suggestion list's sections.
    pub(super) suggested: Vec<(String, SectionCounts)>,
    /// Sections that only the other lists have, with at least one item.
    pub(super) others: Vec<(String, SectionCounts)>,
}

pub(super) fn count_sections(review: &Review) -> SectionStatistics {
    let mut all: Vec<(String, SectionCounts)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut suggested = 0;
    type Count = fn(&mut SectionCounts) -> &mut u64;
    let lists: [(&[FeedbackSection], Count); 4] = [
        (&review.suggestions, |counts| &mut counts.suggestions),
        (&review.accepted, |counts| &mut counts.accepted),
        (&review.rejected, |counts| &mut counts.rejected),
        (&review.user_created, |counts| &mut counts.user_added),
    ];
    for (index, (sections, count)) in lists.into_iter().enumerate() {
        for section in sections {
            let place = *places.entry(&section.name).or_insert_with(|| {
                all.push((section.name.clone(), SectionCounts::default()));
                all.len() - 1
            });
            *count(&mut all[place].1) += section.items.len() as u64;
        }
        if index == 0 {
            suggested = all.len();
        }
    }
    let mut others = all.split_off(suggested);
    others.retain(|(_, counts)| *counts != SectionCounts::default());
    SectionStatistics { suggested: all, others }
}

/// Minutes from the earliest to the latest activity, and per analyzed section, each rounded to two
/// decimals. 0 with fewer than two readable timestamps.
pub(super) fn measure_duration(review: &Review) -> (f64, f64) {
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
    let per_section = match review.section_names.len() {
        0 => 0.0,
        sections => minutes / sections as f64,
    };
    (round_to_cents(minutes), round_to_cents(per_section))
}

/// Rounds to two decimals as Python's `round` does: the double's exact value, ties to even.
fn round_to_cents(number: f64) -> f64 {
    format!("{number:.2}").parse().unwrap_or(number)
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;

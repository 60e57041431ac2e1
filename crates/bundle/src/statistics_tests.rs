#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::{FiniteNumber, JsonObject};

fn section(name: &str, items: Vec<FeedbackItem>) -> FeedbackSection {
    FeedbackSection { name: name.into(), items }
}

fn items(count: usize) -> Vec<FeedbackItem> {
    vec![FeedbackItem::default(); count]
}

fn with_risk(risk_level: Option<&str>) -> FeedbackItem {
    FeedbackItem { risk_level: risk_level.map(str::to_owned), ..FeedbackItem::default() }
}

fn free(key: &str, value: Json) -> FeedbackItem {
    FeedbackItem {
        additional_fields: JsonObject(BTreeMap::from([(key.to_owned(), value)])),
        ..FeedbackItem::default()
    }
}

fn named(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn activity(timestamp: &str) -> JsonObject {
    JsonObject(BTreeMap::from([("timestamp".into(), Json::String(timestamp.into()))]))
}

#[test]
fn unknown_risk_levels_follow_the_known_three() {
    let review = Review {
        suggestions: vec![
            section("a", vec![with_risk(Some("Severe")), with_risk(None), with_risk(Some("Low"))]),
            section(
                "b",
                vec![
                    free("risk_level", Json::Null),
                    free("risk_level", Json::Number(FiniteNumber::new(3.0).unwrap())),
                    free("risk_level", Json::Array(vec![Json::String("x".into())])),
                    with_risk(Some("Severe")),
                    with_risk(Some("high")),
                    with_risk(Some("")),
                ],
            ),
        ],
        ..Review::default()
    };
    let expected = named(&[
        ("High", 0),
        ("Medium", 0),
        ("Low", 3),
        ("Severe", 2),
        ("3", 1),
        ("[\"x\"]", 1),
        ("high", 1),
        ("", 1),
    ]);
    assert_eq!(count_risk_levels(&review), expected);
    assert_eq!(
        count_risk_levels(&Review::default()),
        named(&[("High", 0), ("Medium", 0), ("Low", 0)])
    );
}

#[test]
fn categories_are_in_order_of_appearance() {
    let item = |category: &str| FeedbackItem {
        category: Some(category.into()),
        ..FeedbackItem::default()
    };
    let review = Review {
        suggestions: vec![
            section("a", vec![item("Zeal"), FeedbackItem::default(), item("Art")]),
            section("b", vec![item("Zeal"), free("category", Json::Null), item("Unknown")]),
        ],
        accepted: vec![section("a", vec![item("Not counted")])],
        ..Review::default()
    };
    assert_eq!(count_categories(&review), named(&[("Zeal", 2), ("Unknown", 3), ("Art", 1)]));
    assert_eq!(count_categories(&Review::default()), []);
}

#[test]
fn sections_of_other_lists_are_counted_separately() {
    let review = Review {
        suggestions: vec![section("a", items(3)), section("empty", vec![])],
        accepted: vec![section("only accepted", items(2)), section("a", items(1))],
        rejected: vec![section("a", items(2)), section("never anything", vec![])],
        user_created: vec![section("only accepted", items(1)), section("empty", items(4))],
        ..Review::default()
    };
    let statistics = count_sections(&review);
    let counts = |suggestions, accepted, rejected, user_added| SectionCounts {
        suggestions,
        accepted,
        rejected,
        user_added,
    };
    assert_eq!(
        statistics.suggested,
        [("a".to_owned(), counts(3, 1, 2, 0)), ("empty".to_owned(), counts(0, 0, 0, 4)),]
    );
    assert_eq!(statistics.others, [("only accepted".to_owned(), counts(0, 2, 0, 1))]);
    assert_eq!(count_items(&review.accepted), 3);
}

#[test]
fn rates_are_unrounded() {
    assert_eq!(percent(2, 3), 66.666_666_666_666_66);
    assert_eq!(percent(13, 20), 65.0);
    assert_eq!(percent(3, 2), 150.0);
    assert_eq!(percent(5, 0), 0.0);
}

#[test]
fn duration_spans_the_earliest_and_latest_readable_times() {
    let mut review = Review {
        section_names: vec!["a".into(), "b".into(), "c".into()],
        activity_log: vec![
            activity("2026-11-01T09:10:00"),
            activity("soon"),
            JsonObject::default(),
            activity("2026-11-01T09:00:00.500Z"),
            JsonObject(BTreeMap::from([("timestamp".into(), Json::Null)])),
            activity("2026-11-01 11:00:00+01:00"),
        ],
        ..Review::default()
    };
    let measure = |review: &Review| measure_duration(review, FormatVersion::CURRENT);
    // 59 minutes and 59.5 seconds: a total of 59.9917, and 19.9972 for each of three sections.
    assert_eq!(measure(&review), (59.99, 20.0));
    review.section_names.clear();
    assert_eq!(measure(&review), (59.99, 0.0));
    review.activity_log.truncate(3);
    assert_eq!(measure(&review), (0.0, 0.0));
    review.activity_log.clear();
    assert_eq!(measure(&review), (0.0, 0.0));
}

#[test]
fn average_per_section_is_of_the_rounded_duration_from_version_2_on() {
    let review = Review {
        section_names: vec!["s".into(); 8],
        activity_log: vec![activity("2026-11-01T09:00:00"), activity("2026-11-01T10:36:55")],
        ..Review::default()
    };
    // CPython: round(5815 / 60, 2) is 96.92, round(96.92 / 8, 2) is 12.12, and
    // round(5815 / 60 / 8, 2) is 12.11.
    assert_eq!(measure_duration(&review, FormatVersion::V1), (96.92, 12.11));
    assert_eq!(measure_duration(&review, FormatVersion::V2), (96.92, 12.12));
}

#[test]
fn rounding_is_as_in_python() {
    // CPython: round(2.675, 2) is 2.67, round(0.125, 2) is 0.12, round(0.375, 2) is 0.38.
    for (number, rounded) in
        [(2.675, 2.67), (0.125, 0.12), (0.375, 0.38), (33.166_666, 33.17), (0.0, 0.0)]
    {
        assert_eq!(round_to_cents(number), rounded);
    }
}

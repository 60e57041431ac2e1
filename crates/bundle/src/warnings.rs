//! Warnings about a review before its export.

use std::collections::HashSet;

use super::{
    FeedbackItem, Review,
    statistics::{count_items, name_under},
    visible::Visible,
};

/// A warning about a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The reason.
    pub reason: WarningReason,
    /// Human-readable explanation.
    pub message: String,
}

/// The reason of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningReason {
    /// The reviewer accepted nothing.
    NothingAccepted,
    /// The review names no guidelines.
    NoGuidelines,
    /// No document is exported.
    NoDocuments,
    /// The review has no feedback.
    NoFeedback,
    /// Accepted items have ids of no suggestion.
    UnknownAcceptedId,
    /// The client replaced values of the review.
    ValuesReplaced,
}

impl WarningReason {
    /// The reason as an UPPER_SNAKE word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NothingAccepted => "NOTHING_ACCEPTED",
            Self::NoGuidelines => "NO_GUIDELINES",
            Self::NoDocuments => "NO_DOCUMENTS",
            Self::NoFeedback => "NO_FEEDBACK",
            Self::UnknownAcceptedId => "UNKNOWN_ACCEPTED_ID",
            Self::ValuesReplaced => "VALUES_REPLACED",
        }
    }
}

/// The warnings about this review.
pub fn warnings(review: &Review, has_documents: bool) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |reason, message: String| warnings.push(Warning { reason, message });

    let lists = [&review.suggestions, &review.accepted, &review.rejected, &review.user_created];
    if lists.iter().all(|list| count_items(list) == 0) {
        warn(WarningReason::NoFeedback, "The review has no feedback at all.".to_owned());
    } else if count_items(&review.accepted) == 0 {
        warn(WarningReason::NothingAccepted, "The reviewer accepted no feedback.".to_owned());
    }
    if review.guidelines_name.as_deref().unwrap_or_default().is_empty() {
        let message = "The review names no guidelines.";
        warn(WarningReason::NoGuidelines, message.to_owned());
    }
    if !has_documents {
        let message =
            "No document is exported: the bundle will contain only feedback, logs and reports.";
        warn(WarningReason::NoDocuments, message.to_owned());
    }
    let unknown = unknown_accepted_ids(review);
    if !unknown.is_empty() {
        warn(WarningReason::UnknownAcceptedId, describe(&unknown));
    }
    match review.replacements.len() {
        0 => {}
        1 => {
            let message = "The client could not send one value of the review and replaced it.";
            warn(WarningReason::ValuesReplaced, message.to_owned());
        }
        count => {
            let message = format!(
                "The client could not send {count} values of the review and replaced them."
            );
            warn(WarningReason::ValuesReplaced, message);
        }
    }
    warnings
}

/// Ids of accepted items that are in no suggestion and in no feedback of the reviewer, each once.
fn unknown_accepted_ids(review: &Review) -> Vec<String> {
    let id = |item: &FeedbackItem| name_under(item, "id");
    let sections = review.suggestions.iter().chain(&review.user_created);
    let mut known: HashSet<String> =
        sections.flat_map(|section| &section.items).filter_map(id).collect();
    let accepted = review.accepted.iter().flat_map(|section| &section.items);
    accepted
        .filter(|item| item.user_created != Some(true))
        .filter_map(id)
        .filter(|id| known.insert(id.clone()))
        .collect()
}

fn describe(ids: &[String]) -> String {
    const MAX_IDS: usize = 10;
    const MAX_CHARACTERS: usize = 64;
    let shown = ids.iter().take(MAX_IDS).map(|id| match id.char_indices().nth(MAX_CHARACTERS) {
        None => Visible(id).to_string(),
        Some((end, _)) => format!("{}…", Visible(&id[..end])),
    });
    let mut message = format!(
        "Accepted items have ids of no suggestion: {}",
        shown.collect::<Vec<_>>().join(", ")
    );
    if ids.len() > MAX_IDS {
        message.push_str(&format!(" and {} more", ids.len() - MAX_IDS));
    }
    message.push('.');
    message
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{FeedbackSection, Replacement};

    fn item(id: &str) -> FeedbackItem {
        FeedbackItem { id: Some(id.to_owned()), ..FeedbackItem::default() }
    }

    fn list(items: Vec<FeedbackItem>) -> Vec<FeedbackSection> {
        vec![FeedbackSection { name: "s".into(), items }]
    }

    fn complete_review() -> Review {
        Review {
            guidelines_name: Some("g".into()),
            suggestions: list(vec![item("1"), item("2")]),
            accepted: list(vec![item("1")]),
            ..Review::default()
        }
    }

    fn reasons(review: &Review, has_documents: bool) -> Vec<&'static str> {
        warnings(review, has_documents).iter().map(|warning| warning.reason.as_str()).collect()
    }

    #[test]
    fn complete_review_has_no_warnings() {
        assert_eq!(warnings(&complete_review(), true), []);
    }

    #[test]
    fn each_missing_part_has_its_warning() {
        let mut review = complete_review();
        assert_eq!(reasons(&review, false), ["NO_DOCUMENTS"]);
        review.guidelines_name = None;
        assert_eq!(reasons(&review, true), ["NO_GUIDELINES"]);
        review.guidelines_name = Some(String::new());
        assert_eq!(reasons(&review, true), ["NO_GUIDELINES"]);
        review = Review { accepted: list(vec![]), ..complete_review() };
        assert_eq!(reasons(&review, true), ["NOTHING_ACCEPTED"]);
        assert_eq!(
            reasons(&Review::default(), false),
            ["NO_FEEDBACK", "NO_GUIDELINES", "NO_DOCUMENTS"]
        );
        review = Review { accepted: list(vec![FeedbackItem::default()]), ..complete_review() };
        assert_eq!(reasons(&review, true), [""; 0]);
    }

    #[test]
    fn replacements_have_one_warning_with_their_count() {
        let mut review = Review { replacements: vec![Replacement::default()], ..complete_review() };
        let [one] = warnings(&review, true).try_into().unwrap();
        assert_eq!(one.reason.as_str(), "VALUES_REPLACED");
        assert_eq!(
            one.message,
            "The client could not send one value of the review and replaced it."
        );
        review.replacements.resize(12, Replacement::default());
        let [twelve] = warnings(&review, true).try_into().unwrap();
        assert_eq!(
            twelve.message,
            "The client could not send 12 values of the review and replaced them."
        );
    }

    #[test]
    fn accepted_ids_without_a_suggestion_are_listed_once() {
        let own = FeedbackItem { user_created: Some(true), ..item("own") };
        let mut accepted = vec![item("1"), item("x\n"), own, item("custom"), item("x\n")];
        let mut review = Review {
            accepted: list(accepted.clone()),
            user_created: list(vec![item("custom")]),
            ..complete_review()
        };
        let [warning] = warnings(&review, true).try_into().unwrap();
        assert_eq!(warning.reason, WarningReason::UnknownAcceptedId);
        assert_eq!(warning.message, "Accepted items have ids of no suggestion: x<U+000A>.");

        accepted.extend((3..14).map(|n| item(&n.to_string())));
        accepted.push(item(&"é".repeat(100)));
        review.accepted = list(accepted);
        let [warning] = warnings(&review, true).try_into().unwrap();
        assert_eq!(
            warning.message,
            "Accepted items have ids of no suggestion: x<U+000A>, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more."
        );
        review.accepted = list(vec![item(&"é".repeat(100))]);
        let [warning] = warnings(&review, true).try_into().unwrap();
        assert_eq!(
            warning.message,
            format!("Accepted items have ids of no suggestion: {}….", "é".repeat(64))
        );
    }
}

//! What a person should know before exporting a review.

use std::collections::HashSet;

use super::{
    FeedbackItem, Review,
    statistics::{count_items, name_under},
    visible::Visible,
};

/// Something a person should know before exporting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is about.
    pub reason: WarningReason,
    /// The same for a person.
    pub message: String,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningReason {
    /// The reviewer accepted nothing.
    NothingAccepted,
    /// The review names no guidelines.
    NoGuidelines,
    /// No document is exported.
    NoDocuments,
    /// No list has an item.
    NoFeedback,
    /// Accepted items refer to no suggestion.
    UnknownAcceptedId,
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
        }
    }
}

/// What a person should know about this review.
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
        let message = "The review names no guidelines that the document was held against.";
        warn(WarningReason::NoGuidelines, message.to_owned());
    }
    if !has_documents {
        let message =
            "No document is exported: the bundle will hold feedback, logs and reports only.";
        warn(WarningReason::NoDocuments, message.to_owned());
    }
    let unknown = unknown_accepted_ids(review);
    if !unknown.is_empty() {
        warn(WarningReason::UnknownAcceptedId, describe(&unknown));
    }
    warnings
}

/// Ids of accepted items that neither the assistant suggested nor the reviewer wrote, each once.
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
    const MOST_IDS: usize = 10;
    const MOST_CHARACTERS: usize = 64;
    let shown = ids.iter().take(MOST_IDS).map(|id| match id.char_indices().nth(MOST_CHARACTERS) {
        None => Visible(id).to_string(),
        Some((end, _)) => format!("{}…", Visible(&id[..end])),
    });
    let mut message =
        format!("Accepted ids that no suggestion has: {}", shown.collect::<Vec<_>>().join(", "));
    if ids.len() > MOST_IDS {
        message.push_str(&format!(" and {} more", ids.len() - MOST_IDS));
    }
    message.push('.');
    message
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bundle::FeedbackSection;

    fn item(id: &str) -> FeedbackItem {
        FeedbackItem { id: Some(id.to_owned()), ..FeedbackItem::default() }
    }

    fn list(items: Vec<FeedbackItem>) -> Vec<FeedbackSection> {
        vec![FeedbackSection { name: "s".into(), items }]
    }

    fn whole_review() -> Review {
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
    fn a_whole_review_has_no_warnings() {
        assert_eq!(warnings(&whole_review(), true), []);
    }

    #[test]
    fn each_gap_has_its_warning() {
        let none: [&str; 0] = [];
        let mut review = whole_review();
        assert_eq!(reasons(&review, false), ["NO_DOCUMENTS"]);
        review.guidelines_name = None;
        assert_eq!(reasons(&review, true), ["NO_GUIDELINES"]);
        review.guidelines_name = Some(String::new());
        assert_eq!(reasons(&review, true), ["NO_GUIDELINES"]);
        review = Review { accepted: list(vec![]), ..whole_review() };
        assert_eq!(reasons(&review, true), ["NOTHING_ACCEPTED"]);
        assert_eq!(
            reasons(&Review::default(), false),
            ["NO_FEEDBACK", "NO_GUIDELINES", "NO_DOCUMENTS"]
        );
        review = Review { accepted: list(vec![FeedbackItem::default()]), ..whole_review() };
        assert_eq!(reasons(&review, true), none);
    }

    #[test]
    fn accepted_ids_without_a_suggestion_are_listed_once() {
        let own = FeedbackItem { user_created: Some(true), ..item("own") };
        let mut accepted = vec![item("1"), item("x\n"), own, item("custom"), item("x\n")];
        let mut review = Review {
            accepted: list(accepted.clone()),
            user_created: list(vec![item("custom")]),
            ..whole_review()
        };
        let [warning] = warnings(&review, true).try_into().unwrap();
        assert_eq!(warning.reason, WarningReason::UnknownAcceptedId);
        assert_eq!(warning.message, "Accepted ids that no suggestion has: x<U+000A>.");

        accepted.extend((3..14).map(|n| item(&n.to_string())));
        accepted.push(item(&"é".repeat(100)));
        review.accepted = list(accepted);
        let [warning] = warnings(&review, true).try_into().unwrap();
        assert_eq!(
            warning.message,
            "Accepted ids that no suggestion has: x<U+000A>, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more."
        );
        review.accepted = list(vec![item(&"é".repeat(100))]);
        let [warning] = warnings(&review, true).try_into().unwrap();
        assert_eq!(
            warning.message,
            format!("Accepted ids that no suggestion has: {}….", "é".repeat(64))
        );
    }
}

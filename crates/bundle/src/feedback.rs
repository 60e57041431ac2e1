//! The feedback files: one for each feedback list of the review.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    AcceptedTime, ArtifactPath, FeedbackItem, FeedbackSection, Json, Review, format::to_json_pretty,
};

/// The value of a known key, whether it is typed or free.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum KnownValue<'a> {
    Text(&'a str),
    Texts(&'a [String]),
    Integers(&'a [i64]),
    Double(f64),
    Bool(bool),
    /// Null, an empty list, or a value of another type than that of the key.
    Free(&'a Json),
}

impl FeedbackItem {
    /// The known keys that the item has, in the order of [`Self::KEYS`].
    fn known_values(&self) -> impl Iterator<Item = (&'static str, KnownValue<'_>)> {
        Self::KEYS.into_iter().filter_map(|key| Some((key, self.known_value(key)?)))
    }

    /// The value of a known key; `None` if the item does not have it.
    pub(super) fn known_value(&self, key: &str) -> Option<KnownValue<'_>> {
        let typed = match key {
            "id" => self.id.as_deref().map(KnownValue::Text),
            "type" => self.r#type.as_deref().map(KnownValue::Text),
            "category" => self.category.as_deref().map(KnownValue::Text),
            "description" => self.description.as_deref().map(KnownValue::Text),
            "suggestion" => self.suggestion.as_deref().map(KnownValue::Text),
            "example" => self.example.as_deref().map(KnownValue::Text),
            // An empty list is sent as a free value: an empty typed list is absent.
            "questions" => {
                (!self.questions.is_empty()).then_some(KnownValue::Texts(&self.questions))
            }
            "hawkeye_refs" => {
                (!self.hawkeye_refs.is_empty()).then_some(KnownValue::Integers(&self.hawkeye_refs))
            }
            "risk_level" => self.risk_level.as_deref().map(KnownValue::Text),
            "confidence" => self.confidence.map(KnownValue::Double),
            "user_created" => self.user_created.map(KnownValue::Bool),
            "timestamp" => self.timestamp.as_deref().map(KnownValue::Text),
            "ai_reference" => self.ai_reference.as_deref().map(KnownValue::Text),
            "ai_id" => self.ai_id.as_deref().map(KnownValue::Text),
            _ => None,
        };
        typed.or_else(|| match self.additional_fields.0.get(key)? {
            Json::String(text) => Some(KnownValue::Text(text)),
            free => Some(KnownValue::Free(free)),
        })
    }
}

impl Serialize for FeedbackItem {
    /// Writes one flat object: the known keys in their order, then the free ones by code point.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.known_values() {
            map.serialize_entry(key, &value)?;
        }
        for (key, value) in &self.additional_fields.0 {
            if !Self::KEYS.contains(&key.as_str()) {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct FeedbackFile<'a> {
    export_info: ExportInfo,
    feedback_by_section: BySection<'a>,
}

#[derive(Serialize)]
struct ExportInfo {
    description: &'static str,
    timestamp: AcceptedTime,
    total_sections: usize,
    total_items: usize,
}

/// Sections as an object whose keys are their names, in the list's order.
struct BySection<'a>(&'a [FeedbackSection]);

impl Serialize for BySection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|section| (&section.name, &section.items)))
    }
}

/// Renders the four feedback files.
pub(super) fn render(review: &Review, accepted_time: AcceptedTime) -> [(ArtifactPath, Vec<u8>); 4] {
    let file = |path, description, sections: &[FeedbackSection]| {
        let file = FeedbackFile {
            export_info: ExportInfo {
                description,
                timestamp: accepted_time,
                total_sections: sections.len(),
                total_items: sections.iter().map(|section| section.items.len()).sum(),
            },
            feedback_by_section: BySection(sections),
        };
        (path, to_json_pretty(&file))
    };
    [
        file(
            ArtifactPath::accepted_feedback(),
            "Feedback that the reviewer accepted",
            &review.accepted,
        ),
        file(
            ArtifactPath::all_ai_suggestions(),
            "Everything that the AI assistant suggested",
            &review.suggestions,
        ),
        file(
            ArtifactPath::rejected_feedback(),
            "Feedback that the reviewer rejected",
            &review.rejected,
        ),
        file(
            ArtifactPath::user_custom_feedback(),
            "Feedback that the reviewer added",
            &review.user_created,
        ),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{FiniteNumber, JsonObject, format::to_json_compact};

    fn compact(item: &FeedbackItem) -> String {
        String::from_utf8(to_json_compact(item)).unwrap()
    }

    #[test]
    fn known_keys_precede_free_ones() {
        let item = FeedbackItem {
            id: Some("1".into()),
            r#type: Some("critical".into()),
            category: Some("c".into()),
            description: Some("d".into()),
            suggestion: Some("s".into()),
            example: Some("e".into()),
            questions: vec!["q".into()],
            hawkeye_refs: vec![i64::MAX],
            risk_level: Some("High".into()),
            confidence: Some(1.0),
            user_created: Some(false),
            timestamp: Some("t".into()),
            ai_reference: Some(String::new()),
            ai_id: Some("a".into()),
            additional_fields: JsonObject(BTreeMap::from([
                ("é".into(), Json::Null),
                ("Z".into(), Json::Bool(true)),
                ("a".into(), Json::Number(FiniteNumber::new(1.0).unwrap())),
            ])),
        };
        assert_eq!(
            compact(&item),
            "{\"id\":\"1\",\"type\":\"critical\",\"category\":\"c\",\"description\":\"d\",\
             \"suggestion\":\"s\",\"example\":\"e\",\"questions\":[\"q\"],\
             \"hawkeye_refs\":[9223372036854775807],\"risk_level\":\"High\",\"confidence\":1.0,\
             \"user_created\":false,\"timestamp\":\"t\",\"ai_reference\":\"\",\"ai_id\":\"a\",\
             \"Z\":true,\"a\":1,\"é\":null}"
        );
        // The item has a value for every known key.
        assert_eq!(item.known_values().count(), FeedbackItem::KEYS.len());
    }

    #[test]
    fn known_keys_with_free_values_keep_their_order() {
        let item = FeedbackItem {
            id: Some("1".into()),
            confidence: Some(0.5),
            additional_fields: JsonObject(BTreeMap::from([
                ("ai_id".into(), Json::Null),
                ("category".into(), Json::Number(FiniteNumber::new(7.0).unwrap())),
                ("extra".into(), Json::Array(vec![])),
                ("questions".into(), Json::Array(vec![])),
            ])),
            ..FeedbackItem::default()
        };
        assert_eq!(
            compact(&item),
            r#"{"id":"1","category":7,"questions":[],"confidence":0.5,"ai_id":null,"extra":[]}"#
        );
        assert_eq!(compact(&FeedbackItem::default()), "{}");
    }
}

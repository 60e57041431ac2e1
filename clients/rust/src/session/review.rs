//! Reads `session.json`.

use super::{
    item::item,
    values::{list, structs, text, to_struct},
    wrong_type,
};
use crate::{
    exact_json::{Json, JsonError, Path, Place, read},
    proto::{FeedbackSection, Review},
    replaced::{self, Reason, Replacements},
};

/// The keys of a `session.json` that are exported.
const KEYS: [&str; 15] = [
    "session_id",
    "document_name",
    "reviewer",
    "guidelines_name",
    "guidelines_preference",
    SECTIONS,
    "feedback_data",
    "accepted_feedback",
    "rejected_feedback",
    "user_feedback",
    "activity_log",
    "chat_history",
    "audit_logs",
    "activity_timeline",
    "performance_metrics",
];
/// The sections' names. If they are an object, its keys are the names, and its values are not exported.
const SECTIONS: &str = "sections";

/// Reads the text of a `session.json`. Returns the review and a warning for each replaced value and for
/// each key that is not exported. A null value is the same as a missing key. Values that a request cannot
/// have are replaced: `clients/README.md` has the rules.
///
/// # Errors
/// The text is not a JSON object, or has more than a million values.
pub fn review_from_json(text: impl AsRef<[u8]>) -> Result<(Review, Vec<String>), JsonError> {
    let mut replaced = Replacements::default();
    let json = read(text.as_ref(), &mut replaced, is_exported)?;
    let Json::Object(entries) = json else {
        return Err(wrong_type(&Path::Top, "an object", &json));
    };
    let mut review = Review::default();
    let mut warnings = Vec::new();
    for (key, value) in entries {
        let path = Path::Top.key(&key);
        if !set_field(&mut review, &key, value, &path, &mut replaced) {
            warnings.push(format!("{path}: not a key of a review, ignored"));
        }
    }
    replaced.append_to(&mut review.replacements, replaced::of_session);
    warnings.extend(replaced.warnings());
    Ok((review, warnings))
}

/// Whether the review has the text or key at `path`.
fn is_exported(path: &Path<'_>, place: Place) -> bool {
    let (mut below, mut path) = (None, *path);
    loop {
        match path {
            Path::Top => return false,
            Path::Key(Path::Top, SECTIONS) => break,
            Path::Key(Path::Top, key) => return KEYS.contains(&key),
            Path::Key(parent, _) | Path::Index(parent, _) => (below, path) = (Some(path), *parent),
        }
    }
    // The texts of the sections' object are not exported, but its keys are.
    !matches!((below, place), (Some(Path::Key(..)), Place::Value))
}

/// Sets the field of `key`. Returns whether the key is known.
fn set_field(
    review: &mut Review,
    key: &str,
    value: Json,
    path: &Path<'_>,
    replaced: &mut Replacements,
) -> bool {
    match key {
        "session_id" => review.session_id = text(value, path, replaced).unwrap_or_default(),
        "document_name" => review.document_name = text(value, path, replaced).unwrap_or_default(),
        "reviewer" => review.reviewer = text(value, path, replaced).unwrap_or_default(),
        "guidelines_name" => review.guidelines_name = text(value, path, replaced),
        "guidelines_preference" => {
            review.guidelines_preference = text(value, path, replaced).unwrap_or_default();
        }
        SECTIONS => review.section_names = section_names(value, path, replaced),
        "feedback_data" => review.suggestions = sections(value, path, replaced),
        "accepted_feedback" => review.accepted = sections(value, path, replaced),
        "rejected_feedback" => review.rejected = sections(value, path, replaced),
        "user_feedback" => review.user_created = sections(value, path, replaced),
        "activity_log" => review.activity_log = structs(value, path, replaced),
        "chat_history" => review.chat_history = structs(value, path, replaced),
        "audit_logs" => review.audit_logs = structs(value, path, replaced),
        "activity_timeline" => review.activity_timeline = structs(value, path, replaced),
        "performance_metrics" => {
            let is_absent = matches!(value, Json::Null);
            review.performance_metrics = (!is_absent).then(|| to_struct(value, path, replaced));
        }
        _ => return false,
    }
    true
}

/// Reads the section names: the keys of an object, whose texts are ignored, or a list of names.
fn section_names(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> Vec<String> {
    if let Json::Object(entries) = json {
        return entries.into_iter().map(|(name, _)| name).collect();
    }
    list(json, path, replaced)
        .into_iter()
        .enumerate()
        .map(|(index, element)| {
            text(element, &path.index(index), replaced).unwrap_or_else(|| "null".to_owned())
        })
        .collect()
}

/// Reads the feedback by section, in the order of the text. The reader has made the names unique. Items
/// without a section get one without a name.
fn sections(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> Vec<FeedbackSection> {
    let entries = match json {
        Json::Null => return Vec::new(),
        Json::Object(entries) => entries,
        other => {
            replaced.add(path, Reason::WrongType);
            vec![(String::new(), other)]
        }
    };
    entries
        .into_iter()
        .map(|(name, value)| {
            let path = path.key(&name);
            let elements = list(value, &path, replaced).into_iter().enumerate();
            let items = elements
                .map(|(index, element)| item(element, &path.index(index), replaced))
                .collect();
            FeedbackSection { name, items }
        })
        .collect()
}

//! Free-form values: what a request cannot have becomes text.

use super::{Reason, Replacements};
use crate::{
    exact_json::{Json, Number, Path},
    json::MAX_FREE_FORM_DEPTH,
};

/// Maximum nesting depth of the JSON text of a value that is nested too deep. Deeper lists and objects
/// become null.
const MAX_TEXT_DEPTH: usize = 100;

/// Replaces what a free-form value of a request cannot have. `level` is the nesting depth of the value
/// if it is a list or object; the free-form object itself has level 1.
pub(crate) fn without_unsendable(
    json: Json,
    path: &Path<'_>,
    level: usize,
    replaced: &mut Replacements,
) -> Json {
    match json {
        Json::Number(number) => match number.as_double() {
            Ok(_) => Json::Number(number),
            Err((text, reason)) => {
                replaced.add(path, reason);
                Json::String(text)
            }
        },
        Json::Array(_) | Json::Object(_) if level > MAX_FREE_FORM_DEPTH => {
            replaced.add(path, Reason::TooDeep);
            let mut text = String::new();
            write(&json, path, level, replaced, &mut text);
            Json::String(text)
        }
        Json::Array(elements) => {
            let elements = elements.into_iter().enumerate();
            let clean = elements.map(|(index, element)| {
                without_unsendable(element, &path.index(index), level + 1, replaced)
            });
            Json::Array(clean.collect())
        }
        Json::Object(entries) => {
            let clean = entries.into_iter().map(|(key, value)| {
                let value = without_unsendable(value, &path.key(&key), level + 1, replaced);
                (key, value)
            });
            Json::Object(clean.collect())
        }
        Json::Null | Json::Bool(_) | Json::String(_) => json,
    }
}

/// Writes the value as JSON without spaces. The text of a string is the string itself.
pub(crate) fn json_text(json: Json, path: &Path<'_>, replaced: &mut Replacements) -> String {
    match json {
        Json::String(text) => text,
        other => {
            let mut text = String::new();
            write(&other, path, 1, replaced, &mut text);
            text
        }
    }
}

fn write(
    json: &Json,
    path: &Path<'_>,
    level: usize,
    replaced: &mut Replacements,
    text: &mut String,
) {
    match json {
        Json::Null => text.push_str("null"),
        Json::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Json::String(value) => write_string(value, text),
        Json::Number(number) => match number.json_digits() {
            Ok(digits) => text.push_str(&digits),
            Err((value, reason)) => {
                replaced.add(path, reason);
                write_string(&value, text);
            }
        },
        Json::Array(_) | Json::Object(_) if level > MAX_TEXT_DEPTH => {
            replaced.add(path, Reason::TooDeep);
            text.push_str("null");
        }
        Json::Array(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(element, &path.index(index), level + 1, replaced, text);
            }
            text.push(']');
        }
        Json::Object(entries) => {
            text.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(key, text);
                text.push(':');
                write(value, &path.key(key), level + 1, replaced, text);
            }
            text.push('}');
        }
    }
}

fn write_string(value: &str, text: &mut String) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

impl Number {
    /// The number as JSON writes it, or a text and the reason if JSON cannot.
    fn json_digits(&self) -> Result<String, (String, Reason)> {
        match self {
            Self::Integer(integer) => Ok(integer.to_string()),
            Self::HugeInteger(digits) => Ok(digits.clone()),
            Self::Float(double)
                if double.fract() == 0.0 && double.abs() <= 9_007_199_254_740_992.0 =>
            {
                Ok(format!("{double:.0}"))
            }
            Self::Float(double) => Ok(serde_json::Value::from(*double).to_string()),
            Self::NotFinite(_) | Self::BeyondDouble(_) => {
                Err(self.as_double().err().unwrap_or_else(
                    // Both are never doubles.
                    || (String::new(), Reason::NotFinite),
                ))
            }
        }
    }
}

//! Parses JSON.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Json, JsonError, Number, Path,
    repair::{Change, Repaired},
};
use crate::replaced::{Reason, Replacements};

/// Maximum nesting depth of lists and objects that are read; deeper ones become null. Bounds the stack.
/// Beyond 100 levels of free-form fields, the conversion replaces and lists them.
const MAX_DEPTH: usize = 120;

/// Maximum number of values in a text; a large review has about ten thousand. Bounds the memory: each
/// value takes up to 300 bytes while the text is read.
const MAX_VALUES: usize = 1_000_000;

/// Whether a replacement is in a key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Key,
    Value,
}

/// Reads a JSON text. Lists each text and key that it changes if `is_exported` its path.
///
/// # Errors
/// The text is not JSON, or has too many values.
pub(crate) fn read(
    text: &[u8],
    replaced: &mut Replacements,
    is_exported: fn(&Path<'_>, Place) -> bool,
) -> Result<Json, JsonError> {
    // Some editors write a byte order mark; RFC 8259 allows readers to ignore it.
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let repaired = Repaired::new(text);
    let text = repaired.text.as_str();
    check_count(text)?;
    let mut reader = Reader { text, repaired: &repaired, replaced, is_exported };
    let raw: &RawValue = reader.parse(text)?;
    reader.value(raw.get(), &Path::Top, 0)
}

/// Rejects a text with too many values, which would take hundreds of times its size in memory. Counts the
/// characters that start a value: `,` `[` and `{` outside strings.
fn check_count(text: &str) -> Result<(), JsonError> {
    let (mut count, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    match count {
        ..=MAX_VALUES => Ok(()),
        _ => Err(JsonError::at(&Path::Top, format!("has more than {MAX_VALUES} values"))),
    }
}

struct Reader<'a, 'r> {
    text: &'a str,
    repaired: &'r Repaired,
    replaced: &'r mut Replacements,
    is_exported: fn(&Path<'_>, Place) -> bool,
}

impl<'a> Reader<'a, '_> {
    /// Reads the value in `raw`, which is a slice of the text.
    fn value(&mut self, raw: &'a str, path: &Path<'_>, depth: usize) -> Result<Json, JsonError> {
        match raw.as_bytes().first() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Ok(Json::Null),
            Some(b'{') => self.object(raw, path, depth + 1),
            Some(b'[') => {
                let elements: Vec<&RawValue> = self.parse(raw)?;
                let elements = elements.into_iter().enumerate();
                let array = elements
                    .map(|(index, raw)| self.value(raw.get(), &path.index(index), depth + 1))
                    .collect::<Result<_, _>>()?;
                Ok(Json::Array(array))
            }
            Some(b'"') => {
                if self.change_in(raw).is_some() {
                    self.add(path, Place::Value, Reason::NotUnicode);
                }
                Ok(Json::String(self.parse(raw)?))
            }
            Some(b'-' | b'0'..=b'9') => Ok(Json::Number(match self.change_in(raw) {
                Some(Change::NotFinite(name)) => Number::NotFinite(name),
                _ => number(raw),
            })),
            Some(b'n') => Ok(Json::Null),
            _ => Ok(Json::Bool(self.parse(raw)?)),
        }
    }

    fn object(&mut self, raw: &'a str, path: &Path<'_>, depth: usize) -> Result<Json, JsonError> {
        let Entries(entries) = self.parse(raw)?;
        // The number of the last key with this text.
        let mut keys: HashMap<String, usize> = HashMap::with_capacity(entries.len());
        let mut object = Vec::with_capacity(entries.len());
        for (raw_key, raw) in entries {
            let text: String = self.parse(raw_key.get())?;
            let mut key = text.clone();
            let mut reason = self.change_in(raw_key.get()).map(|_| Reason::NotUnicode);
            while keys.contains_key(&key) {
                reason = Some(Reason::DuplicateKey);
                let number = keys.entry(text.clone()).or_default();
                *number += 1;
                key = format!("{text} ({number})");
            }
            keys.insert(key.clone(), 1);
            let path = path.key(&key);
            if let Some(reason) = reason {
                self.add(&path, Place::Key, reason);
            }
            let value = self.value(raw.get(), &path, depth)?;
            object.push((key, value));
        }
        Ok(Json::Object(object))
    }

    /// The change in a piece of the text.
    fn change_in(&self, piece: &str) -> Option<Change> {
        let start = piece.as_ptr() as usize - self.text.as_ptr() as usize;
        self.repaired.change_in(start, start + piece.len())
    }

    fn add(&mut self, path: &Path<'_>, place: Place, reason: Reason) {
        if (self.is_exported)(path, place) {
            self.replaced.add(path, reason);
        }
    }

    fn parse<T: Deserialize<'a>>(&self, piece: &'a str) -> Result<T, JsonError> {
        serde_json::from_str(piece).map_err(|error| self.syntax_error(piece, &error))
    }

    /// Converts the error's position in `piece` to a position in the text.
    fn syntax_error(&self, piece: &str, error: &serde_json::Error) -> JsonError {
        let piece_start = piece.as_ptr() as usize - self.text.as_ptr() as usize;
        let line_start: usize =
            piece.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let offset = piece_start + line_start + error.column().saturating_sub(1);
        let offset = self.text.floor_char_boundary(offset);
        let before = &self.text[..offset];
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        JsonError::Syntax {
            line: before.matches('\n').count() + 1,
            column,
            message: explain(error),
        }
    }
}

/// Describes the error without its position.
fn explain(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&position).unwrap_or(&message).to_owned()
}

/// Reads a number token, which serde_json has already validated.
fn number(token: &str) -> Number {
    let is_integer = token != "-0" && !token.contains(['.', 'e', 'E']);
    if is_integer {
        return match token.parse() {
            Ok(integer) => Number::Integer(integer),
            Err(_) => Number::HugeInteger(token.to_owned()),
        };
    }
    // The standard library returns the nearest double; serde_json does only with a feature.
    match token.parse::<f64>() {
        Ok(double) if double.is_finite() => Number::Float(double),
        _ => Number::BeyondDouble(token.to_owned()),
    }
}

/// An object's entries in their order, with raw keys and values.
struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

//! Text to JSON.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Json, JsonError, Number, Path};

/// Lists and objects may be nested this deep. It bounds the stack, and leaves room for the 30 levels
/// of free fields below the few levels of a request.
const MAX_DEPTH: usize = 40;

/// A text may have this many values: a large review has some ten thousand. It bounds the memory: each
/// takes up to 300 bytes while the text is read.
const MAX_VALUES: usize = 1_000_000;

/// Reads a JSON text.
///
/// # Errors
/// Where and why the text is no JSON, or its value can't be kept: two equal keys in one object,
/// nesting deeper than 40 levels, a number that is larger than any double.
pub(crate) fn read(text: &str) -> Result<Json, JsonError> {
    // Some editors begin a file with a byte order mark; RFC 8259 lets readers ignore it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_count(text)?;
    let reader = Reader { text };
    let raw: &RawValue = reader.parse(text)?;
    reader.value(raw.get(), &Path::Top, 0)
}

/// Refuses a text with so many values that they would take hundreds of times its size in memory. Counts
/// what begins a value: the `,` `[` and `{` outside strings.
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

struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    /// Reads the value that `raw`, a piece of the whole text, holds.
    fn value(&self, raw: &'a str, path: &Path<'_>, depth: usize) -> Result<Json, JsonError> {
        match raw.as_bytes().first() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => {
                Err(JsonError::at(path, format!("is nested deeper than {MAX_DEPTH} levels")))
            }
            Some(b'{') => self.object(raw, path, depth + 1),
            Some(b'[') => {
                let elements: Vec<&RawValue> = self.parse(raw)?;
                let elements = elements.into_iter().enumerate();
                let array = elements
                    .map(|(index, raw)| self.value(raw.get(), &path.index(index), depth + 1))
                    .collect::<Result<_, _>>()?;
                Ok(Json::Array(array))
            }
            Some(b'"') => Ok(Json::String(self.parse(raw)?)),
            Some(b'-' | b'0'..=b'9') => number(raw, path).map(Json::Number),
            Some(b'n') => Ok(Json::Null),
            _ => Ok(Json::Bool(self.parse(raw)?)),
        }
    }

    fn object(&self, raw: &'a str, path: &Path<'_>, depth: usize) -> Result<Json, JsonError> {
        let Entries(entries) = self.parse(raw)?;
        let mut keys = HashSet::with_capacity(entries.len());
        for (key, _) in &entries {
            if !keys.insert(key.as_str()) {
                return Err(JsonError::at(&path.key(key), "stands twice in its object"));
            }
        }
        let object = entries
            .into_iter()
            .map(|(key, raw)| {
                let value = self.value(raw.get(), &path.key(&key), depth)?;
                Ok((key, value))
            })
            .collect::<Result<_, JsonError>>()?;
        Ok(Json::Object(object))
    }

    fn parse<T: Deserialize<'a>>(&self, piece: &'a str) -> Result<T, JsonError> {
        serde_json::from_str(piece).map_err(|error| self.syntax_error(piece, &error))
    }

    /// The error with its place in the whole text instead of in the piece.
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
            message: explain(error, before, &self.text[offset..]),
        }
    }
}

/// What is wrong, in words that help with what other languages' JSON writers produce.
fn explain(error: &serde_json::Error, before: &str, rest: &str) -> String {
    if rest.starts_with("NaN") {
        return "NaN is no JSON value".to_owned();
    }
    if rest.starts_with("Infinity") {
        let sign = if before.ends_with('-') { "-" } else { "" };
        return format!("{sign}Infinity is no JSON value");
    }
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    // serde_json's words for a second half without a first, and a first half without a second.
    if message.contains("surrogate") || message == "unexpected end of hex escape" {
        return "half of a surrogate pair, which is no character".to_owned();
    }
    message.to_owned()
}

/// Reads a number's token, which serde_json found to be well formed.
fn number(token: &str, path: &Path<'_>) -> Result<Number, JsonError> {
    let is_integer = token != "-0" && !token.contains(['.', 'e', 'E']);
    if is_integer {
        return Ok(match token.parse() {
            Ok(integer) => Number::Integer(integer),
            Err(_) => Number::HugeInteger(token.to_owned()),
        });
    }
    // The standard library finds the nearest double; serde_json does so only with a feature.
    match token.parse::<f64>() {
        Ok(double) if double.is_finite() => Ok(Number::Float(double)),
        _ => Err(JsonError::at(path, format!("the number {token} is too large for a double"))),
    }
}

/// An object's entries in their order, values unread.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

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

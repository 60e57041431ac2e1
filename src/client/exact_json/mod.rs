//! JSON read exactly: keys keep their order, integers stay integers, doubles are the nearest ones,
//! and what can't be kept is an error that says where it stands.
//!
//! `serde_json::Value` would do none of this: it turns large integers into doubles, sorts keys, and
//! lets the last of two equal ones win.

mod deserializer;
mod path;
mod reader;
#[cfg(test)]
mod tests;

pub(super) use deserializer::DecodeError;
pub(crate) use path::Path;
pub(crate) use reader::read;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Json>),
    /// An object, in the order of the text. Its keys are unique.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What the value is, for a message: "a number", "null".
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// A JSON number as it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// An integer: neither fraction nor exponent. `-0` is none, it would lose its sign.
    Integer(i64),
    /// An integer that `i64` can't hold, with its digits.
    HugeInteger(String),
    /// The double that is nearest to what was written; finite.
    Float(f64),
}

impl Number {
    /// The largest integer up to which a double holds every integer: 2^53.
    const LARGEST_EXACT: u64 = 1 << 53;

    /// The number as a double, or the digits of an integer that a double could round.
    pub fn as_double(&self) -> Result<f64, String> {
        match self {
            Self::Integer(integer) if integer.unsigned_abs() <= Self::LARGEST_EXACT => {
                Ok(*integer as f64)
            }
            Self::Integer(integer) => Err(integer.to_string()),
            Self::HugeInteger(digits) => Err(digits.clone()),
            Self::Float(double) => Ok(*double),
        }
    }
}

/// Why a JSON text can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is no JSON.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value can't be taken.
    #[error("{path}: {message}")]
    Value {
        /// Where it stands, such as `feedback_data["Section 1"][3].weird`.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

impl JsonError {
    /// An error about the value at `path`.
    pub fn at(path: &Path<'_>, message: impl Into<String>) -> Self {
        Self::Value { path: path.to_string(), message: message.into() }
    }

    /// An integer that would be rounded.
    pub fn rounded(path: &Path<'_>, digits: &str) -> Self {
        Self::at(
            path,
            format!(
                "the integer {digits} is beyond ±2^53 and would be rounded; send it as a string"
            ),
        )
    }
}

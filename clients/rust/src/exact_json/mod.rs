//! Lossless JSON reader: keeps the order of keys, keeps integers exact and rounds to the nearest double.
//! Reads what writers in other languages produce, too: NaN, infinities, halves of surrogate pairs, invalid
//! bytes and equal keys. It lists the texts and keys that it changes.
//!
//! `serde_json::Value` is not lossless: it converts large integers to doubles, sorts keys, and keeps
//! only the last of two equal keys.

mod deserializer;
mod path;
mod reader;
mod repair;
#[cfg(test)]
mod tests;

pub(super) use deserializer::DecodeError;
pub(crate) use path::Path;
pub(crate) use reader::{Place, read};

use crate::replaced::Reason;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// A list.
    Array(Vec<Json>),
    /// An object, in the order of the text. Its keys are unique.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The type of the value for a message, such as "a number" or "null".
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

/// A JSON number with its exact value.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// An integer: no fraction and no exponent. `-0` is a `Float`, to keep its sign.
    Integer(i64),
    /// An integer beyond the range of `i64`, as digits.
    HugeInteger(String),
    /// The nearest double to the decimal number; finite.
    Float(f64),
    /// A number with a fraction or an exponent beyond the range of a double, as in the text.
    BeyondDouble(String),
    /// `NaN`, `Infinity` or `-Infinity`.
    NotFinite(&'static str),
}

impl Number {
    /// 2^53: a double represents every integer up to this one.
    const LARGEST_EXACT: u64 = 1 << 53;

    /// Returns the number as a double, or its text and the reason if a double could round it.
    pub(crate) fn as_double(&self) -> Result<f64, (String, Reason)> {
        match self {
            Self::Integer(integer) if integer.unsigned_abs() <= Self::LARGEST_EXACT => {
                Ok(*integer as f64)
            }
            Self::Integer(integer) => Err((integer.to_string(), Reason::NotExact)),
            Self::HugeInteger(digits) | Self::BeyondDouble(digits) => {
                Err((digits.clone(), Reason::NotExact))
            }
            Self::Float(double) => Ok(*double),
            Self::NotFinite(name) => Err(((*name).to_owned(), Reason::NotFinite)),
        }
    }
}

/// An invalid JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// The 1-based line.
        line: usize,
        /// The 1-based column in characters.
        column: usize,
        /// The problem.
        message: String,
    },
    /// A value is not accepted.
    #[error("{path}: {message}")]
    Value {
        /// The path of the value, such as `feedback_data["Section 1"][3].weird`.
        path: String,
        /// The problem.
        message: String,
    },
}

impl JsonError {
    /// An error about the value at `path`.
    pub fn at(path: &Path<'_>, message: impl Into<String>) -> Self {
        Self::Value { path: path.to_string(), message: message.into() }
    }
}

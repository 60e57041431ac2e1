//! Paths of values in a JSON text.

use std::fmt;

/// A path from the top of a JSON text, as a list from the leaf to the root. It allocates nothing until an
/// error prints it.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The top-level value.
    Top,
    /// A value in an object.
    Key(&'a Path<'a>, &'a str),
    /// A value in a list, 0-based.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The path of the value under `key`.
    pub fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// The path of the value at `index`.
    pub fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => formatter.write_str("the JSON text"),
            Self::Key(parent, key) => {
                let is_top = matches!(parent, Self::Top);
                if !is_top {
                    parent.fmt(formatter)?;
                }
                write_key(formatter, key, is_top)
            }
            Self::Index(Self::Top, index) => write!(formatter, "[{index}]"),
            Self::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

/// Writes `.key`, or `["any key"]` if the key is not an identifier.
fn write_key(formatter: &mut fmt::Formatter<'_>, key: &str, is_first: bool) -> fmt::Result {
    let is_identifier = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.chars().all(|rest| rest.is_ascii_alphanumeric() || rest == '_');
    if is_identifier {
        let dot = if is_first { "" } else { "." };
        write!(formatter, "{dot}{key}")
    } else {
        write!(formatter, "[{}]", serde_json::Value::from(key))
    }
}

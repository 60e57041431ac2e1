//! Names that operators give to what a file describes.

use std::{fmt, sync::Arc};

/// Maximum length of a name, which is part of file names and object keys, and a label of metrics.
const LIMIT_BYTES: usize = 32;

/// A name: lower-case letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// What a name must be, for messages.
    pub const RULE: &str =
        "1 to 32 lower-case letters, digits, '-' and '_', the first a letter or digit";

    /// The name, if it obeys [`Self::RULE`].
    pub fn new(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_valid = name.len() <= LIMIT_BYTES
            && name.bytes().next().is_some_and(is_plain)
            && name.bytes().all(|byte| is_plain(byte) || matches!(byte, b'-' | b'_'));
        is_valid.then(|| Self(name.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        let longest = "a".repeat(LIMIT_BYTES);
        for name in ["a", "0", "daily-report_2", longest.as_str()] {
            assert_eq!(Name::new(name).map(|name| name.to_string()).as_deref(), Some(name));
        }
        let too_long = "a".repeat(LIMIT_BYTES + 1);
        for name in ["", "-a", "_a", "A", "a b", "a/b", "a.b", "ä", "a\n", too_long.as_str()] {
            assert_eq!(Name::new(name), None, "{name:?}");
        }
    }
}

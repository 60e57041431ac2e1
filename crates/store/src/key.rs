//! Names of objects.

use std::fmt;

/// The name of an object within its store: parts joined by `/`.
///
/// Every key is valid both as an S3 key and as a path on disk: each part is 1 to 255 bytes of UTF-8,
/// neither `.` nor `..`, without control characters, `\` or NUL; the complete key is at most 900 bytes,
/// which leaves space for a base path within S3's 1024 (Amazon S3 User Guide, "Naming objects").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

/// An invalid object key, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid object key {key:?}: {reason}")]
pub struct InvalidKey {
    key: String,
    reason: &'static str,
}

impl ObjectKey {
    /// Parses a key.
    ///
    /// # Errors
    /// [`InvalidKey`] if the text breaks the rules above.
    pub fn new(key: impl Into<String>) -> Result<Self, InvalidKey> {
        let key = key.into();
        match Self::violation(&key) {
            None => Ok(Self(key)),
            Some(reason) => Err(InvalidKey { key, reason }),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn violation(key: &str) -> Option<&'static str> {
        if key.len() > 900 {
            return Some("it is longer than 900 bytes");
        }
        for part in key.split('/') {
            if part.is_empty() {
                return Some("a part between slashes is empty");
            }
            if part.len() > 255 {
                return Some("a part between slashes is longer than 255 bytes");
            }
            if part == "." || part == ".." {
                return Some("`.` and `..` are not names");
            }
            if part.chars().any(|character| character.is_control() || character == '\\') {
                return Some("it contains a control character or a backslash");
            }
        }
        None
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_safe_as_paths() {
        for good in ["a", "a/b.json", "foo..bar", ".tara-export/x", "日本語/😀", &"x".repeat(255)]
        {
            assert_eq!(ObjectKey::new(good).map(|key| key.to_string()).as_deref(), Ok(good));
        }
        let long = vec!["x"; 451].join("/");
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a\\b",
            "a\0",
            "a\nb",
            &"x".repeat(256),
            &long,
        ] {
            assert!(ObjectKey::new(bad).is_err(), "{bad:?}");
        }
    }
}

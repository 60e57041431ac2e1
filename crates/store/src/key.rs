//! Names of objects.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

/// The name of an object within its store: parts joined by `/`.
///
/// Every key is valid both as an S3 key and as a path on disk: each part is 1 to 255 bytes of UTF-8,
/// neither `.` nor `..`, without control characters, `\` or NUL; the complete key is at most 900 bytes,
/// which leaves space for a base path within S3's 1024 (Amazon S3 User Guide, "Naming objects").
///
/// Two keys are equal if their texts are.
#[derive(Debug, Clone)]
pub struct ObjectKey {
    text: String,
    is_permanent: bool,
}

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
            None => Ok(Self { text: key, is_permanent: false }),
            Some(reason) => Err(InvalidKey { key, reason }),
        }
    }

    /// Parses the key of an object that the service never deletes from S3. A put of it may be sent twice, because a put
    /// that arrives late cannot restore a deleted object. All who put this key must compare the object if it exists:
    /// it may be their own.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn permanent(key: impl Into<String>) -> Result<Self, InvalidKey> {
        Ok(Self { is_permanent: true, ..Self::new(key)? })
    }

    /// Whether the service never deletes the object from S3 ([`Self::permanent`]).
    pub fn is_permanent(&self) -> bool {
        self.is_permanent
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.text
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

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ObjectKey {}

impl Hash for ObjectKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_permanent_by_default() {
        let (key, permanent) = (ObjectKey::new("a"), ObjectKey::permanent("a"));
        assert_eq!(key, permanent);
        assert_eq!(key.map(|key| key.is_permanent()), Ok(false));
        assert_eq!(permanent.map(|key| key.is_permanent()), Ok(true));
    }

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

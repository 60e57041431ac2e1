//! Folder names that are safe in S3 keys and in paths on disk.

use std::{fmt, str::FromStr};

use chrono::{NaiveDateTime, Timelike as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AcceptedTime, clean::clean_stem};

/// Maximum length of a path component in bytes of UTF-8.
pub const MAX_COMPONENT_BYTES: usize = 255;

/// Bytes of `20261122_183700_`.
const TIME_PREFIX_BYTES: usize = 16;

/// Format of the time in a folder's name.
const TIME_FORMAT: &str = "%Y%m%d_%H%M%S";

/// A text that is not a valid name of a folder or file of a bundle, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {name:?}: {reason}")]
pub struct InvalidName {
    name: String,
    reason: &'static str,
}

impl InvalidName {
    pub(super) fn new(name: &str, reason: &'static str) -> Self {
        Self { name: name.to_owned(), reason }
    }
}

/// The reason why a text is not a valid path component; `None` if it is valid.
pub(super) fn component_violation(component: &str) -> Option<&'static str> {
    if component.is_empty() {
        Some("empty")
    } else if component.len() > MAX_COMPONENT_BYTES {
        Some("longer than 255 bytes")
    } else if component.starts_with('.') {
        // `.` and `..` are directories, and `.tara-export` has the service's own records.
        Some("starts with a dot")
    } else if component.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) {
        Some("contains a slash, a backslash or a control character")
    } else {
        None
    }
}

/// The common start of all folder names of an export: the second of its acceptance in UTC and the
/// document's cleaned name, `20261122_183700_incident_report`. At most 216 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderBase(String);

impl FolderBase {
    const MAX_BYTES: usize = TIME_PREFIX_BYTES + super::clean::MAX_STEM_BYTES;

    /// The base of an export of this document that was accepted at this time.
    pub fn new(accepted_time: &AcceptedTime, document_name: &str) -> Self {
        let second = accepted_time.as_datetime().format(TIME_FORMAT);
        Self(format!("{second}_{}", clean_stem(document_name)))
    }

    /// The document's cleaned name.
    pub fn stem(&self) -> &str {
        // Both constructors ensure sixteen ASCII characters before the stem.
        self.0.get(TIME_PREFIX_BYTES..).unwrap_or_default()
    }

    /// The second at its start; `None` if the digits are not a possible acceptance time.
    pub fn time(&self) -> Option<AcceptedTime> {
        // Without the last underscore. Both constructors ensure ASCII characters.
        let digits = self.0.get(..TIME_PREFIX_BYTES - 1)?;
        let time = NaiveDateTime::parse_from_str(digits, TIME_FORMAT).ok()?;
        // chrono parses second 60 as second 59 with 1,000,000,000 nanoseconds.
        let time = Some(time).filter(|time| time.nanosecond() == 0)?;
        let time = AcceptedTime::new(time.and_utc());
        let is_same = time.as_datetime().format(TIME_FORMAT).to_string() == digits;
        is_same.then_some(time)
    }

    /// The base as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FolderBase {
    type Err = InvalidName;

    /// Parses a stored base. Checks its form and safety, but not that this release would clean the name
    /// in the same way: a base from another Unicode version stays readable.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_time = |prefix: &str| {
            prefix.bytes().enumerate().all(|(index, byte)| match index {
                8 | 15 => byte == b'_',
                _ => byte.is_ascii_digit(),
            })
        };
        let reason = match text.split_at_checked(TIME_PREFIX_BYTES) {
            Some((prefix, stem)) if is_time(prefix) => component_violation(stem),
            _ => Some("does not start with a time such as 20261122_183700_"),
        };
        let too_long = (text.len() > Self::MAX_BYTES).then_some("longer than 216 bytes");
        match reason.or(too_long) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(InvalidName::new(text, reason)),
        }
    }
}

/// The name of a bundle's folder: one safe path component. It has at most 227 bytes, so that the names
/// of records that contain it are valid components, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderName(String);

impl FolderName {
    /// Length of the longest base with the longest suffix.
    const MAX_BYTES: usize = FolderBase::MAX_BYTES + "_4294967295".len();

    /// The `n`th folder to try, from 1: the base, then the base with `_2`, `_3` and so on.
    pub fn new(base: &FolderBase, n: u32) -> Self {
        if n <= 1 { Self(base.0.clone()) } else { Self(format!("{base}_{n}")) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FolderName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let too_long = (text.len() > Self::MAX_BYTES).then_some("longer than 227 bytes");
        match too_long.or_else(|| component_violation(text)) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(InvalidName::new(text, reason)),
        }
    }
}

/// Implements `Display` and serde for a newtype of a text.
macro_rules! text_newtype {
    ($name:ty) => {
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use text_newtype;

text_newtype!(FolderBase);
text_newtype!(FolderName);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::{TimeZone as _, Utc};
    use proptest::prelude::*;

    use super::*;

    fn time() -> AcceptedTime {
        AcceptedTime::new(Utc.with_ymd_and_hms(2026, 11, 22, 18, 37, 0).unwrap())
    }

    #[test]
    fn folder_names_have_second_and_document() {
        let base = FolderBase::new(&time(), "incident report.docx");
        assert_eq!(base.as_str(), "20261122_183700_incident_report");
        assert_eq!(base.stem(), "incident_report");
        assert_eq!(FolderName::new(&base, 1).as_str(), "20261122_183700_incident_report");
        assert_eq!(FolderName::new(&base, 2).as_str(), "20261122_183700_incident_report_2");
        assert_eq!(
            FolderName::new(&base, u32::MAX).as_str(),
            "20261122_183700_incident_report_4294967295"
        );
    }

    #[test]
    fn base_has_its_time_if_the_digits_are_valid() {
        assert_eq!(FolderBase::new(&time(), "x").time(), Some(time()));
        let time_of = |text: &str| text.parse::<FolderBase>().unwrap().time();
        for invalid in [
            "20261322_183700_a",
            "20230229_183700_a",
            "20261122_240000_a",
            "20261122_235960_a",
            "00001122_183700_a",
            "19691231_235959_a",
            "99991122_183700_a",
        ] {
            assert_eq!(time_of(invalid), None, "{invalid}");
        }
        assert_eq!(time_of("19700101_000000_a").unwrap().micros(), 0);
    }

    #[test]
    fn unsafe_bases_are_rejected() {
        let longest = format!("20261122_183700_{}", "x".repeat(200));
        for valid in ["20261122_183700_a", "20261122_183700_日本語 \u{1FAFF}", &longest] {
            let base: FolderBase = valid.parse().unwrap();
            assert_eq!(base.as_str(), valid);
            assert_eq!(
                serde_json::from_str::<FolderBase>(&serde_json::to_string(&base).unwrap()).unwrap(),
                base
            );
        }
        for invalid in [
            "",
            "20261122_183700",
            "20261122_183700_",
            "20261122-183700_a",
            "2026112２_83700_a",
            "20261122_183700_a/b",
            "20261122_183700_a\\b",
            "20261122_183700_a\n",
            "20261122_183700_..",
            &format!("{longest}x"),
        ] {
            assert!(invalid.parse::<FolderBase>().is_err(), "{invalid:?}");
            assert!(serde_json::from_value::<FolderBase>(invalid.into()).is_err(), "{invalid:?}");
        }
    }

    #[test]
    fn unsafe_folder_names_are_rejected() {
        for valid in ["a", "foo..bar", "old folder", &"x".repeat(227)] {
            assert_eq!(valid.parse::<FolderName>().unwrap().as_str(), valid);
        }
        for invalid in ["", ".", "..", ".tara-export", "a/b", "a\\b", "a\0", &"x".repeat(228)] {
            assert!(invalid.parse::<FolderName>().is_err(), "{invalid:?}");
        }
    }

    proptest! {
        #[test]
        fn any_document_name_has_a_folder_name(name: String, n: u32) {
            let base = FolderBase::new(&time(), &name);
            prop_assert_eq!(base.as_str().parse(), Ok(base.clone()));
            let folder = FolderName::new(&base, n);
            prop_assert_eq!(folder.as_str().parse(), Ok(folder.clone()));
        }
    }
}

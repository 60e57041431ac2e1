//! Names of folders that are safe as S3 keys and as paths on disk alike.

use std::{fmt, str::FromStr};

use chrono::{NaiveDateTime, Timelike as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AcceptedTime, clean::clean_stem};

/// The most bytes of UTF-8 one component of a path has.
pub const MAX_COMPONENT_BYTES: usize = 255;

/// Bytes of `20261122_183700_`.
const TIME_PREFIX_BYTES: usize = 16;

/// The time in it.
const TIME_FORMAT: &str = "%Y%m%d_%H%M%S";

/// A text that can't name a folder or file of a bundle, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} can't name a part of a bundle: {reason}")]
pub struct InvalidName {
    name: String,
    reason: &'static str,
}

impl InvalidName {
    pub(super) fn new(name: &str, reason: &'static str) -> Self {
        Self { name: name.to_owned(), reason }
    }
}

/// Why a text is no component of a path, if it isn't one.
pub(super) fn component_violation(component: &str) -> Option<&'static str> {
    if component.is_empty() {
        Some("it is empty")
    } else if component.len() > MAX_COMPONENT_BYTES {
        Some("it is longer than 255 bytes")
    } else if component.starts_with('.') {
        // `.` and `..` walk the tree, and `.tara-export` holds the service's own records.
        Some("it starts with a dot")
    } else if component.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) {
        Some("it has a slash, a backslash or a control character")
    } else {
        None
    }
}

/// What all folders an export may get start with: its second of acceptance in UTC and the
/// document's cleaned name, `20261122_183700_incident_report`. At most 216 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderBase(String);

impl FolderBase {
    const MAX_BYTES: usize = TIME_PREFIX_BYTES + super::clean::MAX_STEM_BYTES;

    /// The base for a document accepted at this time.
    pub fn new(accepted_time: &AcceptedTime, document_name: &str) -> Self {
        let second = accepted_time.as_datetime().format(TIME_FORMAT);
        Self(format!("{second}_{}", clean_stem(document_name)))
    }

    /// The document's cleaned name: what comes after the time.
    pub fn stem(&self) -> &str {
        // Both ways to make a base put sixteen ASCII characters before the stem.
        self.0.get(TIME_PREFIX_BYTES..).unwrap_or_default()
    }

    /// The second that it starts with; none where the digits are no time that an export can have.
    pub fn time(&self) -> Option<AcceptedTime> {
        // Without the last underscore; both ways to make a base put ASCII there.
        let digits = self.0.get(..TIME_PREFIX_BYTES - 1)?;
        let time = NaiveDateTime::parse_from_str(digits, TIME_FORMAT).ok()?;
        // A sixtieth second reads as a fifty-ninth with a second's nanoseconds.
        let time = Some(time).filter(|time| time.nanosecond() == 0)?;
        let time = AcceptedTime::new(time.and_utc());
        let is_same = time.as_datetime().format(TIME_FORMAT).to_string() == digits;
        is_same.then_some(time)
    }

    /// The base's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FolderBase {
    type Err = InvalidName;

    /// Reads a stored base. Only its form and safety are checked, not whether this release would
    /// clean the name the same way: a base written with another Unicode table stays readable.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_time = |prefix: &str| {
            prefix.bytes().enumerate().all(|(index, byte)| match index {
                8 | 15 => byte == b'_',
                _ => byte.is_ascii_digit(),
            })
        };
        let reason = match text.split_at_checked(TIME_PREFIX_BYTES) {
            Some((prefix, stem)) if is_time(prefix) => component_violation(stem),
            _ => Some("it doesn't start with a time such as 20261122_183700_"),
        };
        let too_long = (text.len() > Self::MAX_BYTES).then_some("it is longer than 216 bytes");
        match reason.or(too_long) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(InvalidName::new(text, reason)),
        }
    }
}

/// The name of a bundle's folder: one safe component of a path, of at most 227 bytes, so that the
/// service's own records that have it in their names are components too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderName(String);

impl FolderName {
    /// The longest base with the longest suffix: no export has a longer one.
    const MAX_BYTES: usize = FolderBase::MAX_BYTES + "_4294967295".len();

    /// The `n`th folder to try, from 1: the base itself, then `_2`, `_3` and so on.
    pub fn new(base: &FolderBase, n: u32) -> Self {
        if n <= 1 { Self(base.0.clone()) } else { Self(format!("{base}_{n}")) }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FolderName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let too_long = (text.len() > Self::MAX_BYTES).then_some("it is longer than 227 bytes");
        match too_long.or_else(|| component_violation(text)) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(InvalidName::new(text, reason)),
        }
    }
}

/// A newtype of text reads and writes as that text.
macro_rules! reads_and_writes_as_text {
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
pub(super) use reads_and_writes_as_text;

reads_and_writes_as_text!(FolderBase);
reads_and_writes_as_text!(FolderName);

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
    fn folders_are_named_after_second_and_document() {
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
    fn a_base_tells_its_time_where_it_is_one() {
        assert_eq!(FolderBase::new(&time(), "x").time(), Some(time()));
        let time_of = |text: &str| text.parse::<FolderBase>().unwrap().time();
        for none in [
            "20261322_183700_a",
            "20230229_183700_a",
            "20261122_240000_a",
            "20261122_235960_a",
            "00001122_183700_a",
            "19691231_235959_a",
            "99991122_183700_a",
        ] {
            assert_eq!(time_of(none), None, "{none}");
        }
        assert_eq!(time_of("19700101_000000_a").unwrap().micros(), 0);
    }

    #[test]
    fn only_safe_bases_are_read() {
        let longest = format!("20261122_183700_{}", "x".repeat(200));
        for good in ["20261122_183700_a", "20261122_183700_日本語 \u{1FAFF}", &longest] {
            let base: FolderBase = good.parse().unwrap();
            assert_eq!(base.as_str(), good);
            assert_eq!(
                serde_json::from_str::<FolderBase>(&serde_json::to_string(&base).unwrap()).unwrap(),
                base
            );
        }
        for bad in [
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
            assert!(bad.parse::<FolderBase>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<FolderBase>(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_safe_folder_names_are_read() {
        for good in ["a", "foo..bar", "old folder", &"x".repeat(227)] {
            assert_eq!(good.parse::<FolderName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".tara-export", "a/b", "a\\b", "a\0", &"x".repeat(228)] {
            assert!(bad.parse::<FolderName>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_document_name_names_a_folder(name: String, n: u32) {
            let base = FolderBase::new(&time(), &name);
            prop_assert_eq!(base.as_str().parse(), Ok(base.clone()));
            let folder = FolderName::new(&base, n);
            prop_assert_eq!(folder.as_str().parse(), Ok(folder.clone()));
        }
    }
}

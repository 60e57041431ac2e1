//! The id, acceptance time and format version of an export.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Duration, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The caller's `request_id`, which identifies an export on every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExportId(Uuid);

/// The text is not a UUID in lower-case hyphenated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an export id is a UUID in lower case, such as 6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e")]
pub struct InvalidExportId;

impl ExportId {
    /// The id of the export with this request id.
    pub fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The request id.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for ExportId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.hyphenated())
    }
}

impl FromStr for ExportId {
    type Err = InvalidExportId;

    /// Accepts only the canonical form, so that an export has one name.
    fn from_str(text: &str) -> Result<Self, InvalidExportId> {
        let id = Self(Uuid::try_parse(text).map_err(|_| InvalidExportId)?);
        if id.to_string() == text { Ok(id) } else { Err(InvalidExportId) }
    }
}

impl Serialize for ExportId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExportId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// When an export was accepted, in UTC with microseconds. The bytes of the bundle depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AcceptedTime(DateTime<Utc>);

impl AcceptedTime {
    /// This time, truncated to microseconds and clamped to the years 1970 to 2285, which the sixteen digits
    /// of the index can represent.
    pub fn new(time: DateTime<Utc>) -> Self {
        let latest = DateTime::UNIX_EPOCH + Duration::microseconds(Self::LATEST_MICROS);
        Self(time.trunc_subsecs(6).clamp(DateTime::UNIX_EPOCH, latest))
    }

    /// The latest time in microseconds since 1970: sixteen nines.
    pub const LATEST_MICROS: i64 = 9_999_999_999_999_999;

    /// This many microseconds after 1970; `None` outside the range of the index.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let in_range = (0..=Self::LATEST_MICROS).contains(&micros);
        DateTime::from_timestamp_micros(micros).filter(|_| in_range).map(Self)
    }

    /// The time.
    pub fn as_datetime(&self) -> DateTime<Utc> {
        self.0
    }

    /// Microseconds since 1970.
    pub fn micros(&self) -> i64 {
        self.0.timestamp_micros()
    }
}

impl fmt::Display for AcceptedTime {
    /// RFC 3339 with six decimals and `Z`, as in artifacts.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for AcceptedTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AcceptedTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Self::new(time.with_timezone(&Utc)))
    }
}

/// How a bundle is rendered: every byte, the names, the set of artifacts, and the encoding of the
/// content digest. Pinned when an export is accepted. Releases render all earlier versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum FormatVersion {
    /// The first version.
    V1,
    /// Adds the replacements of a review, and computes the average time per section from the rounded
    /// duration.
    V2,
    /// A version after the current one, for tests of upgrades.
    #[cfg(feature = "next-format")]
    Next,
}

impl FormatVersion {
    /// The version of new exports.
    pub const CURRENT: Self = Self::V2;
}

/// The format version of a later release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown format version {0}: a later release wrote it")]
pub struct UnknownFormatVersion(u32);

impl From<FormatVersion> for u32 {
    fn from(version: FormatVersion) -> Self {
        match version {
            FormatVersion::V1 => 1,
            FormatVersion::V2 => 2,
            #[cfg(feature = "next-format")]
            FormatVersion::Next => 3,
        }
    }
}

impl TryFrom<u32> for FormatVersion {
    type Error = UnknownFormatVersion;

    fn try_from(number: u32) -> Result<Self, UnknownFormatVersion> {
        match number {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            #[cfg(feature = "next-format")]
            3 => Ok(Self::Next),
            other => Err(UnknownFormatVersion(other)),
        }
    }
}

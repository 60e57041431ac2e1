//! What names an export and pins how it is rendered.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Duration, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The caller's `request_id`: the one name of an export on every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExportId(Uuid);

/// Not a UUID in its lower-case hyphenated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an export id is a UUID such as 6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e, in lower case")]
pub struct InvalidExportId;

impl ExportId {
    /// The export with this request id.
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

    /// Reads the canonical form only, so that one export has one name.
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

/// When an export was accepted, in whole microseconds of UTC: part of what its bytes depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AcceptedTime(DateTime<Utc>);

impl AcceptedTime {
    /// This time, cut to microseconds and held within the years 1970 to 2285, which the index's
    /// sixteen digits can hold.
    pub fn new(time: DateTime<Utc>) -> Self {
        let latest = DateTime::UNIX_EPOCH + Duration::microseconds(Self::LATEST_MICROS);
        Self(time.trunc_subsecs(6).clamp(DateTime::UNIX_EPOCH, latest))
    }

    /// The largest number of microseconds since 1970: sixteen nines.
    pub const LATEST_MICROS: i64 = 9_999_999_999_999_999;

    /// So many microseconds after 1970; none outside the years that the index holds.
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
    /// RFC 3339 with six decimals and `Z`, as it stands in artifacts.
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

/// How a bundle is rendered: every output byte, the names, the set of artifacts and the encoding
/// behind the content digest. Pinned when an export is accepted; old versions stay renderable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum FormatVersion {
    /// The first.
    V1,
    /// Tests' idea of the next one.
    #[cfg(feature = "next-format")]
    Next,
}

impl FormatVersion {
    /// What new exports get.
    pub const CURRENT: Self = Self::V1;
}

/// A format version of a later release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("format version {0} is not known to this release: a later one wrote it")]
pub struct UnknownFormatVersion(u32);

impl From<FormatVersion> for u32 {
    fn from(version: FormatVersion) -> Self {
        match version {
            FormatVersion::V1 => 1,
            #[cfg(feature = "next-format")]
            FormatVersion::Next => 2,
        }
    }
}

impl TryFrom<u32> for FormatVersion {
    type Error = UnknownFormatVersion;

    fn try_from(number: u32) -> Result<Self, UnknownFormatVersion> {
        match number {
            1 => Ok(Self::V1),
            #[cfg(feature = "next-format")]
            2 => Ok(Self::Next),
            other => Err(UnknownFormatVersion(other)),
        }
    }
}

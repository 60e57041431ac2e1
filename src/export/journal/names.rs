//! Names of entries.

use std::{fmt, str::FromStr};

use crate::{bundle::ExportId, digest::Sha256};

const EXTENSION: &str = ".export";

/// `<export_id>-<content_digest>.export`: one name for one request, and another for other content
/// under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntryName {
    pub export_id: ExportId,
    pub content_digest: Sha256,
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}{EXTENSION}", self.export_id, self.content_digest)
    }
}

/// Not the name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidName;

impl FromStr for EntryName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let stem = name.strip_suffix(EXTENSION).ok_or(InvalidName)?;
        let (export_id, content_digest) = stem.rsplit_once('-').ok_or(InvalidName)?;
        Ok(Self {
            export_id: export_id.parse().map_err(|_| InvalidName)?,
            content_digest: content_digest.parse().map_err(|_| InvalidName)?,
        })
    }
}

/// The export that a name begins with, whatever comes behind.
pub(super) fn leading_export_id(name: &str) -> Option<ExportId> {
    const ID_BYTES: usize = 36;
    name.get(..ID_BYTES)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_entries_are_read() {
        let digest = Sha256::of(b"x");
        let name = format!("6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e-{digest}.export");
        let parsed: EntryName = name.parse().unwrap();
        assert_eq!((parsed.to_string(), parsed.content_digest), (name.clone(), digest));
        for bad in [
            "",
            ".export",
            "-.export",
            &name[1..],
            &name.to_uppercase(),
            &name.replace(".export", ".exports"),
            &format!("{name}.2"),
            &format!("6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e{digest}.export"),
        ] {
            assert_eq!(bad.parse::<EntryName>(), Err(InvalidName), "{bad}");
        }
        assert_eq!(leading_export_id(&format!("{name}.2")), Some(parsed.export_id));
        assert_eq!(leading_export_id("é".repeat(18).as_str()), None);
        assert_eq!(leading_export_id("notes.txt"), None);
    }
}

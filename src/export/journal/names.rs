//! File names of entries.

use std::{fmt, path::Path, str::FromStr};

use tara_export_bundle::ExportId;
use tara_export_digest::Sha256;

const EXTENSION: &str = ".export";
/// The extension of a takeover, in attempt markers, suspects and quarantine.
pub(super) const TAKEOVER_EXTENSION: &str = ".takeover";

/// `<export_id>-<content_digest>.export`: different contents under the same id have different names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryName {
    pub export_id: ExportId,
    pub content_digest: Sha256,
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}{EXTENSION}", self.export_id, self.content_digest)
    }
}

/// The name is not an entry's.
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

/// What an attempt works on: an entry of this machine's journal, or the takeover of an entry of the store's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Entry(EntryName),
    Takeover(EntryName),
}

impl Subject {
    pub(super) fn name(self) -> EntryName {
        match self {
            Self::Entry(name) | Self::Takeover(name) => name,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(name) => name.fmt(formatter),
            Self::Takeover(EntryName { export_id, content_digest }) => {
                write!(formatter, "{export_id}-{content_digest}{TAKEOVER_EXTENSION}")
            }
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        match name.strip_suffix(TAKEOVER_EXTENSION) {
            Some(stem) => format!("{stem}{EXTENSION}").parse().map(Self::Takeover),
            None => name.parse().map(Self::Entry),
        }
    }
}

/// The export id at the start of a name.
pub(super) fn leading_export_id(name: &str) -> Option<ExportId> {
    const ID_BYTES: usize = 36;
    name.get(..ID_BYTES)?.parse().ok()
}

/// The export id at the start of a path's file name.
pub(super) fn export_id_of(path: &Path) -> Option<ExportId> {
    leading_export_id(&path.file_name()?.to_string_lossy())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_entry_names_are_parsed() {
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
        for subject in [Subject::Entry(parsed), Subject::Takeover(parsed)] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        assert_eq!(format!("{name}.takeover").parse::<Subject>(), Err(InvalidName));
        assert_eq!(leading_export_id("é".repeat(18).as_str()), None);
        assert_eq!(leading_export_id("notes.txt"), None);
    }
}

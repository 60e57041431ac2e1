//! What is told of each folder.

use std::fmt;

/// What became of a folder, or would become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderReport {
    /// The folder's name.
    pub folder: String,
    /// What became of it.
    pub outcome: FolderOutcome,
}

/// What became of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderOutcome {
    /// Without writing: it would be adopted.
    WouldAdopt(Found),
    /// It has its manifest now.
    Adopted {
        /// What is in it.
        found: Found,
        /// The export's name, `exports/{id}`.
        export: String,
    },
    /// It is left as it is.
    Skipped {
        /// Why, in a word.
        reason: SkipReason,
        /// Why, for a person.
        message: String,
    },
    /// The store failed; another run may do better.
    Failed {
        /// Why, for a person.
        message: String,
    },
}

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// How many files.
    pub files: usize,
    /// Bytes of all of them.
    pub size_bytes: u64,
    /// The document's name, as far as the files tell it.
    pub document_name: String,
}

/// Why a folder is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// Its name is not one that the review application gave.
    OtherName,
    /// It has a manifest of this service: exported, or adopted before.
    HasManifest,
    /// It has a file `manifest.json` that is none of this service's.
    ForeignManifest,
    /// It belongs to another export.
    Claimed,
    /// It has none of the files that the review application wrote.
    NoBundle,
    /// Its newest file is too young: it may still be written.
    TooNew,
    /// A file's name breaks the rules for names in a bundle.
    BadPath,
    /// It holds more than a manifest can list.
    TooLarge,
    /// It changed while it was read.
    Changed,
}

impl SkipReason {
    /// The reason as an UPPER_SNAKE word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherName => "OTHER_NAME",
            Self::HasManifest => "HAS_MANIFEST",
            Self::ForeignManifest => "FOREIGN_MANIFEST",
            Self::Claimed => "CLAIMED",
            Self::NoBundle => "NO_BUNDLE",
            Self::TooNew => "TOO_NEW",
            Self::BadPath => "BAD_PATH",
            Self::TooLarge => "TOO_LARGE",
            Self::Changed => "CHANGED",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a folder's work ends early.
#[derive(Debug)]
pub(super) enum Stop {
    Skip(SkipReason, String),
    Fail(String),
}

impl Stop {
    pub(super) fn skip(reason: SkipReason, message: impl Into<String>) -> Self {
        Self::Skip(reason, message.into())
    }
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(error.to_string())
    }
}

impl From<Stop> for FolderOutcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Skip(reason, message) => Self::Skipped { reason, message },
            Stop::Fail(message) => Self::Failed { message },
        }
    }
}

//! The outcome of each folder's adoption.

use std::{fmt, io};

use tara_export_store::{StoreError, StoreErrorKind};

/// A folder and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderReport {
    /// The folder's name.
    pub folder: String,
    /// The outcome.
    pub outcome: FolderOutcome,
}

/// The outcome for a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderOutcome {
    /// Dry run: the folder would be adopted.
    WouldAdopt(Found),
    /// The folder is adopted.
    Adopted {
        /// The content of the folder.
        found: Found,
        /// The export's name, `exports/{id}`.
        export: String,
    },
    /// The folder is skipped.
    Skipped {
        /// The reason as a code.
        reason: SkipReason,
        /// The human-readable reason.
        message: String,
    },
    /// The store failed. A repeated run may succeed.
    Failed {
        /// The human-readable reason.
        message: String,
    },
}

/// The content of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Number of files.
    pub files: usize,
    /// Total size of the files.
    pub size_bytes: u64,
    /// Name of the document from the files, else from the folder.
    pub document_name: String,
}

/// Why a folder is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// The name is not a folder name of the review application.
    OtherName,
    /// The folder has a manifest of this service: it was exported or adopted.
    HasManifest,
    /// The folder has a `manifest.json` that this service did not write.
    ForeignManifest,
    /// The folder belongs to another export.
    Claimed,
    /// The folder has no files of the review application.
    NoBundle,
    /// The newest file is too young: the folder may still be incomplete.
    TooNew,
    /// A file's name is not allowed in a bundle.
    BadPath,
    /// The folder has more files than a manifest can list.
    TooLarge,
    /// The folder changed while it was read.
    Changed,
    /// A file cannot be read now: a permission is missing, or it is in an archive.
    Unreadable,
    /// This service cannot write into the folder: a permission is missing, or it is on another file system.
    NotWritable,
}

impl SkipReason {
    /// The reason in UPPER_SNAKE_CASE.
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
            Self::Unreadable => "UNREADABLE",
            Self::NotWritable => "NOT_WRITABLE",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why the adoption of a folder ends early.
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

impl Stop {
    /// A failed read. An object that cannot be read until an operator acts is a reason to skip its folder, and no
    /// failure of the adoption.
    pub(super) fn of_read(error: StoreError) -> Self {
        // S3 also denies access if the service lacks a right to everything, which is a failure.
        let is_of_disk =
            std::error::Error::source(&error).is_some_and(|source| source.is::<io::Error>());
        let is_skipped = match error.kind() {
            StoreErrorKind::Archived => true,
            StoreErrorKind::Denied => is_of_disk,
            _ => false,
        };
        match is_skipped {
            true => Self::Skip(SkipReason::Unreadable, error.to_string()),
            false => error.into(),
        }
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

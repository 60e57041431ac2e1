//! The faults of a file, each with its path.

use std::{fmt, path::PathBuf};

/// Maximum number of faults that are reported; the others are counted.
const MAX_REPORTED: usize = 20;

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, such as `targets[1].url`.
    pub path: String,
    /// The value, and what is allowed.
    pub message: String,
}

/// The faults of a file so far, and the other files that it names.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<Fault>,
    named_files: Vec<PathBuf>,
}

/// A file with faults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidFile {
    /// The faults, in the order of the file.
    pub faults: Vec<Fault>,
}

impl fmt::Display for InvalidFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().take(MAX_REPORTED).enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            match fault.path.as_str() {
                "" => write!(formatter, "{separator}{}", fault.message)?,
                path => write!(formatter, "{separator}{path}: {}", fault.message)?,
            }
        }
        match self.faults.len().saturating_sub(MAX_REPORTED) {
            0 => Ok(()),
            omitted => write!(formatter, "; and {omitted} more"),
        }
    }
}

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault { path: path.into(), message: message.into() });
    }

    /// Adds a file whose changes change the settings.
    pub fn name_file(&mut self, path: PathBuf) {
        self.named_files.push(path);
    }

    /// The files whose changes change the settings.
    pub fn take_named_files(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.named_files)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The value, if there are no faults.
    ///
    /// # Errors
    /// The faults.
    pub fn into_result<T>(self, value: T) -> Result<T, InvalidFile> {
        match self.faults.is_empty() {
            true => Ok(value),
            false => Err(InvalidFile { faults: self.faults }),
        }
    }
}

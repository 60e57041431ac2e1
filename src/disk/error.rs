//! What an I/O error of the disk means to whoever asked.

use std::{io, path::Path};

/// What to do about a failure of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskErrorKind {
    /// Nothing is there.
    NotFound,
    /// It may pass by itself: try again, with a pause.
    Unavailable,
    /// This service's user may not read there: an operator must act.
    Denied,
    /// The path or the file system can't do this: an operator must act.
    Misconfigured,
    /// No room, or nothing can be written: an operator must make room. Reading still works.
    Full,
}

/// A failed operation of the disk. Its message says what could not be done, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DiskError {
    kind: DiskErrorKind,
    message: String,
    source: io::Error,
}

impl DiskError {
    /// The failure of a write. `action` reads "could not {action} {path}".
    pub fn of_write(action: &str, path: &Path, error: io::Error) -> Self {
        let (kind, advice) = match error.kind() {
            io::ErrorKind::StorageFull => {
                (DiskErrorKind::Full, ": the disk is full, make room on it")
            }
            io::ErrorKind::QuotaExceeded => (
                DiskErrorKind::Full,
                ": the quota of this service's user is used up, raise it or make room",
            ),
            io::ErrorKind::ReadOnlyFilesystem => {
                (DiskErrorKind::Full, ": the file system is mounted read-only, mount it writable")
            }
            // EACCES and EPERM alike. Nothing can be written until somebody acts, as with a full
            // disk.
            io::ErrorKind::PermissionDenied => (
                DiskErrorKind::Full,
                ": this service's user may not write there, give it the right",
            ),
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::Unsupported
            | io::ErrorKind::InvalidInput => (DiskErrorKind::Misconfigured, ""),
            _ => (DiskErrorKind::Unavailable, ""),
        };
        Self::new(kind, action, path, error, advice)
    }

    /// The failure of a read.
    pub fn of_read(action: &str, path: &Path, error: io::Error) -> Self {
        let (kind, advice) = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (DiskErrorKind::NotFound, ""),
            io::ErrorKind::PermissionDenied => (
                DiskErrorKind::Denied,
                ": this service's user may not read there, give it the right",
            ),
            _ => (DiskErrorKind::Unavailable, ""),
        };
        Self::new(kind, action, path, error, advice)
    }

    fn new(
        kind: DiskErrorKind,
        action: &str,
        path: &Path,
        source: io::Error,
        advice: &str,
    ) -> Self {
        let message = format!("could not {action} {}{advice} ({source})", path.display());
        Self { kind, message, source }
    }

    /// What to do about it.
    pub fn kind(&self) -> DiskErrorKind {
        self.kind
    }

    /// Whether it is because nothing is there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether it is for want of a right.
    pub(super) fn is_permission_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// The cause as the system told it.
    pub fn into_source(self) -> io::Error {
        self.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_must_mend_is_told_from_what_passes_by_itself() {
        let path = Path::new("/exports/x");
        // The numbers are Linux's and macOS's alike, EDQUOT aside.
        let quota_exceeded = rustix::io::Errno::DQUOT.raw_os_error();
        for (errno, kind) in [
            (28, DiskErrorKind::Full),
            (quota_exceeded, DiskErrorKind::Full),
            (30, DiskErrorKind::Full),
            (13, DiskErrorKind::Full),
            (1, DiskErrorKind::Full),
            (20, DiskErrorKind::Misconfigured),
            (5, DiskErrorKind::Unavailable),
            (24, DiskErrorKind::Unavailable),
        ] {
            let error = DiskError::of_write("write", path, io::Error::from_raw_os_error(errno));
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("/exports/x"), "{error}");
        }
        for (errno, kind) in [
            (2, DiskErrorKind::NotFound),
            (20, DiskErrorKind::NotFound),
            (13, DiskErrorKind::Denied),
            (5, DiskErrorKind::Unavailable),
        ] {
            let error = DiskError::of_read("read", path, io::Error::from_raw_os_error(errno));
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}

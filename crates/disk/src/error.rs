//! Classification of I/O errors of the disk.

use std::{io, path::Path};

/// The kind of a disk failure, by the necessary action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskErrorKind {
    /// The file or folder does not exist.
    NotFound,
    /// Possibly temporary: retry after a pause.
    Unavailable,
    /// This service's user has no permission to read: an operator must act.
    Denied,
    /// The path or the file system does not support the operation: an operator must act.
    Misconfigured,
    /// No free space, or not writable: an operator must act. Reading still works.
    Full,
}

/// A failed disk operation. Its message has the operation, the path and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DiskError {
    kind: DiskErrorKind,
    message: String,
    source: io::Error,
}

impl DiskError {
    /// A failed write. The message is "cannot {action} {path}".
    pub fn of_write(action: &str, path: &Path, error: io::Error) -> Self {
        let (kind, advice) = match error.kind() {
            io::ErrorKind::StorageFull => {
                (DiskErrorKind::Full, ": the disk is full, free some space")
            }
            io::ErrorKind::QuotaExceeded => (
                DiskErrorKind::Full,
                ": the quota of this service's user is exhausted, raise it or free some space",
            ),
            io::ErrorKind::ReadOnlyFilesystem => {
                (DiskErrorKind::Full, ": the file system is mounted read-only, mount it writable")
            }
            // EACCES and EPERM. As with a full disk, writes fail until an operator acts.
            io::ErrorKind::PermissionDenied => (
                DiskErrorKind::Full,
                ": this service's user has no permission to write there, grant it",
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

    /// A failed read. `action` is as in [`of_write`](Self::of_write).
    pub fn of_read(action: &str, path: &Path, error: io::Error) -> Self {
        let (kind, advice) = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (DiskErrorKind::NotFound, ""),
            io::ErrorKind::PermissionDenied => (
                DiskErrorKind::Denied,
                ": this service's user has no permission to read there, grant it",
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
        let message = format!("cannot {action} {}{advice} ({source})", path.display());
        Self { kind, message, source }
    }

    /// The kind of the failure.
    pub fn kind(&self) -> DiskErrorKind {
        self.kind
    }

    /// Whether the file or folder does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether a permission is missing.
    pub(super) fn is_permission_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// The error that the system returned.
    pub fn into_source(self) -> io::Error {
        self.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permanent_and_temporary_errors_are_distinguished() {
        let path = Path::new("/exports/x");
        // The numbers are the same on Linux and macOS, except EDQUOT.
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

//! What an I/O error of the disk means to the caller.

use std::{io, path::Path};

use super::super::{StoreError, StoreErrorKind};

/// The failure of a write. `action` reads "could not {action} {path}".
pub(super) fn write_failure(action: &str, path: &Path, error: io::Error) -> StoreError {
    let (kind, advice) = match error.kind() {
        io::ErrorKind::StorageFull => (StoreErrorKind::Full, ": the disk is full, make room on it"),
        io::ErrorKind::QuotaExceeded => (
            StoreErrorKind::Full,
            ": the quota of this service's user is used up, raise it or make room",
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            (StoreErrorKind::Full, ": the file system is mounted read-only, mount it writable")
        }
        // EACCES and EPERM alike. Nothing can be written until somebody acts, as with a full disk.
        io::ErrorKind::PermissionDenied => {
            (StoreErrorKind::Full, ": this service's user may not write there, give it the right")
        }
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::CrossesDevices
        | io::ErrorKind::Unsupported
        | io::ErrorKind::InvalidInput => (StoreErrorKind::Misconfigured, ""),
        _ => (StoreErrorKind::Unavailable, ""),
    };
    failure(kind, action, path, error, advice)
}

/// The failure of a read.
pub(super) fn read_failure(action: &str, path: &Path, error: io::Error) -> StoreError {
    let (kind, advice) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (StoreErrorKind::NotFound, ""),
        io::ErrorKind::PermissionDenied => {
            (StoreErrorKind::Denied, ": this service's user may not read there, give it the right")
        }
        _ => (StoreErrorKind::Unavailable, ""),
    };
    failure(kind, action, path, error, advice)
}

fn failure(
    kind: StoreErrorKind,
    action: &str,
    path: &Path,
    error: io::Error,
    advice: &str,
) -> StoreError {
    let message = format!("could not {action} {}{advice} ({error})", path.display());
    StoreError::new(kind, message).with_source(error)
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
            (28, StoreErrorKind::Full),
            (quota_exceeded, StoreErrorKind::Full),
            (30, StoreErrorKind::Full),
            (13, StoreErrorKind::Full),
            (1, StoreErrorKind::Full),
            (20, StoreErrorKind::Misconfigured),
            (5, StoreErrorKind::Unavailable),
            (24, StoreErrorKind::Unavailable),
        ] {
            let error = write_failure("write", path, io::Error::from_raw_os_error(errno));
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("/exports/x"), "{error}");
        }
        for (errno, kind) in [
            (2, StoreErrorKind::NotFound),
            (20, StoreErrorKind::NotFound),
            (13, StoreErrorKind::Denied),
            (5, StoreErrorKind::Unavailable),
        ] {
            let error = read_failure("read", path, io::Error::from_raw_os_error(errno));
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}

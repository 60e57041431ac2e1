//! Named points in the code where a test can kill the process or make the disk fail: `FAILPOINTS` in the
//! environment of a binary that was built with the feature `enabled`. Without the feature they are empty
//! functions. `tests/crash/` covers every one of them.
//!
//! | `FAILPOINTS` | effect at that failpoint |
//! |---|---|
//! | `journal.recorded=return` | the process is killed as by SIGKILL |
//! | `journal.recorded=2*off->return` | it is killed at the third pass |
//! | `disk.file.sync=return(28)` | the operation fails with ENOSPC |
//! | `disk.file.sync=return(5 /journal/)` | it fails with EIO if the path contains this text |
//! | `record.put=1*return(stop /tmp/file)` | the process stops as by SIGSTOP; after SIGCONT the thread waits for that file |
//!
//! Separate several with `;`. Other actions are those of the crate `fail`.
//!
//! Never depends on another crate of this workspace.

/// A failpoint with this name. With a path and a disk operation, returns the operation's result, or the
/// injected error instead.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::reached($name)
    };
    ($name:literal, $path:expr, $operation:expr) => {
        match $crate::disk_error($name, $path) {
            Some(error) => Err(error),
            None => $operation,
        }
    };
}

/// A failpoint for a background check of the disk: sees only errors that are injected every time, and
/// neither kills the process nor counts as a pass.
#[macro_export]
macro_rules! persistent_failpoint {
    ($name:literal, $path:expr, $operation:expr) => {
        match $crate::persistent_error($name, $path) {
            Some(error) => Err(error),
            None => $operation,
        }
    };
}

#[cfg(not(feature = "enabled"))]
mod disabled;
#[cfg(feature = "enabled")]
mod enabled;

#[cfg(not(feature = "enabled"))]
pub use self::disabled::{Failpoints, disk_error, from_environment, persistent_error, reached};
#[cfg(feature = "enabled")]
pub use self::enabled::{Failpoints, disk_error, from_environment, persistent_error, reached};
/// The crate that sets the failpoints of a test's own process.
#[cfg(feature = "enabled")]
pub use fail;

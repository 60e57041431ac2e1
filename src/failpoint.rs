//! Named places where a test can end the process, or let the disk fail: `FAILPOINTS` in the
//! environment of a binary that was built with the feature `failpoints`. Without the feature nothing
//! of it is compiled. `tests/crash/` visits every one of them.
//!
//! | `FAILPOINTS` | at that place |
//! |---|---|
//! | `journal.recorded=return` | the process dies as of SIGKILL |
//! | `journal.recorded=2*off->return` | it dies at the third pass |
//! | `disk.file.sync=return(28)` | the disk says ENOSPC instead of doing it |
//! | `disk.file.sync=return(5 /journal/)` | it says EIO, where the path has this text in it |
//!
//! Several are separated by `;`. The other actions are those of the crate `fail`.

/// The process came to the place of this name. With a path and an operation of the disk, it is the
/// operation's result, or the error that the disk is to give instead.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::reached($name);
    };
    ($name:literal, $path:expr, $operation:expr) => {{
        #[cfg(feature = "failpoints")]
        let result = match $crate::failpoint::disk_error($name, $path) {
            Some(error) => Err(error),
            None => $operation,
        };
        #[cfg(not(feature = "failpoints"))]
        let result = $operation;
        result
    }};
}

/// The same for a check of the disk, which nobody asked for: it sees an error that the disk is to give each
/// time, and neither dies nor counts as a pass.
macro_rules! standing_failpoint {
    ($name:literal, $path:expr, $operation:expr) => {{
        #[cfg(feature = "failpoints")]
        let result = match $crate::failpoint::standing_error($name, $path) {
            Some(error) => Err(error),
            None => $operation,
        };
        #[cfg(not(feature = "failpoints"))]
        let result = $operation;
        result
    }};
}

/// Does what the environment says of this place.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(name: &str) {
    fail::fail_point!(name, |_| kill());
}

/// The error that the disk is to give at this place instead of touching this path.
#[cfg(feature = "failpoints")]
pub(crate) fn disk_error(name: &str, path: &std::path::Path) -> Option<std::io::Error> {
    fail::fail_point!(name, |argument: Option<String>| {
        let Some(argument) = argument else { kill() };
        let (number, part) = argument.split_once(' ').unwrap_or((&argument, ""));
        let is_meant = path.to_string_lossy().contains(part);
        if number == "kill" && !is_meant {
            return None;
        }
        // `kill`; or a test's mistake, which must not look as if all went well.
        let Ok(number) = number.parse() else { kill() };
        is_meant.then(|| std::io::Error::from_raw_os_error(number))
    });
    None
}

/// The error that the disk gives at this place each time it touches this path.
#[cfg(feature = "failpoints")]
pub(crate) fn standing_error(name: &str, path: &std::path::Path) -> Option<std::io::Error> {
    let (_, action) = fail::list().into_iter().find(|(point, _)| point == name)?;
    let argument = action.strip_prefix("return(")?.strip_suffix(')')?;
    let (number, part) = argument.split_once(' ').unwrap_or((argument, ""));
    let is_meant = path.to_string_lossy().contains(part);
    Some(std::io::Error::from_raw_os_error(number.parse().ok()?)).filter(|_| is_meant)
}

#[cfg(feature = "failpoints")]
fn kill() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

//! With the feature: actions from the environment.

use std::{io, path::Path, thread, time::Duration};

/// Reads `FAILPOINTS`. The actions are active until the returned guard is dropped.
pub fn from_environment() -> Failpoints {
    Failpoints { _scenario: fail::FailScenario::setup() }
}

/// Keeps the actions of the environment active until it is dropped.
#[must_use]
pub struct Failpoints {
    _scenario: fail::FailScenario<'static>,
}

/// Runs the action of this failpoint.
pub fn reached(name: &str) {
    fail::fail_point!(name, |argument: Option<String>| match argument
        .as_deref()
        .and_then(stop_until)
    {
        Some(file) => stop(file),
        None => kill(),
    });
}

/// The error to inject at this failpoint instead of an operation on this path.
pub fn disk_error(name: &str, path: &Path) -> Option<io::Error> {
    fail::fail_point!(name, |argument: Option<String>| {
        let Some(argument) = argument else { kill() };
        if let Some(file) = stop_until(&argument) {
            stop(file);
            return None;
        }
        let (number, part) = argument.split_once(' ').unwrap_or((&argument, ""));
        let matches = path.to_string_lossy().contains(part);
        if number == "kill" && !matches {
            return None;
        }
        // `kill`, or a mistake in the test, which must not look like a success.
        let Ok(number) = number.parse() else { kill() };
        matches.then(|| io::Error::from_raw_os_error(number))
    });
    None
}

/// The error to inject at this failpoint on every operation on this path.
pub fn persistent_error(name: &str, path: &Path) -> Option<io::Error> {
    let (_, action) = fail::list().into_iter().find(|(point, _)| point == name)?;
    let argument = action.strip_prefix("return(")?.strip_suffix(')')?;
    let (number, part) = argument.split_once(' ').unwrap_or((argument, ""));
    let matches = path.to_string_lossy().contains(part);
    Some(io::Error::from_raw_os_error(number.parse().ok()?)).filter(|_| matches)
}

/// The file that ends a stop, if the action is a stop.
fn stop_until(argument: &str) -> Option<&Path> {
    argument.strip_prefix("stop ").map(Path::new)
}

/// Stops the process. The signal may reach this thread last, so the thread waits for the file that the test creates
/// before SIGCONT: it does not continue before the stop.
fn stop(until: &Path) {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    while !until.exists() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn kill() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        thread::park();
    }
}

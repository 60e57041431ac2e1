//! Named places where a test can end the process or slow it down: `FAILPOINTS=journal.recorded=return`
//! in the environment of a binary that was built with the feature `failpoints`. Without the feature
//! nothing of it is compiled.

/// The process came to the place of this name.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::reached($name);
    };
}

/// Does what the environment says of this place: `return` kills the process as SIGKILL does; the
/// other actions are those of the crate `fail`.
#[cfg(feature = "failpoints")]
pub fn reached(name: &str) {
    fail::fail_point!(name, |_| kill());
}

#[cfg(feature = "failpoints")]
fn kill() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

//! A process of the binary under test.

use std::{
    future::Future,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

/// Far longer than any step takes: a test that hangs ends with a message.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The interval for conditions without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// Log lines that are shown when a test fails.
const LINES_SHOWN: usize = 40;

/// Waits for a future; panics after [`TIMEOUT`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIMEOUT, future).await {
        Ok(result) => result,
        Err(_) => panic!("timed out: {what}"),
    }
}

/// Waits until the condition is true.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let polling = async {
        while !condition() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    within(what, polling).await;
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By SIGKILL, from the test or from a failpoint.
    Killed,
    /// It exited with this code.
    Exited(Option<i32>),
}

/// A server process, killed when dropped. If the test fails, its log is shown.
pub(crate) struct Process {
    child: Child,
    url: watch::Receiver<Option<String>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts the command, which logs JSON to standard error.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (found, url) = watch::channel(None);
        let lines_read = log.clone();
        // Ends with the process and then closes the channel.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = address(&line) {
                    found.send_replace(Some(format!("http://{address}")));
                }
                lines_read.lock().unwrap().push(line);
            }
        });
        Self { child, url, log }
    }

    /// The URL; `None` if the process ended before it listened.
    pub(crate) async fn url(&mut self) -> Option<String> {
        let listening = self.url.wait_for(Option::is_some);
        within("the server listens", listening).await.ok()?.clone()
    }

    /// The URL; `None` if the process was stopped or ended before it listened.
    pub(crate) async fn url_unless_stopped(&mut self) -> Option<String> {
        let waiting = async {
            while self.url.borrow().is_none() && !self.is_stopped() && self.is_alive() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        within("the server listens, or is stopped", waiting).await;
        self.url.borrow().clone()
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the process state").is_none()
    }

    /// Kills the process, as the kernel does when memory runs out.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
    }

    /// Whether every thread is stopped by SIGSTOP.
    pub(crate) fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let mut threads = threads.into_iter().flatten().flatten().peekable();
        threads.peek().is_some()
            && threads.all(|thread| {
                let status = std::fs::read_to_string(thread.path().join("stat"));
                // The state follows the name, which is in parentheses and may contain some.
                status.is_ok_and(|text| {
                    text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
                })
            })
    }

    /// Continues a stopped process.
    pub(crate) fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("a signal is sent");
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&mut self) {
        if self.is_alive() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a signal is sent");
        }
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&mut self) -> End {
        until("the process ends", || !self.is_alive()).await;
        let status = self.child.wait().expect("the process has ended");
        match status.signal() {
            Some(signal) if signal == Signal::KILL.as_raw() => End::Killed,
            _ => End::Exited(status.code()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log.lock().unwrap();
            eprintln!("the end of the log of process {}:", self.child.id());
            log.iter().skip(log.len().saturating_sub(LINES_SHOWN)).for_each(|l| eprintln!("{l}"));
        }
    }
}

/// The address in the log line of the start.
fn address(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = line.get("message")?.as_str()?;
    message.starts_with("listening").then(|| Some(line.get("address")?.as_str()?.to_owned()))?
}

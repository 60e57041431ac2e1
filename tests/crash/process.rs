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

/// Far longer than anything here takes: a test that hangs ends with a message.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Lines of a process's log that are shown when a test fails.
const LINES_SHOWN: usize = 40;

/// The result of something that must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Waits until this is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    within(what, looking).await;
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By SIGKILL: ours, or that of a failpoint.
    Killed,
    /// By itself, with this code.
    Exited(Option<i32>),
}

/// A server's process. Dropped, it is killed; in a test that fails, its log is shown.
pub(crate) struct Process {
    child: Child,
    url: watch::Receiver<Option<String>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts the command, whose log is JSON on standard error.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child =
            command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (found, url) = watch::channel(None);
        let kept = log.clone();
        // Ends with the process, and ends the channel then.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = address(&line) {
                    found.send_replace(Some(format!("http://{address}")));
                }
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, url, log }
    }

    /// Where it listens; none where it died before that.
    pub(crate) async fn url(&mut self) -> Option<String> {
        let listening = self.url.wait_for(Option::is_some);
        within("the server listens", listening).await.ok()?.clone()
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("its state is known").is_none()
    }

    /// Ends it as the kernel does when memory runs out.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
    }

    /// Asks it to end.
    pub(crate) fn terminate(&mut self) {
        if self.is_alive() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a signal is sent");
        }
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> End {
        until("the process ends", || !self.is_alive()).await;
        let status = self.child.wait().expect("it has ended");
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

/// The address in the line that says where the server listens.
fn address(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = line.get("message")?.as_str()?;
    message.starts_with("listening").then(|| Some(line.get("address")?.as_str()?.to_owned()))?
}

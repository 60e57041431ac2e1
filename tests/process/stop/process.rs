//! The built binary as a process that may hang.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tara_export_client::proto::export_service_client::ExportServiceClient;
use tempfile::TempDir;

use crate::harness::Client;

/// Longer than any operation takes. A test that hangs fails with a message.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A server process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    log: Arc<Mutex<Vec<String>>>,
    is_unread: Arc<AtomicBool>,
    data_dir: PathBuf,
    _folder: Option<TempDir>,
}

impl Process {
    /// Starts a server and waits until it listens.
    pub(crate) async fn start(flags: &[&str], environment: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Self::start_in(&folder.path().join("exports"), flags, environment);
        let line = process.until_logged("\"message\":\"listening").await;
        let line: HashMap<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        process.url = format!("http://{}", line["address"].as_str().unwrap());
        process._folder = Some(folder);
        process
    }

    /// Starts a server without waiting until it listens.
    pub(crate) fn start_in(
        data_dir: &Path,
        flags: &[&str],
        environment: &[(&str, String)],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tara-export"))
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("DATA_DIR", data_dir)
            .args(["serve", "--port=0", "--log-format=json", "--shutdown-timeout=2s"])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let collected = log.clone();
        let is_unread = Arc::new(AtomicBool::new(false));
        let is_stopped = is_unread.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
            while let Some(line) = lines.next().filter(|_| !is_stopped.load(Ordering::SeqCst)) {
                collected.lock().unwrap().push(line);
            }
            // The pipe stays open until the test ends.
            while is_stopped.load(Ordering::SeqCst) {
                std::thread::park_timeout(POLL_INTERVAL);
            }
        });
        Self {
            child,
            url: String::new(),
            log,
            is_unread,
            data_dir: data_dir.to_owned(),
            _folder: None,
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) async fn client(&self) -> Client {
        ExportServiceClient::connect(self.url.clone()).await.unwrap()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for a log line that contains this text.
    pub(crate) async fn until_logged(&self, text: &str) -> String {
        self.until(text, || {
            self.log.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
        })
        .await
    }

    /// Waits until the main thread is in a system call on this file.
    pub(crate) async fn until_in_call_on(&self, file: &Path) {
        let id = self.child.id();
        let is_in_call = || {
            // The number of the call and its arguments. The first argument is the file descriptor.
            let call = fs::read_to_string(format!("/proc/{id}/task/{id}/syscall")).ok()?;
            let descriptor = call.split(' ').nth(1)?.strip_prefix("0x")?;
            let descriptor = u32::from_str_radix(descriptor, 16).ok()?;
            let opened = fs::read_link(format!("/proc/{id}/fd/{descriptor}")).ok()?;
            (opened == file).then_some(())
        };
        self.until("the main thread hangs", is_in_call).await;
    }

    /// Stops reading the log, so that the pipe fills up and each further line blocks.
    pub(crate) fn stop_reading(&self) {
        self.is_unread.store(true, Ordering::SeqCst);
    }

    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits until the process ends. Returns its exit code unless a signal killed it.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let ending = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        match tokio::time::timeout(TEST_TIMEOUT, ending).await {
            Ok(code) => code,
            Err(_) => panic!("the process does not end"),
        }
    }

    async fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = found() {
                    return found;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        match tokio::time::timeout(TEST_TIMEOUT, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("timed out: {what}\n{}", self.log()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.is_unread.store(false, Ordering::SeqCst);
    }
}

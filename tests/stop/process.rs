//! The built binary as a process that may not end.

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
use tara_export::proto::export_service_client::ExportServiceClient;
use tempfile::TempDir;

use crate::harness::Client;

/// Far longer than anything here takes: a test that hangs ends with a message.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A server; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    log: Arc<Mutex<Vec<String>>>,
    is_unread: Arc<AtomicBool>,
    data_dir: PathBuf,
    _folder: Option<TempDir>,
}

impl Process {
    /// A server that listens.
    pub(crate) async fn start(flags: &[&str], environment: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Self::start_in(&folder.path().join("exports"), flags, environment);
        let line = process.until_logged("\"message\":\"listening").await;
        let line: HashMap<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        process.url = format!("http://{}", line["address"].as_str().unwrap());
        process._folder = Some(folder);
        process
    }

    /// A server that may never listen.
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
        let kept = log.clone();
        let is_unread = Arc::new(AtomicBool::new(false));
        let stops = is_unread.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
            while let Some(line) = lines.next().filter(|_| !stops.load(Ordering::SeqCst)) {
                kept.lock().unwrap().push(line);
            }
            // The pipe stays open until the test ends.
            while stops.load(Ordering::SeqCst) {
                std::thread::park_timeout(LOOK_AGAIN);
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

    /// All it has written so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for a line with this text.
    pub(crate) async fn until_logged(&self, text: &str) -> String {
        self.until(text, || {
            self.log.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
        })
        .await
    }

    /// Waits until its main thread is in a call on this file, which never returns.
    pub(crate) async fn until_in_call_on(&self, file: &Path) {
        let id = self.child.id();
        let is_in_call = || {
            // The call's number and its arguments, the first of which is the file's descriptor.
            let call = fs::read_to_string(format!("/proc/{id}/task/{id}/syscall")).ok()?;
            let descriptor = call.split(' ').nth(1)?.strip_prefix("0x")?;
            let descriptor = u32::from_str_radix(descriptor, 16).ok()?;
            let opened = fs::read_link(format!("/proc/{id}/fd/{descriptor}")).ok()?;
            (opened == file).then_some(())
        };
        self.until("it hangs", is_in_call).await;
    }

    /// From now on its log fills the pipe, and then each line waits.
    pub(crate) fn stop_reading(&self) {
        self.is_unread.store(true, Ordering::SeqCst);
    }

    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits until it has ended. Its exit code, unless a signal killed it.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let ending = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(PATIENCE, ending).await {
            Ok(code) => code,
            Err(_) => panic!("it does not end"),
        }
    }

    async fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = found() {
                    return found;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain: {what}\n{}", self.log()),
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

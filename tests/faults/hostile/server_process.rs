//! The built binary as a separate process, whose memory and metrics can be read.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::harness::http::get;

/// Longer than any operation takes. A test that hangs fails with a message.
const TEST_TIMEOUT: Duration = Duration::from_secs(90);

/// A running server; killed when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: SocketAddr,
    metrics: String,
    _data_dir: TempDir,
}

impl ServerProcess {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tara-export"))
            .env_clear()
            .env("DATA_DIR", data_dir.path())
            .args(["serve", "--port=0", "--log-format=json", "--metrics-listen-addr=127.0.0.1:0"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().expect("it listens");
        let first: Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("{first}"));
        // The pipe must not fill up while the server runs.
        std::thread::spawn(move || lines.for_each(drop));
        let address = first["address"].as_str().expect("its address").parse().unwrap();
        let metrics = format!("http://{}/metrics", first["metrics"].as_str().expect("its metrics"));
        Self { child, address, metrics, _data_dir: data_dir }
    }

    /// The current resident memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes * 1024
    }

    /// The sum of a metric's series.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, _, body) = get(&self.metrics).await;
        let text = String::from_utf8(body.into()).unwrap();
        let series = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    /// Waits until the sum of a metric matches `condition`.
    pub(crate) async fn until_metric(&self, name: &str, condition: impl Fn(f64) -> bool) {
        let waiting = async {
            while !condition(self.metric(name).await) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        if timeout(TEST_TIMEOUT, waiting).await.is_err() {
            panic!("{name} stays {}", self.metric(name).await);
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The server returns memory to the system after a load.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tara_export_client::proto::{
    FeedbackItem, PreviewExportRequest, StartExportRequest, export_event::Event,
    export_service_client::ExportServiceClient,
};

use crate::{
    allocator::alone,
    harness::{Client, requests},
};

/// The most memory above idle that the server may keep (docs/limits.md).
const KEPT_BYTES: u64 = 32 << 20;
/// Longer than returning the memory takes.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The built server; killed when dropped.
struct Server {
    child: Child,
    address: String,
    _data_dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tara-export"))
            .env_clear()
            .env("DATA_DIR", data_dir.path())
            .args(["serve", "--port=0", "--log-format=json"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        let address = format!("http://{}", first["address"].as_str().unwrap());
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _data_dir: data_dir }
    }

    /// The resident memory of the process: `VmRSS` now, `VmHWM` at its peak.
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024
    }

    /// Waits until resident memory is at most [`KEPT_BYTES`] above `idle`.
    async fn until_returned(&self, idle: u64) {
        let since = Instant::now();
        loop {
            let kept = self.memory("VmRSS");
            if kept <= idle + KEPT_BYTES {
                return;
            }
            assert!(since.elapsed() < TEST_TIMEOUT, "idle {idle}, still {kept}");
            // No event reports that the system has the memory back, so this polls.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn client(&self) -> Client {
        ExportServiceClient::connect(self.address.clone()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An export of many small items.
fn large(number: u32, items: usize) -> StartExportRequest {
    let item = |index: usize| FeedbackItem {
        id: Some(index.to_string()),
        description: Some("A short comment of some words.".to_owned()),
        ..FeedbackItem::default()
    };
    let mut request = requests::request(number, "report.docx");
    let review = request.review.as_mut().unwrap();
    review.suggestions = vec![requests::section("Summary", (0..items).map(item).collect())];
    request
}

async fn export(mut client: Client, request: StartExportRequest) {
    let mut events = client.start_export(request).await.unwrap().into_inner();
    let mut is_completed = false;
    while let Some(event) = events.message().await.unwrap() {
        is_completed |= matches!(event.event, Some(Event::Completed(_)));
    }
    assert!(is_completed);
}

#[test]
fn memory_returns_to_within_32_mib_of_idle_after_load() {
    alone(async {
        let server = Server::start();
        // Warm up: memory that every server keeps after its first exports.
        for number in 0..8 {
            export(server.client().await, large(number, 10)).await;
        }
        let idle = server.memory("VmRSS");
        let exports = (100..108).map(|number| {
            let client = server.client();
            async move { export(client.await, large(number, 40_000)).await }
        });
        futures::future::join_all(exports).await;
        let peak = server.memory("VmHWM");
        assert!(peak > idle + 4 * KEPT_BYTES, "idle {idle}, peak {peak}: the load is too small");
        server.until_returned(idle).await;
    });
}

#[test]
fn memory_returns_to_within_32_mib_of_idle_after_one_large_request() {
    alone(async {
        let server = Server::start();
        let mut client = server.client().await;
        let idle = server.memory("VmRSS");
        let StartExportRequest { review, .. } = large(1, 95_000);
        let preview = PreviewExportRequest { review, documents: Vec::new() };
        client.preview_export(preview).await.unwrap();
        server.until_returned(idle).await;
    });
}

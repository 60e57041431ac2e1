//! The built server, on a free port or a Unix socket.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use tara_export_test_support::TestS3;

use crate::harness::until;

const BUCKET: &str = "felix-s3-bucket";

pub(crate) async fn bucket() -> TestS3 {
    TestS3::builder().bucket(BUCKET).start().await.unwrap()
}

/// The built binary, killed when the test ends.
pub(crate) struct Server {
    child: Child,
    /// As in its log: an address with a port, or `unix:PATH`.
    pub(crate) address: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server whose heartbeats are frequent.
    pub(crate) fn start(s3: &TestS3, folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tara-export"))
            .args(["serve", "--log-format", "json"])
            .env_clear()
            .env("PORT", "0")
            .env("HEARTBEAT_INTERVAL", "300ms")
            .env("DATA_DIR", folder.join("data"))
            .env("S3_BUCKET_NAME", BUCKET)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", s3.endpoint())
            .env("S3_PATH_STYLE", "true")
            .env("AWS_ACCESS_KEY_ID", s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", s3.secret_key())
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let log = Arc::new(Mutex::new(Vec::new()));
        let address = loop {
            let line = lines.next().expect("the server listens");
            let entry: serde_json::Value = serde_json::from_str(&line).expect("a log line");
            log.lock().unwrap().push(line);
            if let Some(address) = entry["address"].as_str() {
                break address.to_owned();
            }
        };
        let collected = log.clone();
        std::thread::spawn(move || lines.for_each(|line| collected.lock().unwrap().push(line)));
        Self { child, address, log }
    }

    /// Waits for a log line that contains all of these texts.
    pub(crate) async fn wait_for_log(&self, texts: &[&str]) {
        until(&format!("{texts:?} in the log"), || {
            let log = self.log.lock().unwrap();
            log.iter().any(|line| texts.iter().all(|text| line.contains(text)))
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

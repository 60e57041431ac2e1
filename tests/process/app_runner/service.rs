//! The service as App Runner starts it.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use tara_export_test_support::TestS3;
use tempfile::TempDir;

use super::configuration::Configuration;

/// The built binary, killed when the test ends.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Service {
    /// Runs the file's command with the file's environment. Only the addresses of S3 and of this machine, and
    /// the stream time, differ.
    pub(crate) fn start(s3: &TestS3, max_stream_time: &str) -> Self {
        let configuration = Configuration::read();
        let folder = tempfile::tempdir().unwrap();
        // The build puts the binary into the working directory of the command.
        std::os::unix::fs::symlink(
            env!("CARGO_BIN_EXE_tara-export"),
            folder.path().join("tara-export"),
        )
        .unwrap();
        let (program, arguments) = configuration.command.split_first().unwrap();
        let mut child = Command::new(folder.path().join(program))
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .envs(configuration.environment.iter().map(|(name, value)| (name, value)))
            .env(&configuration.port_variable, "0")
            .env("BIND_ADDRESS", "127.0.0.1")
            .env("DATA_DIR", folder.path().join("data"))
            .env("MAX_STREAM_TIME", max_stream_time)
            .env("AWS_ENDPOINT_URL", s3.endpoint())
            .env("S3_PATH_STYLE", "true")
            .env("AWS_ACCESS_KEY_ID", s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", s3.secret_key())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let log = Arc::new(Mutex::new(Vec::new()));
        let address = loop {
            let line = lines.next().expect("the service listens");
            let entry: serde_json::Value =
                serde_json::from_str(&line).expect("logs are JSON without a terminal");
            log.lock().unwrap().push(line);
            if let Some(address) = entry["address"].as_str() {
                break address.parse().unwrap();
            }
        };
        let collected = log.clone();
        std::thread::spawn(move || lines.for_each(|line| collected.lock().unwrap().push(line)));
        Self { child, address, log, _folder: folder }
    }

    /// Whether a log line contains this text.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

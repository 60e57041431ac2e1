//! The built server as a process.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tara_export_client::{Client, ConnectOptions};
use tempfile::TempDir;

use super::{bucket::Bucket, process};

/// A running server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
    options: ConnectOptions,
    _data_dir: TempDir,
}

impl Server {
    /// Starts the built binary with the bucket of the environment at this address.
    pub(crate) fn start(s3: SocketAddr) -> Self {
        Self::start_with(s3, "http", &[], ConnectOptions::default())
    }

    /// Starts on these cores, as taskset(1) takes them.
    pub(crate) fn start_on(bucket: &Bucket, cores: &str) -> Self {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", cores, env!("CARGO_BIN_EXE_tara-export")]);
        command.envs(bucket.environment.iter().cloned());
        Self::run(command, bucket.address, "http", &[], ConnectOptions::default())
    }

    /// Starts with these flags, for a bucket that it reaches at this address.
    pub(crate) fn start_through(bucket: &Bucket, s3: SocketAddr, flags: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
        command.envs(bucket.environment.iter().cloned());
        Self::run(command, s3, "http", flags, ConnectOptions::default())
    }

    /// Starts with these flags, for clients with these options.
    pub(crate) fn start_with(
        s3: SocketAddr,
        scheme: &str,
        flags: &[String],
        options: ConnectOptions,
    ) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
        Self::run(command, s3, scheme, flags, options)
    }

    fn run(
        mut command: Command,
        s3: SocketAddr,
        scheme: &str,
        flags: &[String],
        options: ConnectOptions,
    ) -> Self {
        let data_dir = tempfile::tempdir().expect("a folder");
        let mut child = command
            .args(["serve", "--port", "0", "--log-format", "json", "--log-level", "info"])
            .args(flags)
            .env("AWS_ENDPOINT_URL", format!("http://{s3}"))
            .env("DATA_DIR", data_dir.path())
            .stdin(Stdio::null())
            // Metrics are written there.
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut log = BufReader::new(child.stderr.take().expect("its log"));
        let mut url = None;
        while url.is_none() {
            let mut line = String::new();
            let length = log.read_line(&mut line).expect("its log can be read");
            assert!(length > 0, "the server ended");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            url = line["address"].as_str().map(|address| format!("{scheme}://{address}"));
        }
        // A full pipe would block the server.
        thread::spawn(move || {
            let mut rest = String::new();
            let _ = log.read_to_string(&mut rest);
            for line in rest.lines().filter(|line| !line.contains("\"level\":\"INFO\"")) {
                eprintln!("server log: {line}");
            }
        });
        Self { child, url: url.unwrap_or_default(), options, _data_dir: data_dir }
    }

    /// Its address, as `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").map_or(&self.url, |(_, address)| address)
    }

    /// A client with its own connection.
    pub(crate) async fn client(&self) -> Client {
        Client::connect_with(&self.url, self.options.clone()).await.expect("a connection")
    }

    /// The CPU time of the server.
    pub(crate) fn cpu(&self) -> Duration {
        process::cpu_of(self.child.id())
    }

    /// The peak resident memory of the server, in bytes.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        process::peak_memory_bytes(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

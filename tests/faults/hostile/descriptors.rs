//! More connections than the limit on open files allows. Uses the built binary, because the limit is per
//! process.

#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tara_export_client::proto::{StartExportRequest, export::State, export_event::Event};
use tara_export_test_support::{Fault, FaultRule, TestS3};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::sleep,
};
use tonic_types::StatusExt as _;

use crate::{
    following::{accepted, committed, follow, next, next_where},
    harness::{Client, connect_from, until, within},
    requests::{request, s3_or_nothing},
};

/// A server that does not busy-loop uses less.
const BUSY_PERCENT: u64 = 20;
const HOSTILE: [u8; 4] = [127, 0, 0, 2];
const OTHER: [u8; 4] = [127, 0, 0, 3];

/// A server process with its log; killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Server {
    /// Starts a server with this limit on open files, which it cannot raise.
    fn start(limit: u32, environment: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binary = env!("CARGO_BIN_EXE_tara-export");
        let script =
            format!("ulimit -n {limit} && exec '{binary}' serve --port=0 --log-format=json");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .env_clear()
            .envs(environment.iter().cloned())
            .env("PATH", "/usr/bin:/bin")
            .env("DATA_DIR", folder.path().join("data"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let log = Arc::new(Mutex::new(Vec::new()));
        let address = loop {
            let line = lines.next().expect("the server listens");
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            log.lock().unwrap().push(line);
            if let Some(address) = json["address"].as_str() {
                break address.parse().unwrap();
            }
        };
        let collected = log.clone();
        std::thread::spawn(move || lines.for_each(|line| collected.lock().unwrap().push(line)));
        Self { child, address, log, _folder: folder }
    }

    fn logged(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// Processor time used so far, in hundredths of a second.
    fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// CPU use over three seconds. Returns the lowest of several measurements, because the server is first
    /// busy with the new connections.
    async fn cpu_percent(&self) -> u64 {
        const SECONDS: u64 = 3;
        let mut lowest = u64::MAX;
        for _ in 0..5 {
            let before = self.processor_time();
            // The measured time.
            sleep(Duration::from_secs(SECONDS)).await;
            lowest = lowest.min((self.processor_time() - before) / SECONDS);
            if lowest < BUSY_PERCENT {
                break;
            }
        }
        lowest
    }

    fn open_files(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count() as u64
    }

    async fn client(&self) -> Client {
        within("a connection", connect_from(OTHER, self.address)).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connections that are idle after a first request.
async fn connections(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((HOSTILE, 0))).unwrap();
        let mut stream = within("a connection", socket.connect(address)).await.unwrap();
        // The server closes some of them at once.
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        held.push(stream);
    }
    held
}

#[tokio::test]
async fn exports_succeed_with_all_connections_in_use_and_few_files() {
    for limit in [64, 256, 1024] {
        let server = Server::start(limit, &[]);
        let held = connections(server.address, limit as usize).await;
        let percent = server.cpu_percent().await;
        assert!(percent < BUSY_PERCENT, "{percent} % CPU with {limit} files");
        let export = committed(&mut server.client().await, request(1, "while.docx")).await;
        assert_eq!(export.state(), State::Committed);
        drop(held);
        committed(&mut server.client().await, request(2, "after.docx")).await;
        // The usual limit is enough for MAX_CONNECTIONS.
        assert_eq!(server.logged("MAX_CONNECTIONS exceeds"), usize::from(limit < 1024));
        assert_eq!(server.logged("cannot accept connections"), 0);
    }
}

#[tokio::test]
async fn exports_to_s3_succeed_with_all_connections_in_use_and_few_files() {
    let s3 = TestS3::start().await;
    let environment: Vec<(String, String)> = s3
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    for (limit, exports) in [(64, 4), (256, 8)] {
        let server = Server::start(limit, &environment);
        let _held = connections(server.address, limit as usize).await;
        let exports = (1..=exports).map(|number| {
            let number = number + limit;
            let server = &server;
            async move {
                let mut client = server.client().await;
                committed(&mut client, s3_or_nothing(number, "while.docx")).await
            }
        });
        futures::future::join_all(exports).await;
    }
}

#[tokio::test]
async fn server_without_descriptors_pauses_and_recovers() {
    let server = Server::start(1024, &[]);
    committed(&mut server.client().await, request(1, "before.docx")).await;
    // As if other code had used the descriptors that the server expects to have.
    let pid = Pid::from_raw(i32::try_from(server.child.id()).unwrap());
    let lowered = Rlimit { current: Some(server.open_files() + 4), maximum: Some(1024) };
    let before = prlimit(pid, Resource::Nofile, lowered).unwrap();
    let held = connections(server.address, 50).await;
    until("a log line", || server.logged("cannot accept connections") > 0).await;
    let percent = server.cpu_percent().await;
    assert!(percent < BUSY_PERCENT, "{percent} % CPU");
    assert_eq!(server.logged("cannot accept connections"), 1);
    drop(held);
    prlimit(pid, Resource::Nofile, before).unwrap();
    committed(&mut server.client().await, request(2, "after.docx")).await;
}

/// Starts exports while the process has only `spare` more files than it has open. Returns those that were accepted.
async fn exports_without_files(
    server: &Server,
    client: &Client,
    spare: u64,
    requests: &[StartExportRequest],
) -> Vec<StartExportRequest> {
    let pid = Pid::from_raw(i32::try_from(server.child.id()).unwrap());
    let lowered = Rlimit { current: Some(server.open_files() + spare), maximum: Some(1024) };
    let before = prlimit(pid, Resource::Nofile, lowered).unwrap();
    let starting = requests.iter().map(|request| {
        let mut client = client.clone();
        async move {
            let started = client.start_export(request.clone());
            let mut stream = match within("the response", started).await {
                Ok(stream) => stream.into_inner(),
                Err(status) => return Err(status),
            };
            let first = next(&mut stream).await;
            Ok((accepted(first.event), stream))
        }
    });
    let started = futures::future::join_all(starting).await;
    let mut streams = Vec::new();
    let mut accepted = Vec::new();
    for (request, started) in requests.iter().zip(started) {
        match started {
            Ok((_, stream)) => {
                accepted.push(request.clone());
                streams.push(stream);
            }
            Err(status) => {
                let waits = status.get_details_retry_info().is_some();
                assert!(waits, "{spare} files, a retry must help: {status:?}");
            }
        }
    }
    prlimit(pid, Resource::Nofile, before).unwrap();
    for stream in streams {
        let followed = follow(stream).await;
        let failed = followed.kinds().iter().any(|kind| kind == "failed");
        assert!(!failed, "{spare} files: {followed:?}");
    }
    accepted
}

/// A process that has no more files fails no accepted export, and refuses others in a way that callers retry.
#[tokio::test]
async fn shortage_of_files_during_exports_fails_none_of_them() {
    let s3 = TestS3::start().await;
    let to_s3: Vec<(String, String)> = s3
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    for environment in [Vec::new(), to_s3] {
        let server = Server::start(1024, &environment);
        let mut client = server.client().await;
        committed(&mut client, request(1, "before.docx")).await;
        let (mut refused, mut accepted) = (0, 0);
        for spare in 0..12_u32 {
            let requests: Vec<_> = (0..6)
                .map(|number| {
                    request(1000 + 10 * spare + number, &format!("{spare} {number}.docx"))
                })
                .collect();
            let taken = exports_without_files(&server, &client, spare.into(), &requests).await;
            accepted += taken.len();
            refused += requests.len() - taken.len();
            for request in requests {
                let export = committed(&mut client, request).await;
                assert_eq!(export.state(), State::Committed, "{spare} files: {export:?}");
            }
        }
        assert!(refused > 0 && accepted > 0, "refused {refused}, accepted {accepted}");
    }
}

/// The SDK reads a credentials file that cannot be opened as an empty one.
#[tokio::test]
async fn unreadable_credentials_without_descriptors_fail_no_export() {
    let s3 = TestS3::start().await;
    let to_s3: Vec<(String, String)> = s3
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("credentials");
    let is_key = |(name, _): &&(String, String)| name.contains("_ACCESS_KEY");
    let keys = to_s3.iter().filter(is_key);
    let keys: Vec<String> =
        keys.map(|(name, value)| format!("{} = {value}", name.to_lowercase())).collect();
    fs::write(&file, format!("[default]\n{}\n", keys.join("\n"))).unwrap();
    let mut with_file: Vec<_> =
        to_s3.iter().filter(|variable| !is_key(variable)).cloned().collect();
    for (name, value) in [
        ("HOME", home.path().display().to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("S3_RETRY_BUDGET", "10m".to_owned()),
    ] {
        with_file.push((name.to_owned(), value));
    }
    let server = Server::start(1024, &with_file);
    let mut client = server.client().await;
    committed(&mut client, request(1, "before.docx")).await;
    let slow = s3.fail(FaultRule::new(Fault::SLOW_DOWN).key_ends_with(".docx"));
    let started = client.start_export(s3_or_nothing(2, "while.docx"));
    let mut stream = within("the response", started).await.unwrap().into_inner();
    until("a request for an artifact", || s3.fault_hits(slow) > 0).await;
    let pid = Pid::from_raw(i32::try_from(server.child.id()).unwrap()).unwrap();
    // Below every file that is open, so that one that is closed makes no room.
    let lowered = Rlimit { current: Some(3), maximum: Some(1024) };
    let before = prlimit(Some(pid), Resource::Nofile, lowered).unwrap();
    // The credentials are read again.
    kill_process(pid, Signal::HUP).unwrap();
    next_where(&mut stream, |event| match event {
        Event::ArtifactRetrying(retrying) => retrying.reason.contains("credentials"),
        Event::Failed(failed) => panic!("{failed:?}"),
        _ => false,
    })
    .await;
    prlimit(Some(pid), Resource::Nofile, before).unwrap();
    s3.clear_faults();
    let export = follow(stream).await.completed();
    assert_eq!(export.state(), State::Committed, "{export:?}");
}

#[test]
fn too_low_file_limit_aborts_startup_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_tara-export");
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -n 40 && exec '{binary}' serve --port=0")])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("DATA_DIR", folder.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{stderr}");
    for part in ["40", "ulimit -n", "LimitNOFILE"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

//! Start time and memory of a server with a large journal: `cargo bench --bench large_journal`.
//! Another number of entries than a million follows as an argument: `cargo bench --bench
//! large_journal -- 100000`. `--folder DIR` keeps the data directory, so that it is filled only
//! once.
//!
//! The server has no bucket and processes the entries while it is measured. Reads `/proc`: Linux
//! only.

#![allow(clippy::expect_used, clippy::panic, reason = "a failed benchmark ends")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta};
use clap::Parser;
use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Destination, ExportContent, ExportId, Fallback, FolderBase,
    FormatVersion, Review,
};
use tempfile::TempDir;
use uuid::Uuid;

const MIB: f64 = 1024.0 * 1024.0;
const POLL_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Debug, Parser)]
struct Arguments {
    /// Entries of the journal
    #[arg(default_value_t = 1_000_000)]
    entries: u32,
    /// The data directory; filled if its journal is empty
    #[arg(long)]
    folder: Option<PathBuf>,
    /// How long memory is measured after the server is ready
    #[arg(long, default_value = "90s", value_parser = humantime::parse_duration)]
    observe: Duration,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The export of a number, accepted that many seconds after the first.
fn export(number: u32) -> AcceptedExport {
    let document_name = format!("report {number}.docx");
    let review = Review {
        document_name: document_name.clone(),
        session_id: format!("session-{number}"),
        reviewer: "Jane Doe".into(),
        ..Review::default()
    };
    let content = ExportContent {
        review,
        documents: Vec::new(),
        destination: Some(Destination::Local),
        fallback: Fallback::Local,
    };
    let accepted_time =
        AcceptedTime::new(DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::from(number)));
    AcceptedExport {
        store_id: None,
        // The order of ids differs from the order of times.
        export_id: ExportId::new(Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes())),
        content_digest: content.digest(FormatVersion::CURRENT),
        folder_base: FolderBase::new(&accepted_time, &document_name),
        content: Arc::new(content),
        accepted_time,
        format_version: FormatVersion::CURRENT,
        destination: Destination::Local,
        requested_by: String::new(),
        read_digests: Default::default(),
    }
}

fn fill(data_dir: &Path, entries: u32) {
    let journal = data_dir.join(".tara-export/journal");
    fs::create_dir_all(&journal).expect("a folder");
    let is_filled = fs::read_dir(&journal)
        .expect("a folder")
        .any(|entry| entry.expect("an entry").path().extension().is_some());
    if is_filled {
        return;
    }
    for number in 0..entries {
        let export = export(number);
        let name = format!("{}-{}.export", export.export_id, export.content_digest);
        let mut file = File::create_new(journal.join(name)).expect("a file");
        file.write_all(&export.encode().concat()).expect("a write");
    }
}

/// A server process, killed when dropped.
struct Server(Child);

impl Server {
    /// Starts the server and waits until it is ready; returns the time that this took.
    fn start(data_dir: &Path) -> (Self, Duration) {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a free port").port();
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_tara-export"))
            .arg("serve")
            .env("DATA_DIR", data_dir)
            .env("PORT", port.to_string())
            .env("LOG_LEVEL", "warn")
            .env_remove("S3_BUCKET_NAME")
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut server = Self(child);
        while !is_ready(port) {
            assert!(server.0.try_wait().expect("its state").is_none(), "the server ended");
            thread::sleep(POLL_INTERVAL);
        }
        (server, started.elapsed())
    }

    /// A memory value of the process from `/proc`, in bytes.
    fn memory_bytes(&self, line: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("/proc");
        let value = status.lines().find_map(|found| found.strip_prefix(line)).expect("a line");
        let kibibytes = value.trim().strip_suffix(" kB").expect("a unit").trim();
        kibibytes.parse::<f64>().expect("a number") * 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut response = String::new();
    let sent = stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut response));
    sent.is_ok() && response.starts_with("HTTP/1.1 200")
}

fn main() {
    let arguments = Arguments::parse();
    let empty = TempDir::new().expect("a folder");
    let (server, ready_after) = Server::start(empty.path());
    thread::sleep(Duration::from_secs(2));
    let idle_bytes = server.memory_bytes("VmHWM:");
    drop(server);
    println!("empty journal: ready after {ready_after:.1?}, {:.1} MiB at most", idle_bytes / MIB);

    let temporary = TempDir::new().expect("a folder");
    let data_dir = arguments.folder.as_deref().unwrap_or(temporary.path());
    fill(data_dir, arguments.entries);
    let (server, ready_after) = Server::start(data_dir);
    let at_ready_bytes = server.memory_bytes("VmHWM:");
    println!(
        "{} entries: ready after {ready_after:.1?}, {:.1} MiB above idle until then",
        arguments.entries,
        (at_ready_bytes - idle_bytes) / MIB
    );
    thread::sleep(arguments.observe);
    println!(
        "{} entries: {:.1} MiB above idle at most within {:?}, {:.1} MiB at its end",
        arguments.entries,
        (server.memory_bytes("VmHWM:") - idle_bytes) / MIB,
        arguments.observe,
        (server.memory_bytes("VmRSS:") - idle_bytes) / MIB,
    );
}

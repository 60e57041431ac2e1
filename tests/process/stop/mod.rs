//! The built binary at SIGTERM: it ends within SHUTDOWN_TIMEOUT plus one second, whatever hangs. The tests
//! replace files by named pipes, so that reads really hang.

mod process;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tara_export_bundle::ExportId;
use tara_export_client::proto::{
    DownloadArtifactRequest, DownloadBundleRequest, GetExportRequest, ListExportsRequest,
    document::Source,
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use self::process::Process;
use crate::{
    following::{committed, next},
    requests::{id, name, request},
};

/// The SHUTDOWN_TIMEOUT of these servers.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The guaranteed second beyond it, and another one for a busy machine.
const GRACE: Duration = Duration::from_secs(2);

/// Creates a named pipe without a writer.
fn pipe(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn failure(data_dir: &Path, number: u32) -> PathBuf {
    data_dir.join(format!(".tara-export/failed/{}.json", id(number)))
}

/// Blocks all threads of the journal's pool: each call reads a failure record that is a pipe.
async fn wedge_journal(process: &Process) -> tokio::task::JoinHandle<()> {
    let client = process.client().await;
    for number in 1..=8 {
        pipe(&failure(process.data_dir(), number));
    }
    tokio::spawn(async move {
        let calls = (1..=8).map(|number| {
            let mut client = client.clone();
            async move { client.get_export(GetExportRequest { name: name(number) }).await.map(drop) }
        });
        drop(join_all(calls).await);
    })
}

/// Sends SIGTERM. Returns the exit code, the time until the process ended, and its log.
async fn stop(process: &mut Process) -> (Option<i32>, Duration, String) {
    process.terminate();
    let started = Instant::now();
    let code = process.ended().await;
    let took = started.elapsed();
    eprintln!("ended after {took:?} with {code:?}");
    assert!(took < TIMEOUT + GRACE, "{took:?}: {}", process.log());
    (code, took, process.log())
}

fn health(process: &Process, service: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tara-export"))
        .env_clear()
        .args(["health", "--server", &process.url, "--service", service])
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn stalled_journal_is_reported_by_health_and_does_not_delay_stop() {
    let mut process = Process::start(&["--stall-threshold=1s"], &[]).await;
    for service in ["", "liveness", "accepting"] {
        assert_eq!(health(&process, service), (Some(0), "serving\n".to_owned()), "{service}");
    }
    let calls = wedge_journal(&process).await;
    process.until_logged("work makes no progress").await;
    let (code, message) = health(&process, "liveness");
    assert_eq!(code, Some(1));
    assert!(message.contains("no progress"), "{message}");
    assert_eq!(health(&process, "").0, Some(0), "it accepts calls");
    // A server whose disk does not complete a write accepts no export.
    process.until_logged("DISK_HANGING").await;
    let (code, message) = health(&process, "accepting");
    assert_eq!(code, Some(1));
    assert!(message.contains("no export"), "{message}");
    assert_eq!(health(&process, "no.such.name").0, Some(1));

    let (code, _, log) = stop(&mut process).await;
    assert_eq!(code, Some(5), "{log}");
    let line = log
        .lines()
        .find(|line| line.contains("disk work hangs"))
        .expect("a line that names the pool");
    assert!(line.contains(r#""pool":"journal""#), "{line}");
    calls.abort();
}

#[tokio::test]
async fn recovered_pool_is_live_and_stops_in_order() {
    let mut process = Process::start(&["--stall-threshold=1s"], &[]).await;
    let calls = wedge_journal(&process).await;
    process.until_logged("work makes no progress").await;
    // A closed pipe ends the read.
    for number in 1..=8 {
        drop(fs::OpenOptions::new().write(true).open(failure(process.data_dir(), number)).unwrap());
    }
    process.until_logged("work makes progress again").await;
    calls.await.unwrap();
    assert_eq!(health(&process, "liveness").0, Some(0));
    let (code, _, log) = stop(&mut process).await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn unread_downloads_do_not_delay_stop() {
    let flags = ["--max-concurrent-downloads=100", "--max-read-memory=256MiB"];
    let mut process = Process::start(&flags, &[]).await;
    let mut client = process.client().await;
    let mut large = request(1, "a.docx");
    large.documents[0].source = Some(Source::Content(vec![b'x'; 8 * 1024 * 1024].into()));
    let export = committed(&mut client, large).await;
    let path = export.artifacts.iter().max_by_key(|artifact| artifact.size_bytes).unwrap();
    let mut unread = Vec::new();
    let mut bundles = Vec::new();
    for _ in 0..50 {
        let mut client = process.client().await;
        let request = DownloadArtifactRequest { name: name(1), path: path.path.clone(), offset: 0 };
        unread.push(client.download_artifact(request).await.unwrap());
        bundles
            .push(client.download_bundle(DownloadBundleRequest { name: name(1) }).await.unwrap());
    }
    let (code, _, log) = stop(&mut process).await;
    assert_eq!(code, Some(0), "{log}");
    drop((unread, bundles));
}

#[tokio::test]
async fn hanging_export_does_not_delay_stop() {
    let s3 = TestS3::start().await;
    let flags = ["--s3-retry-budget=10m", "--s3-read-timeout=5m", "--accept-timeout=10ms"];
    let mut process = Process::start(&flags, &s3.environment()).await;
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject));
    let mut client = process.client().await;
    let mut stream = client.start_export(request(1, "a.docx")).await.unwrap().into_inner();
    next(&mut stream).await;
    while s3.fault_hits(held) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (code, took, log) = stop(&mut process).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(took >= TIMEOUT / 2, "running exports get their time: {took:?}");
}

#[tokio::test]
async fn hanging_startup_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("exports");
    let export_id: ExportId = id(1).parse().unwrap();
    let entry = format!(".tara-export/journal/{export_id}-{}.export", "0".repeat(64));
    fs::create_dir_all(data_dir.join(".tara-export/journal")).unwrap();
    fs::write(data_dir.join(entry), "an entry").unwrap();
    // Startup reads whether the export has failed. It skips pipes, but not links.
    let failure_path = failure(&data_dir, 1);
    fs::create_dir_all(failure_path.parent().unwrap()).unwrap();
    let pipe_path = folder.path().join("pipe");
    pipe(&pipe_path);
    symlink(&pipe_path, failure_path).unwrap();
    let mut process = Process::start_in(&data_dir, &[], &[]);
    // Opening a pipe for writing returns when it has a reader, so startup is reading now.
    let writer = tokio::task::spawn_blocking(move || {
        fs::OpenOptions::new().write(true).open(pipe_path).unwrap()
    });
    let writer = writer.await.unwrap();
    let (code, took, log) = stop(&mut process).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(took < TIMEOUT, "{took:?}");
    drop(writer);
}

/// The log is no longer read, so each thread that writes a line hangs, including those of the runtime.
#[tokio::test]
async fn unread_log_does_not_delay_stop() {
    let mut process = Process::start(&["--log-level=trace"], &[]).await;
    let mut client = process.client().await;
    process.stop_reading();
    let call_timeout = Duration::from_secs(1);
    // Each call writes at least one line.
    while let Ok(listed) =
        tokio::time::timeout(call_timeout, client.list_exports(ListExportsRequest::default())).await
    {
        listed.unwrap();
    }
    let (code, took, _) = stop(&mut process).await;
    assert_eq!(code, Some(5));
    assert!(took >= TIMEOUT, "{took:?}");
}

/// The main thread hangs in an uninterruptible call, so the last resort ends the process.
#[tokio::test]
async fn process_ends_even_if_its_main_thread_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("exports");
    let lock_path = data_dir.join(".tara-export/lock");
    pipe(&lock_path);
    // A process that does not get the lock reads its holder from the file, and hangs on the pipe.
    let lock = fs::OpenOptions::new().read(true).write(true).open(&lock_path).unwrap();
    lock.lock().unwrap();
    let mut process = Process::start_in(&data_dir, &[], &[]);
    process.until_in_call_on(&lock_path).await;
    let (code, took, log) = stop(&mut process).await;
    assert_eq!(code, Some(5), "{log}");
    assert!(took >= TIMEOUT, "{took:?}");
    let line = log.lines().find(|line| line.contains("beyond SHUTDOWN_TIMEOUT")).expect("a line");
    assert!(line.contains("startup"), "{line}");
}

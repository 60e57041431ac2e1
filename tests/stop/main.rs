//! The built binary at SIGTERM: it ends by itself within SHUTDOWN_TIMEOUT, and a second more at most, whatever
//! hangs. What hangs is real: a named pipe in the place of a file, where a read never returns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
use harness::{following, requests};

mod process;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tara_export::{
    bundle::ExportId,
    proto::{
        DownloadArtifactRequest, DownloadBundleRequest, GetExportRequest, ListExportsRequest,
        document::Source,
    },
};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use self::{
    following::{committed, next},
    process::Process,
    requests::{id, name, request},
};

/// SHUTDOWN_TIMEOUT of these servers.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What is promised beyond it, and as much again for a busy machine.
const GRACE: Duration = Duration::from_secs(2);

/// A named pipe, which nobody writes to.
fn pipe(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn failure(data_dir: &Path, number: u32) -> PathBuf {
    data_dir.join(format!(".tara-export/failed/{}.json", id(number)))
}

/// Holds all threads of the journal: each call wants to know how its export failed, from a pipe.
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

/// Asks it to stop. With which code and after how long it ended by itself, and its log.
async fn stop(process: &mut Process) -> (Option<i32>, Duration, String) {
    process.terminate();
    let begun = Instant::now();
    let code = process.ended().await;
    let took = begun.elapsed();
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
async fn stalled_journal_is_reported_by_health_and_does_not_hold_up_a_stop() {
    let mut process = Process::start(&["--stall-threshold=1s"], &[]).await;
    for service in ["", "liveness", "accepting"] {
        assert_eq!(health(&process, service), (Some(0), "serving\n".to_owned()), "{service}");
    }
    let calls = wedge_journal(&process).await;
    process.until_logged("work makes no progress").await;
    let (code, message) = health(&process, "liveness");
    assert_eq!(code, Some(1));
    assert!(message.contains("no progress"), "{message}");
    assert_eq!(health(&process, "").0, Some(0), "it takes calls");
    // A disk that does not complete a write takes no export.
    process.until_logged("DISK_HANGING").await;
    let (code, message) = health(&process, "accepting");
    assert_eq!(code, Some(1));
    assert!(message.contains("no export"), "{message}");
    assert_eq!(health(&process, "no.such.name").0, Some(1));

    let (code, _, log) = stop(&mut process).await;
    assert_eq!(code, Some(5), "{log}");
    let line = log.lines().find(|line| line.contains("disk work hangs")).expect("it says what");
    assert!(line.contains(r#""pool":"journal""#), "{line}");
    calls.abort();
}

#[tokio::test]
async fn pool_that_works_again_is_live_again_and_stops_in_order() {
    let mut process = Process::start(&["--stall-threshold=1s"], &[]).await;
    let calls = wedge_journal(&process).await;
    process.until_logged("work makes no progress").await;
    // A reader gets the end of a pipe whose writer closes it.
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
async fn unread_downloads_do_not_hold_up_a_stop() {
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
async fn export_that_hangs_on_s3_does_not_hold_up_a_stop() {
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
    assert!(took >= TIMEOUT / 2, "running exports have their time: {took:?}");
}

#[tokio::test]
async fn start_that_hangs_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("exports");
    let export_id: ExportId = id(1).parse().unwrap();
    let entry = format!(".tara-export/journal/{export_id}-{}.export", "0".repeat(64));
    fs::create_dir_all(data_dir.join(".tara-export/journal")).unwrap();
    fs::write(data_dir.join(entry), "an entry").unwrap();
    // The start wants to know whether it has failed.
    let pipe_path = failure(&data_dir, 1);
    pipe(&pipe_path);
    let mut process = Process::start_in(&data_dir, &[], &[]);
    // It is at it once this returns: a pipe is opened for writing when somebody reads.
    let writer = tokio::task::spawn_blocking(move || {
        fs::OpenOptions::new().write(true).open(pipe_path).unwrap()
    });
    let writer = writer.await.unwrap();
    let (code, took, log) = stop(&mut process).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(took < TIMEOUT, "{took:?}");
    drop(writer);
}

/// Nobody reads its log any more, so that each thread which writes a line hangs, those of the runtime too.
#[tokio::test]
async fn unread_log_does_not_hold_up_a_stop() {
    let mut process = Process::start(&["--log-level=trace"], &[]).await;
    let mut client = process.client().await;
    process.stop_reading();
    let patience = Duration::from_secs(1);
    // Each call is a line at least.
    while let Ok(listed) =
        tokio::time::timeout(patience, client.list_exports(ListExportsRequest::default())).await
    {
        listed.unwrap();
    }
    let (code, took, _) = stop(&mut process).await;
    assert_eq!(code, Some(5));
    assert!(took >= TIMEOUT, "{took:?}");
}

/// The main thread hangs, in a call that nothing interrupts: the last resort ends the process.
#[tokio::test]
async fn process_ends_although_its_main_thread_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("exports");
    let lock_path = data_dir.join(".tara-export/lock");
    pipe(&lock_path);
    // Who is told that another process has the lock reads from the file which one, and here in vain.
    let lock = fs::OpenOptions::new().read(true).write(true).open(&lock_path).unwrap();
    lock.lock().unwrap();
    let mut process = Process::start_in(&data_dir, &[], &[]);
    process.until_in_call_on(&lock_path).await;
    let (code, took, log) = stop(&mut process).await;
    assert_eq!(code, Some(5), "{log}");
    assert!(took >= TIMEOUT, "{took:?}");
    let line = log.lines().find(|line| line.contains("beyond SHUTDOWN_TIMEOUT")).expect("a line");
    assert!(line.contains("the start"), "{line}");
}

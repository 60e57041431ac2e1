//! A full disk: a small tmpfs that only the server sees.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
    process::Command,
};

use tara_export_client::{
    Client,
    proto::{Export, export::State, get_report_request::View},
};
use tara_export_test_support::{Fault, FaultRule};
use tonic::Code;

use crate::{
    callers::send,
    ledger::ExportCase,
    process::{Process, until, within},
    world::World,
};

/// Large enough for a dozen bundles.
const SIZE: &str = "4m";

/// The path as the server sees it: its file system is mounted only in its namespace.
fn path_in_namespace(process: &Process, path: &std::path::Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", process.id()));
    root.join(path.strip_prefix("/").unwrap())
}

/// Fills the disk to the last byte.
fn fill(path: &std::path::Path) {
    let mut filler = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for size_bytes in [64 * 1024, 4096, 1] {
        while filler.write_all(&vec![0; size_bytes]).is_ok() {}
    }
}

/// Starts a server on a new file system of size [`SIZE`].
fn start_on_small_disk(world: &World) -> Process {
    let disk = world.data_dir();
    fs::create_dir_all(&disk).unwrap();
    let mount_and_serve = "mount -t tmpfs -o size=$SIZE tmpfs \"$DISK\" && exec \"$BINARY\" serve";
    let server = world.command("", "5s");
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c", mount_and_serve])
        .env_clear()
        .envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SIZE", SIZE)
        .env("DISK", &disk)
        .env("BINARY", env!("CARGO_BIN_EXE_tara-export"))
        .env("DATA_DIR", disk.join("exports"));
    Process::start(command)
}

async fn until_state(client: &Client, case: ExportCase, state: State) -> Export {
    let waiting = async {
        loop {
            match client.get_export(format!("exports/{}", case.export_id())).await {
                Ok(export) if export.state() == state => return export,
                _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    };
    within(&format!("{case:?} {state:?}"), waiting).await
}

#[tokio::test]
#[ignore = "mounts a file system: as root, or where unprivileged users may have namespaces"]
async fn full_disk_refuses_and_delays_exports_without_loss() {
    let world = World::new("5s").await;
    let disk = world.data_dir();
    let mut process = start_on_small_disk(&world);
    let url = process.url().await.expect("the server starts");
    let client = Client::connect(&url).await.unwrap();
    let filler = path_in_namespace(&process, &disk.join("filler"));
    let journal = path_in_namespace(&process, &disk.join("exports/.tara-export/journal"));
    let existing = ExportCase::new(1).local();
    world.send_all(&url, &[existing]).await;

    // A full disk before acceptance: the request leaves nothing, and existing exports can be read.
    fill(&filler);
    for case in [ExportCase::new(2), ExportCase::new(3).local()] {
        world.send_all(&url, &[case]).await;
        let observed = &world.ledger.observed()[&case];
        assert!(
            !observed.accepted && observed.refused == Some(Code::ResourceExhausted),
            "{observed:?}"
        );
    }
    let entries =
        || fs::read_dir(&journal).unwrap().filter(|e| e.as_ref().unwrap().path().is_file());
    assert_eq!(entries().count(), 0);
    let report = format!("exports/{}", existing.export_id());
    client.get_report(report, View::Text).await.unwrap();

    // With free space the server accepts again, without any action on it.
    fs::remove_file(&filler).unwrap();
    world.send_all(&url, &[ExportCase::new(2), ExportCase::new(3).local()]).await;
    assert!(world.ledger.observed().values().all(|observed| observed.completed.len() == 1));

    // A full disk after acceptance, while S3 hangs: neither store accepts the bundle, and the
    // export waits.
    let hanging = world.s3.fail(FaultRule::new(Fault::Stall));
    let case = ExportCase::new(4);
    let caller = send(&url, &world.ledger, case);
    until("it is accepted", || world.ledger.observed()[&case].accepted).await;
    fill(&filler);
    world.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    world.s3.clear_fault(hanging);
    let waiting = until_state(&client, case, State::Pending).await;
    assert_eq!(waiting.state_reason, "LOCAL_STORE_FULL");
    assert_eq!(entries().count(), 1);
    fs::remove_file(&filler).unwrap();
    within("the end of the export", caller).await.unwrap();
    assert_eq!(world.ledger.observed()[&case].completed[0].state(), State::FellBack);
    world.s3.clear_faults();
    until_state(&client, case, State::Committed).await;
    until("the journal is empty", || entries().count() == 0).await;
    process.terminate();
    process.ended().await;
}

#[tokio::test]
#[ignore = "mounts a file system: as root, or where unprivileged users may have namespaces"]
async fn full_disk_is_reported_only_as_not_accepting() {
    let world = World::new("5s").await;
    let disk = world.data_dir();
    let mut process = start_on_small_disk(&world);
    let url = process.url().await.expect("the server starts");
    let filler = path_in_namespace(&process, &disk.join("filler"));
    let is_serving = async |service: &str| {
        let options = tara_export_client::ConnectOptions::default();
        tara_export_client::is_serving(&url, service, options).await.unwrap()
    };
    let until_accepting = async |expected: bool| {
        let waiting = async {
            while is_serving("accepting").await != expected {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        within(&format!("accepting is {expected}"), waiting).await;
    };
    until_accepting(true).await;
    // The server notices without any call.
    fill(&filler);
    until_accepting(false).await;
    assert!(is_serving("").await && is_serving("liveness").await);
    fs::remove_file(&filler).unwrap();
    until_accepting(true).await;
    process.terminate();
    process.ended().await;
}

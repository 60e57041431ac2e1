//! A disk that is really full: a small file system in memory, which only the server sees.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
    process::Command,
};

use tara_export::{
    client::Client,
    proto::{Export, export::State, get_report_request::View},
};
use tara_export_test_support::{Fault, FaultRule};
use tonic::Code;

use crate::{
    callers::send,
    ledger::Wish,
    process::{Process, until, within},
    world::World,
};

/// Room for a dozen bundles.
const SIZE: &str = "4m";

/// What the server sees at this path. Its file system is mounted for it alone.
fn as_seen_by(process: &Process, path: &std::path::Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", process.id()));
    root.join(path.strip_prefix("/").unwrap())
}

/// Writes until nothing more goes in, to the last byte.
fn fill(path: &std::path::Path) {
    let mut filler = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for size_bytes in [64 * 1024, 4096, 1] {
        while filler.write_all(&vec![0; size_bytes]).is_ok() {}
    }
}

/// Starts a server on a file system of its own of [`SIZE`].
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

async fn until_state(client: &Client, wish: Wish, state: State) -> Export {
    let waiting = async {
        loop {
            match client.get_export(format!("exports/{}", wish.export_id())).await {
                Ok(export) if export.state() == state => return export,
                _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    };
    within(&format!("{wish:?} {state:?}"), waiting).await
}

#[tokio::test]
#[ignore = "mounts a file system: as root, or where unprivileged users may have namespaces"]
async fn a_full_disk_refuses_and_holds_back_and_loses_nothing() {
    let world = World::new("5s").await;
    let disk = world.data_dir();
    let mut process = start_on_small_disk(&world);
    let url = process.url().await.expect("the server starts");
    let client = Client::connect(&url).await.unwrap();
    let filler = as_seen_by(&process, &disk.join("filler"));
    let journal = as_seen_by(&process, &disk.join("exports/.tara-export/journal"));
    let kept = Wish::new(1).local();
    world.send_all(&url, &[kept]).await;

    // Before it is accepted: nothing of it is there, and what was there can be read.
    fill(&filler);
    for wish in [Wish::new(2), Wish::new(3).local()] {
        world.send_all(&url, &[wish]).await;
        let told = &world.ledger.told()[&wish];
        assert!(!told.accepted && told.refused == Some(Code::ResourceExhausted), "{told:?}");
    }
    let entries =
        || fs::read_dir(&journal).unwrap().filter(|e| e.as_ref().unwrap().path().is_file());
    assert_eq!(entries().count(), 0);
    let report = format!("exports/{}", kept.export_id());
    client.get_report(report, View::Text).await.unwrap();

    // With room it goes on, and nobody did anything to the server.
    fs::remove_file(&filler).unwrap();
    world.send_all(&url, &[Wish::new(2), Wish::new(3).local()]).await;
    assert!(world.ledger.told().values().all(|told| told.completed.len() == 1));

    // After it was accepted, while S3 hangs: neither store takes it, and it waits.
    let hanging = world.s3.fail(FaultRule::new(Fault::Stall));
    let wish = Wish::new(4);
    let caller = send(&url, &world.ledger, wish);
    until("it is accepted", || world.ledger.told()[&wish].accepted).await;
    fill(&filler);
    world.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    world.s3.clear_fault(hanging);
    let waiting = until_state(&client, wish, State::Pending).await;
    assert_eq!(waiting.state_reason, "LOCAL_STORE_FULL");
    assert_eq!(entries().count(), 1);
    fs::remove_file(&filler).unwrap();
    within("its end", caller).await.unwrap();
    assert_eq!(world.ledger.told()[&wish].completed[0].state(), State::FellBack);
    world.s3.clear_faults();
    until_state(&client, wish, State::Committed).await;
    until("the journal is empty", || entries().count() == 0).await;
    process.terminate();
    process.ended().await;
}

#[tokio::test]
#[ignore = "mounts a file system: as root, or where unprivileged users may have namespaces"]
async fn a_full_disk_is_reported_as_not_accepting_and_as_nothing_else() {
    let world = World::new("5s").await;
    let disk = world.data_dir();
    let mut process = start_on_small_disk(&world);
    let url = process.url().await.expect("the server starts");
    let filler = as_seen_by(&process, &disk.join("filler"));
    let is_serving = async |service: &str| {
        let options = tara_export::client::ConnectOptions::default();
        tara_export::client::is_serving(&url, service, options).await.unwrap()
    };
    let until_accepting = async |wanted: bool| {
        let waiting = async {
            while is_serving("accepting").await != wanted {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        within(&format!("accepting is {wanted}"), waiting).await;
    };
    until_accepting(true).await;
    // No call is made meanwhile.
    fill(&filler);
    until_accepting(false).await;
    assert!(is_serving("").await && is_serving("liveness").await);
    fs::remove_file(&filler).unwrap();
    until_accepting(true).await;
    process.terminate();
    process.ended().await;
}

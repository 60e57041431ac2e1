//! Journal entries that kill the process: they are quarantined, and the others are committed.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use bytes::Bytes;
use tara_export_bundle::{AcceptedExport, ExportId};
use tara_export_client::{Client, proto::StorageCheck};
use tara_export_digest::Sha256;
use tara_export_test_support::{Fault, FaultRule, Operation};

use crate::{
    large_backlog::accepted,
    ledger::ExportCase,
    process::{End, Process, until, within},
    world::World,
};

/// More starts than any of these tests needs.
const MAX_STARTS: u32 = 12;

fn journal(world: &World) -> PathBuf {
    world.data_dir().join(".tara-export/journal")
}

/// The files in a folder of the journal, by name.
fn files(world: &World, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(journal(world).join(folder)) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".reason.txt"));
    names.sort();
    names
}

/// Exports in the journal without a running process, because S3 refused them.
async fn waiting(world: &mut World, cases: &[ExportCase]) {
    let outage = world.s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    let mut process = world.start("");
    let url = process.url().await.unwrap();
    world.send_all(&url, cases).await;
    // A kill during an attempt to sync would count against the export.
    process.terminate();
    process.ended().await;
    world.s3.clear_fault(outage);
    assert_eq!(world.journal().len(), cases.len());
}

/// Runs `journal retry`, also while a server runs.
pub(crate) fn retry(world: &World, id: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tara-export"))
        .args(["journal", "retry", id])
        .env_clear()
        .env("DATA_DIR", world.data_dir())
        .output()
        .unwrap()
}

async fn check(url: &str, name: &str) -> StorageCheck {
    let checks = Client::connect(url).await.unwrap().check_storage().await.unwrap().checks;
    checks.into_iter().find(|check| check.check == name).unwrap()
}

#[tokio::test]
async fn entry_that_kills_is_quarantined_and_others_are_committed() {
    let mut world = World::new("5s").await;
    let cases = [1, 2, 3, 4].map(ExportCase::new);
    waiting(&mut world, &cases).await;
    let killer = cases[1].export_id();
    let kills = format!("journal.load=return(kill {killer})");
    let mut deaths = 0;
    let mut process = loop {
        let mut process = world.start(&kills);
        until("the process dies, or the journal is empty", || {
            !process.is_alive() || world.journal().is_empty()
        })
        .await;
        if process.is_alive() {
            break process;
        }
        deaths += 1;
        assert!(deaths < MAX_STARTS, "every process is killed");
    };
    // Deaths with several entries in progress are not counted.
    assert!(deaths >= 3, "{deaths}");
    let quarantined = files(&world, "quarantine");
    assert!(matches!(&quarantined[..], [name] if name.starts_with(&killer)), "{quarantined:?}");
    let url = process.url().await.unwrap();
    let row = check(&url, "exports.quarantined").await;
    assert!(row.message.contains(&killer) && row.message.contains("3 processes died"), "{row:?}");
    assert!(row.hint.contains("tara-export journal retry ID"), "{row:?}");

    // `journal retry` works while a server runs that did not load the entry.
    process.terminate();
    process.ended().await;
    let mut process = world.start("");
    process.url().await.unwrap();
    let output = retry(&world, &format!("exports/{killer}"));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout} {:?}", String::from_utf8(output.stderr));
    assert!(stdout.contains(&killer) && stdout.contains("3 processes died"), "{stdout}");
    until("the entry is back in the journal", || files(&world, "retry").is_empty()).await;
    world.until_done().await;
    process.terminate();
    assert_eq!(process.ended().await, End::Exited(Some(0)));
    world.finish().await;
}

#[tokio::test]
async fn retried_entry_starts_with_zero_deaths() {
    let mut world = World::new("5s").await;
    waiting(&mut world, &[ExportCase::new(1)]).await;
    let id = ExportCase::new(1).export_id();
    let kills = "journal.load=return(kill export)";
    for _ in 0..2 {
        for _ in 0..3 {
            let mut process = world.start(kills);
            assert_eq!(process.ended().await, End::Killed);
        }
        let mut process = world.start(kills);
        process.url().await.unwrap();
        assert_eq!(files(&world, "quarantine").len(), 1);
        process.terminate();
        process.ended().await;
        assert_eq!(retry(&world, &id).status.code(), Some(0));
    }
    world.finish().await;
}

#[tokio::test]
async fn ten_deploys_quarantine_nothing() {
    let mut world = World::new("5s").await;
    waiting(&mut world, &[ExportCase::new(1)]).await;
    let held = world.s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject));
    for _ in 0..10 {
        // As long as the retry budget of S3.
        let mut command = world.command("", "10m");
        command.env("SHUTDOWN_TIMEOUT", "10m");
        let mut process = Process::start(command);
        process.url().await.unwrap();
        until("it is in progress", || files(&world, "attempts").len() == 1).await;
        process.terminate();
        until("the stop is recorded", || files(&world, "attempts").is_empty()).await;
        process.kill();
        process.ended().await;
    }
    assert!(files(&world, "quarantine").is_empty() && files(&world, "suspects").is_empty());
    // Without SIGTERM, each of these ends counts.
    for _ in 0..3 {
        let mut process = Process::start(world.command("", "10m"));
        process.url().await.unwrap();
        until("it is in progress", || files(&world, "attempts").len() == 1).await;
        process.kill();
        process.ended().await;
    }
    world.s3.clear_fault(held);
    let mut process = world.start("");
    process.url().await.unwrap();
    assert_eq!(files(&world, "quarantine").len(), 1);
    process.terminate();
    process.ended().await;
    assert_eq!(retry(&world, &ExportCase::new(1).export_id()).status.code(), Some(0));
    world.finish().await;
}

#[tokio::test]
async fn death_during_a_new_export_counts_for_no_entry() {
    let mut world = World::new("5s").await;
    waiting(&mut world, &[ExportCase::new(1)]).await;
    for number in 2..=5 {
        let held = world.s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject));
        let mut process = Process::start(world.command("", "10m"));
        let url = process.url().await.unwrap();
        until("it is in progress", || !files(&world, "attempts").is_empty()).await;
        let caller = crate::callers::send(&url, &world.ledger, ExportCase::new(number));
        until("another is accepted", || world.ledger.observed()[&ExportCase::new(number)].accepted)
            .await;
        process.kill();
        process.ended().await;
        caller.await.unwrap();
        world.s3.clear_fault(held);
    }
    let mut process = world.start("");
    process.url().await.unwrap();
    assert!(files(&world, "quarantine").is_empty());
    process.terminate();
    process.ended().await;
    world.finish().await;
}

#[tokio::test]
async fn retry_reports_unknown_and_ambiguous_ids() {
    let mut world = World::new("5s").await;
    waiting(&mut world, &[ExportCase::new(1)]).await;
    let id = ExportCase::new(1).export_id();
    let entry = world.journal().pop().unwrap();
    let quarantine = journal(&world).join("quarantine");
    fs::create_dir_all(&quarantine).unwrap();
    let error = |id: &str, code: i32| {
        let output = retry(&world, id);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error("nonsense", 2).contains("is not an export"));
    let unknown = error("exports/6f1c7a52-3b0e-4c59-9d7e-0000000000ff", 1);
    assert!(unknown.contains("is not in the journal"), "{unknown}");
    assert!(error(&id, 1).contains("is not in quarantine"));
    fs::rename(journal(&world).join(&entry), quarantine.join(&entry)).unwrap();
    fs::copy(quarantine.join(&entry), quarantine.join(format!("{entry}.2"))).unwrap();
    let several = error(&id, 1);
    assert!(several.contains(&entry) && several.contains(&format!("{entry}.2")), "{several}");
    fs::remove_file(quarantine.join(&entry)).unwrap();
    assert_eq!(retry(&world, &id).status.code(), Some(0));
    assert!(error(&id, 1).contains("is not in quarantine"));
    world.finish().await;
}

#[tokio::test]
async fn retried_damaged_entry_is_quarantined_again() {
    let mut world = World::new("5s").await;
    waiting(&mut world, &[ExportCase::new(1)]).await;
    let entry = world.journal().pop().unwrap();
    let quarantine = journal(&world).join("quarantine");
    fs::create_dir_all(&quarantine).unwrap();
    let intact = fs::read(journal(&world).join(&entry)).unwrap();
    fs::remove_file(journal(&world).join(&entry)).unwrap();
    fs::write(quarantine.join(&entry), &intact[..intact.len() - 1]).unwrap();
    let mut process = world.start("");
    let url = process.url().await.unwrap();
    assert_eq!(retry(&world, &ExportCase::new(1).export_id()).status.code(), Some(0));
    until("it is back in quarantine", || files(&world, "quarantine") == [entry.clone()]).await;
    assert!(check(&url, "exports.quarantined").await.message.contains("bytes and should have"));
    process.terminate();
    process.ended().await;
    fs::write(quarantine.join(&entry), &intact).unwrap();
    assert_eq!(retry(&world, &ExportCase::new(1).export_id()).status.code(), Some(0));
    world.finish().await;
}

/// Starts a server that takes over entries in S3.
fn start_with_store_journal(world: &World, failpoints: &str) -> Process {
    let mut command = world.command(failpoints, "5s");
    command.env("JOURNAL", "store").env("TAKEOVER_INTERVAL", "100ms").env("TAKEOVER_AGE", "0s");
    Process::start(command)
}

fn objects(world: &World, part: &str) -> usize {
    world.s3.objects().keys().filter(|key| key.contains(part)).count()
}

#[tokio::test]
async fn takeover_that_kills_is_quarantined_and_others_are_finished() {
    let mut world = World::new("5s").await;
    let cases = [1, 2].map(ExportCase::new);
    let held = FaultRule::new(Fault::Stall).on(Operation::PutObject).key_contains("report.");
    let held = world.s3.fail(held);
    let mut process = start_with_store_journal(&world, "");
    let url = process.url().await.unwrap();
    let callers = cases.map(|case| crate::callers::send(&url, &world.ledger, case));
    until("both are accepted and in the store", || {
        world.ledger.observed().values().filter(|observed| observed.accepted).count() == 2
            && objects(&world, "/journal/") == 2
            && objects(&world, "/exports/") == 2
    })
    .await;
    process.kill();
    process.ended().await;
    for caller in callers {
        within("a caller", caller).await.unwrap();
    }
    // The machine is lost and replaced.
    fs::remove_dir_all(world.data_dir()).unwrap();
    world.s3.clear_fault(held);

    let killer = cases[0].export_id();
    let kills = format!("takeover.load=return(kill {killer})");
    let mut deaths = 0;
    let mut process = loop {
        let mut process = start_with_store_journal(&world, &kills);
        until("the process dies, or quarantines one entry and takes over the other", || {
            let is_quarantined = files(&world, "quarantine").len() == 1;
            !process.is_alive() || is_quarantined && objects(&world, "/manifest.json") == 1
        })
        .await;
        if process.is_alive() {
            break process;
        }
        deaths += 1;
        assert!(deaths < MAX_STARTS, "every process is killed");
    };
    assert!(deaths >= 3, "{deaths}");
    let url = process.url().await.unwrap();
    let row = check(&url, "exports.quarantined").await;
    assert!(row.message.contains(&killer) && row.message.contains("3 processes died"), "{row:?}");
    process.terminate();
    process.ended().await;

    let mut process = start_with_store_journal(&world, "");
    process.url().await.unwrap();
    let output = retry(&world, &killer);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout} {:?}", String::from_utf8(output.stderr));
    assert!(stdout.contains(&killer) && stdout.contains("3 processes died"), "{stdout}");
    until("it is taken over", || objects(&world, "/manifest.json") == 2).await;
    process.terminate();
    assert_eq!(process.ended().await, End::Exited(Some(0)));
    assert!(files(&world, "attempts").is_empty() && files(&world, "suspects").is_empty());
    world.finish().await;
}

/// An entry of encoding version 1 with many empty feedback items, as previous releases stored a
/// request with two bytes for each.
fn hostile(export: &AcceptedExport, items: usize) -> Vec<u8> {
    let item = r#"{"additional_fields":{}}"#;
    let mut body = String::from(
        r#"{"review":{"document_name":"report.docx","session_id":"","reviewer":"","guidelines_name":null,"guidelines_preference":"","section_names":[],"suggestions":[{"name":"s","items":["#,
    );
    body.push_str(&format!("{item},").repeat(items - 1));
    body.push_str(item);
    body.push_str(
        r#"]}],"accepted":[],"rejected":[],"user_created":[],"activity_log":[],"chat_history":[],"audit_logs":[],"activity_timeline":[],"performance_metrics":{}},"documents":[],"destination":"s3","fallback":"local"}"#,
    );
    let mut header: serde_json::Value = serde_json::from_slice(&export.encode()[1]).unwrap();
    let fields = header.as_object_mut().unwrap();
    fields.remove("footprint_bytes");
    fields.insert("content_size_bytes".into(), body.len().into());
    fields.insert("body_size_bytes".into(), body.len().into());
    fields.insert("body_sha256".into(), Sha256::of(body.as_bytes()).to_string().into());
    let header = format!("{header}\n");
    let prefix = format!("tara-export/accepted v0001 {:020} ", header.len());
    let digest = Sha256::of(format!("{prefix}{header}").as_bytes());
    format!("{prefix}{digest}\n{header}{body}").into_bytes()
}

#[tokio::test]
async fn entries_that_exhaust_memory_do_not_kill_the_process() {
    // As from a request of 6 MB.
    const ITEMS: usize = 3_000_000;
    const ENTRIES: u32 = 4;
    let world = World::new("5s").await;
    let first = accepted(&world).await;
    for number in 1..=ENTRIES {
        let export_id = ExportId::new(ExportCase::new(number).export_id().parse().unwrap());
        let export = AcceptedExport { export_id, ..first.clone() };
        let name = format!("{export_id}-{}.export", export.content_digest);
        let entry = hostile(&export, ITEMS);
        // Intact, but it needs more memory than allowed.
        assert!(AcceptedExport::decode_within(Bytes::from(entry.clone()), 1 << 20).is_err());
        fs::write(journal(&world).join(name), entry).unwrap();
    }
    let server = world.command("", "5s");
    let mut command = Command::new("sh");
    command.arg("-c").arg("ulimit -v 3000000 && exec \"$0\" serve").arg(server.get_program());
    command.env_clear();
    command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut process = Process::start(command);
    let url = process.url().await.expect("the server starts");
    until("the process dies, or the journal is empty", || {
        !process.is_alive() || world.journal().is_empty()
    })
    .await;
    assert!(process.is_alive(), "it ran out of memory");
    let row = check(&url, "exports.quarantined").await;
    assert!(row.message.contains("MAX_REQUEST_MEMORY"), "{row:?}");
    assert_eq!(files(&world, "quarantine").len(), ENTRIES as usize);
}

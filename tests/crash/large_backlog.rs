//! A journal far larger than memory: it is counted at the start, and its entries are read a few at
//! a time.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chrono::TimeDelta;
use tara_export_bundle::{
    AcceptedExport, AcceptedTime, Content, Document, ExportContent, ExportId, FolderBase,
};
use tara_export_client::Client;
use tara_export_digest::Sha256;
use tara_export_test_support::{Fault, FaultRule, Operation};

use crate::{
    callers::send,
    ledger::ExportCase,
    process::{Process, until},
    world::World,
};

const MIB: u64 = 1024 * 1024;
/// Ten gigabytes that occupy almost no disk space: the documents are zeros.
const ENTRIES: u32 = 160;
const ENTRY_BYTES: u64 = 64 * MIB;

/// MAX_REQUEST_MEMORY: three of these entries.
const MAX_REQUEST_MEMORY_BYTES: u64 = 200 * MIB;
/// The limit of the process's other memory.
const REST_BYTES: u64 = 200 * MIB;
/// Far less than reading all entries would take.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// An accepted export, taken from a server's journal.
pub(crate) async fn accepted(world: &World) -> AcceptedExport {
    let held = world.s3.fail(FaultRule::new(Fault::Stall).on(Operation::PutObject));
    let mut process = world.start("");
    let url = process.url().await.unwrap();
    let case = ExportCase::new(1);
    let caller = send(&url, &world.ledger, case);
    until("it is accepted", || world.ledger.observed()[&case].accepted).await;
    process.kill();
    process.ended().await;
    caller.await.unwrap();
    world.s3.clear_fault(held);
    let journal = world.data_dir().join(".tara-export/journal");
    let path = journal.join(world.journal().pop().unwrap());
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    AcceptedExport::decode(Bytes::from(bytes)).unwrap()
}

/// The same export with one large document.
fn enlarged(export: &AcceptedExport) -> AcceptedExport {
    let content = Bytes::from(vec![0; (ENTRY_BYTES - MIB) as usize]);
    let first = export.content.documents[0].clone();
    let document =
        Document { sha256: Some(Sha256::of(&content)), content: Content::Inline(content), ..first };
    let content = ExportContent { documents: vec![document], ..(*export.content).clone() };
    let content_digest = content.digest(export.format_version);
    AcceptedExport { content: Arc::new(content), content_digest, ..export.clone() }
}

/// Writes a journal entry whose last piece, a document of zeros, is sparse.
fn write_sparse(journal: &Path, export: &AcceptedExport) {
    let name = format!("{}-{}.export", export.export_id, export.content_digest);
    let mut file = File::create_new(journal.join(name)).unwrap();
    let pieces = export.encode();
    let (zeros, rest) = pieces.split_last().unwrap();
    rest.iter().for_each(|piece| file.write_all(piece).unwrap());
    let size_bytes = rest.iter().chain([zeros]).map(|piece| piece.len() as u64).sum();
    file.set_len(size_bytes).unwrap();
}

/// The peak memory of a process, in bytes.
fn peak_memory_bytes(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap();
    kibibytes * 1024
}

#[tokio::test]
async fn ten_gigabyte_journal_is_counted_at_start_and_read_in_parts() {
    let world = World::new("10m").await;
    let first = enlarged(&accepted(&world).await);
    let journal = world.data_dir().join(".tara-export/journal");
    for number in 1..=ENTRIES {
        let export_id = ExportId::new(ExportCase::new(number).export_id().parse().unwrap());
        let seconds = TimeDelta::seconds(number.into());
        let accepted_time = AcceptedTime::new(first.accepted_time.as_datetime() + seconds);
        let folder_base = FolderBase::new(&accepted_time, "report.docx");
        let export = AcceptedExport { export_id, accepted_time, folder_base, ..first.clone() };
        write_sparse(&journal, &export);
    }
    drop(first);
    // Loaded entries stay in memory until S3 responds.
    let documents = FaultRule::new(Fault::Stall).on(Operation::CreateMultipartUpload);
    let held = world.s3.fail(documents.key_contains("/documents/"));
    let mut command = world.command("", "10m");
    command
        .env("MAX_REQUEST_SIZE", format!("{ENTRY_BYTES}B"))
        .env("MAX_REQUEST_MEMORY", format!("{MAX_REQUEST_MEMORY_BYTES}B"))
        .env("BACKLOG_CONCURRENCY", "64");
    let start = Instant::now();
    let mut process = Process::start(command);
    let url = process.url().await.unwrap();
    let ready_after = start.elapsed();
    assert!(ready_after < READY_WITHIN, "ready after {ready_after:?}");
    let client = Client::connect(&url).await.unwrap();
    let checks = client.check_storage().await.unwrap().checks;
    let row = checks.iter().find(|check| check.check == "exports.journal").unwrap();
    assert!(row.message.contains(&format!("started {ENTRIES}: ")), "{}", row.message);
    assert!(row.message.contains("quarantined 0"), "{}", row.message);
    until("as many entries as fit are loaded", || world.s3.fault_hits(held) >= 3).await;
    // Memory for a fourth entry is not available, but a small request still fits.
    let case = ExportCase::new(ENTRIES + 1);
    world.send_all(&url, &[case]).await;
    assert!(world.ledger.observed()[&case].accepted);
    assert_eq!(world.s3.fault_hits(held), 3);
    let peak_bytes = peak_memory_bytes(&process);
    eprintln!("ready after {ready_after:?}, {} MiB of memory at most", peak_bytes / MIB);
    assert!(peak_bytes < MAX_REQUEST_MEMORY_BYTES + REST_BYTES, "{} MiB", peak_bytes / MIB);
}

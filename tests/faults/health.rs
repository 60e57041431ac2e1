//! Health of a server: liveness fails if a pool is stuck, acceptance fails if the disk or the store refuses.
//! Neither changes readiness.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tara_export::{
    health::RefusalReason,
    server::{ACCEPTING, LIVENESS},
};
use tara_export_client::proto::{CheckStorageRequest, storage_check};
use tara_export_limits::Pool;
use tara_export_test_support::{Fault, FaultRule, TestS3};
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use crate::{
    following::committed,
    harness::{Host, TestServer, endpoint, http::get, pools::wedge, s3::store_of, within},
    requests::request,
    statuses::expect_status,
};

/// Health names for readiness. A failing disk or a stall does not change them.
const READINESS: [&str; 2] = ["", "tara.export.v1.ExportService"];

async fn channel(server: &TestServer) -> Channel {
    endpoint(server.address).connect().await.unwrap()
}

async fn check(server: &TestServer, name: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: name.to_owned() };
    let mut health = HealthClient::new(channel(server).await);
    health.check(request).await.unwrap().into_inner().status()
}

async fn watch(server: &TestServer, name: &str) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: name.to_owned() };
    HealthClient::new(channel(server).await).watch(request).await.unwrap().into_inner()
}

async fn until(health: &mut Streaming<HealthCheckResponse>, what: &str, expected: ServingStatus) {
    let waiting = async { while health.message().await.unwrap().unwrap().status() != expected {} };
    within(what, waiting).await;
}

async fn expect_ready(server: &TestServer) {
    for name in READINESS {
        assert_eq!(check(server, name).await, ServingStatus::Serving, "{name}");
    }
    assert_eq!(get(&format!("http://{}/healthz", server.address)).await.0, 200);
}

/// A row of CheckStorage: whether it failed, and its message and hint.
async fn row(server: &mut TestServer, name: &str) -> (bool, String) {
    let checks = server.client.check_storage(CheckStorageRequest {}).await.unwrap();
    let checks = checks.into_inner().checks;
    let check = checks.into_iter().find(|check| check.check == name).expect("a row");
    (check.status() == storage_check::Status::Failed, format!("{} {}", check.message, check.hint))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_pool_fails_liveness_and_nothing_else() {
    let server = Host::new().flags(&["--stall-threshold=1s"]).start().await;
    let pools: Vec<Pool> = server.running.pools().iter().cloned().collect();
    let names: Vec<&str> = pools.iter().map(Pool::name).collect();
    assert_eq!(
        names,
        ["journal", "documents", "local-writes", "batches", "computing", "local-reads", "archives"]
    );
    let mut liveness = watch(&server, LIVENESS).await;
    let url = format!("http://{}/livez", server.address);
    for pool in pools {
        let what = format!("liveness and {}", pool.name());
        until(&mut liveness, &what, ServingStatus::Serving).await;
        assert_eq!(get(&url).await.0, 200);
        let release = wedge(&pool);
        until(&mut liveness, &what, ServingStatus::NotServing).await;
        assert_eq!(check(&server, LIVENESS).await, ServingStatus::NotServing);
        let (status, _, body) = get(&url).await;
        assert_eq!(status, 503);
        let body = String::from_utf8(body.into()).unwrap();
        assert!(body.starts_with(&format!("{}: no progress for ", pool.name())), "{body}");
        assert_eq!(body.lines().count(), 1, "{body}");
        expect_ready(&server).await;
        drop(release);
    }
    until(&mut liveness, "the end of the last stall", ServingStatus::Serving).await;
    server.stop().await;
}

#[tokio::test]
async fn check_reports_a_stalled_journal_and_does_not_wait_for_it() {
    let mut server = Host::new().flags(&["--stall-threshold=1s"]).start().await;
    let pools = server.running.pools();
    let journal = pools.iter().find(|pool| pool.name() == "journal").unwrap();
    let mut liveness = watch(&server, LIVENESS).await;
    let release = wedge(journal);
    until(&mut liveness, "the stall", ServingStatus::NotServing).await;
    let (has_failed, message) = row(&mut server, "server.progress").await;
    assert!(has_failed && message.contains("journal: no progress for"), "{message}");
    drop(release);
    until(&mut liveness, "its end", ServingStatus::Serving).await;
    assert!(!row(&mut server, "server.progress").await.0);
    server.stop().await;
}

/// Each kind of blocking work has its own threads: hanging reads of the local store do not block exports.
#[tokio::test]
async fn exports_continue_while_local_reads_hang() {
    let mut server = Host::with_s3(store_of(&TestS3::start().await)).start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    let pools = server.running.pools();
    let reads = pools.iter().find(|pool| pool.name() == "local-reads").unwrap();
    let release = wedge(reads);
    let accepted = server.client.start_export(request(2, "b.docx"));
    within("the next export is accepted", accepted).await.unwrap();
    drop(release);
    server.stop().await;
}

/// A file in place of a folder, so that no user, including root, can write to the folder.
struct BlockedFolder {
    folder: PathBuf,
    backup: PathBuf,
}

impl BlockedFolder {
    fn new(folder: &Path) -> Self {
        let backup = folder.with_extension("backup");
        if folder.exists() {
            fs::rename(folder, &backup).unwrap();
        }
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        fs::write(folder, "no folder").unwrap();
        Self { folder: folder.to_owned(), backup }
    }
}

impl Drop for BlockedFolder {
    fn drop(&mut self) {
        fs::remove_file(&self.folder).unwrap();
        if self.backup.exists() {
            fs::rename(&self.backup, &self.folder).unwrap();
        }
    }
}

#[tokio::test]
async fn unwritable_disk_is_reported_as_not_accepting_and_recovers() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    let mut accepting = watch(&server, ACCEPTING).await;
    until(&mut accepting, "acceptance at startup", ServingStatus::Serving).await;
    for folder in [".tara-export/journal/tmp", ".tara-export/tmp"] {
        // The server detects it without a call.
        let blocked = BlockedFolder::new(&host.data_dir().join(folder));
        until(&mut accepting, folder, ServingStatus::NotServing).await;
        assert_eq!(check(&server, ACCEPTING).await, ServingStatus::NotServing);
        assert_eq!(check(&server, LIVENESS).await, ServingStatus::Serving);
        expect_ready(&server).await;
        let (has_failed, message) = row(&mut server, "server.accepting").await;
        assert!(has_failed && message.contains(folder), "{message}");
        drop(blocked);
        until(&mut accepting, folder, ServingStatus::Serving).await;
    }
    assert!(!row(&mut server, "server.accepting").await.0);
    committed(&mut server.client, request(2, "b.docx")).await;
    server.stop().await;
}

#[tokio::test]
async fn refused_export_is_reported_at_once() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    let mut refusals = server.running.engine().acceptance().subscribe();
    let _blocked = BlockedFolder::new(&host.data_dir().join(".tara-export/journal/tmp"));
    let refused = server.client.start_export(request(2, "b.docx")).await.unwrap_err();
    expect_status(&refused, Code::ResourceExhausted, "LOCAL_STORE_FULL");
    let refusal = refusals.borrow_and_update().clone().expect("it is known before the response");
    assert_eq!(refusal.reason, RefusalReason::DiskNotWritable);
}

#[tokio::test]
async fn full_journal_is_reported_until_there_is_room() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3)).flags(&[
        "--max-journal-bytes=1MiB",
        "--s3-retry-budget=10m",
        "--accept-timeout=10ms",
        "--shutdown-timeout=0s",
    ]);
    let mut server = host.start().await;
    s3.fail(FaultRule::new(Fault::Stall));
    let mut accepting = watch(&server, ACCEPTING).await;
    let large = |number| {
        let mut request = request(number, "a.docx");
        let source =
            tara_export_client::proto::document::Source::Content(vec![b'x'; 400_000].into());
        request.documents[0].source = Some(source);
        request
    };
    let mut streams = Vec::new();
    for number in 1.. {
        match server.client.start_export(large(number)).await {
            Ok(stream) => streams.push(stream),
            Err(refused) => {
                expect_status(&refused, Code::ResourceExhausted, "LOCAL_STORE_FULL");
                break;
            }
        }
    }
    until(&mut accepting, "the full journal", ServingStatus::NotServing).await;
    let refusal = server.running.engine().acceptance().refusal().unwrap();
    assert_eq!(refusal.reason, RefusalReason::JournalFull);
    // Checks repeat the refusal: a small export would fit, but not one of the recent size.
    let checked = server.running.engine().check_acceptance().await.unwrap();
    assert_eq!(checked.reason, RefusalReason::JournalFull);
    expect_ready(&server).await;
    s3.clear_faults();
    until(&mut accepting, "space in the journal", ServingStatus::Serving).await;
    server.stop().await;
}

#[tokio::test]
async fn exports_are_accepted_while_one_store_is_writable() {
    let s3 = TestS3::start().await;
    let host = Host::with_s3(store_of(&s3));
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    let engine = server.running.engine().clone();
    assert_eq!(engine.check_acceptance().await, None);
    let denied = s3.fail(FaultRule::new(Fault::ACCESS_DENIED));
    assert_eq!(engine.check_acceptance().await, None, "bundles are written to the local store");
    let blocked = BlockedFolder::new(&host.data_dir().join(".tara-export/tmp"));
    let refusal = engine.check_acceptance().await.expect("neither store accepts bundles");
    assert_eq!(refusal.reason, RefusalReason::StoreRefuses);
    assert!(refusal.message.contains(".tara-export/tmp"), "{}", refusal.message);
    s3.clear_fault(denied);
    assert_eq!(engine.check_acceptance().await, None, "S3 accepts them");
    drop(blocked);
    server.stop().await;
}

#[tokio::test]
async fn check_of_acceptance_leaves_nothing_on_the_disk() {
    let host = Host::new();
    let mut server = host.start().await;
    committed(&mut server.client, request(1, "a.docx")).await;
    let is_journaled = || host.files().iter().any(|file| file.ends_with(".export"));
    crate::harness::until("the journal to empty", || !is_journaled()).await;
    let files = host.files();
    assert_eq!(server.running.engine().check_acceptance().await, None);
    assert_eq!(host.files(), files);
    server.stop().await;
}

//! Tests of the sync of bundles that fell back, with in-memory stores.

use tara_export_bundle::{AcceptedExport, AcceptedTime, ExportId, StoreId};
use tara_export_catalog::{
    layout,
    records::{self, ExportRecord, StoreIdentity},
};
use tara_export_store::{StoreError, StoreErrorKind, memory::Operation};
use tokio::time;
use uuid::Uuid;

use super::*;
use crate::export::{
    drive::execute::Origin,
    failure::FailureReason,
    testing::{TestServer, calls_on, export, folder, is_committed, seconds},
};

/// A server with an export that fell back in an outage. The outage is over.
async fn fallen_back() -> (TestServer, AcceptedExport, JournalEntry) {
    let (server, export) = (TestServer::start().await, export(1));
    let entry = server.record(&export).await;
    server.s3.set_unavailable(true);
    time::pause();
    let job = server.job(&export).await;
    job.execute(&export, &entry, Origin::Request).await;
    time::advance(server.shared.settings.outage_pause).await;
    // With a paused clock, the watchdog's timeout would expire while the journal works.
    time::resume();
    server.s3.set_unavailable(false);
    assert_eq!(server.shared.tally.counts().fell_back, 1);
    (server, export, entry)
}

/// Syncs an entry like the backlog worker.
async fn sync_entry(server: &TestServer, entry: &JournalEntry) {
    let shared = &server.shared;
    let permit = shared.admission.admit_journaled(entry.memory_bytes).await.unwrap();
    sync_or_postpone(shared, entry, Task::Sync, permit).await;
}

#[tokio::test]
async fn bundle_that_fell_back_is_moved_to_s3() {
    let (server, export, entry) = fallen_back().await;
    let local = server.local.bytes(layout::manifest(&folder(&export, 1)).as_str()).unwrap();
    sync_entry(&server, &entry).await;
    let manifest = server.s3.bytes(layout::manifest(&folder(&export, 1)).as_str()).unwrap();
    assert_eq!(manifest, local, "the same bundle");
    assert_eq!(server.local.keys(), [""; 0]);
    assert!(!server.has_entry(&export).await);
    assert!(server.shared.backlog.get(&entry).is_none());
    let counts = server.shared.tally.counts();
    assert_eq!((counts.fell_back, counts.completed), (0, 1));
    // The run, which reports the local store, is forgotten.
    assert!(server.shared.registry.get(export.export_id).is_none());
    let journal = server.shared.journal().unwrap();
    let receipt = journal.receipt(export.export_id).await.unwrap().unwrap();
    assert_eq!(receipt.export().state, ExportState::Committed);
}

#[tokio::test]
async fn bundle_remains_in_local_store_while_s3_fails() {
    let (server, export, entry) = fallen_back().await;
    server.s3.set_unavailable(true);
    time::pause();
    let observer = Arc::new(Activity::new());
    let mut work = server.work(&export, observer).await;
    let failure = sync(&mut work, &entry, Task::Sync).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::StoreUnavailable);
    assert!(is_committed(&server.local, &folder(&export, 1)));
    assert!(server.has_entry(&export).await);
    assert!(server.shared.registry.get(export.export_id).is_some());
}

/// The same settings now lead to another store.
#[tokio::test]
async fn bundle_is_not_sent_to_a_replaced_store() {
    let (server, export, entry) = fallen_back().await;
    let key = layout::store_identity();
    let own = server.s3.bytes(key.as_str()).unwrap();
    let store_id = StoreId::new(Uuid::from_u128(99));
    let identity = StoreIdentity { store_id, created_time: AcceptedTime::new(seconds(0)) };
    server.s3.replace(key.as_str(), records::payload(&identity).bytes);
    sync_entry(&server, &entry).await;
    let waiting = server.shared.backlog.get(&entry).unwrap();
    assert_eq!(waiting.task, Task::Sync);
    assert_eq!(waiting.last_failure.unwrap().reason, FailureReason::StoreChanged);
    assert_eq!(server.s3.keys(), [key.as_str()]);
    assert!(is_committed(&server.local, &folder(&export, 1)));
    assert!(server.has_entry(&export).await);

    server.s3.replace(key.as_str(), own);
    sync_entry(&server, &entry).await;
    assert!(is_committed(&server.s3, &folder(&export, 1)));
    assert!(!server.has_entry(&export).await);
}

/// S3 has an export of other content under the id. This machine could not know it during the outage.
#[tokio::test]
async fn content_is_stored_under_derived_id_if_s3_uses_its_id() {
    let (server, own, entry) = fallen_back().await;
    let other = AcceptedExport { export_id: own.export_id, ..export(9) };
    let record = records::payload(&ExportRecord::new(&other)).bytes;
    let key = layout::record(own.export_id);
    server.s3.replace(key.as_str(), record.clone());
    sync_entry(&server, &entry).await;

    let derived =
        ExportId::new(Uuid::new_v5(&own.export_id.as_uuid(), own.content_digest.as_bytes()));
    let stored = records::read_record(server.s3.as_ref(), derived).await.unwrap().unwrap();
    assert_eq!(stored.content_digest, own.content_digest);
    assert_eq!(server.s3.bytes(key.as_str()).unwrap(), record);
    // An attempt under the original id may have claimed the first folder.
    let folders = (1..=2).filter(|number| is_committed(&server.s3, &folder(&own, *number)));
    assert_eq!(folders.count(), 1);
    let failed = server.shared.journal().unwrap().failure(own.export_id).await.unwrap().unwrap();
    assert_eq!(failed.stored_under_id(), Some(derived));
    assert_eq!(failed.failure().reason, FailureReason::RequestIdReused);
    assert_eq!(server.local.keys(), [""; 0]);
    assert!(!server.has_entry(&own).await);
    assert!(server.shared.backlog.get(&entry).is_none());
}

/// A bundle whose removal was interrupted is found in S3 and not sent again.
#[tokio::test]
async fn interrupted_removal_continues_without_second_upload() {
    let (server, export, entry) = fallen_back().await;
    let denied = StoreError::new(StoreErrorKind::Denied, "injected by the test");
    server.local.fail_next(Operation::Delete, denied);
    sync_entry(&server, &entry).await;
    assert!(server.shared.backlog.get(&entry).unwrap().last_failure.is_some());
    assert!(server.has_entry(&export).await);
    sync_entry(&server, &entry).await;
    assert_eq!(calls_on(&server.s3, Operation::Put, "readable_report.txt"), 1);
    assert_eq!(server.local.keys(), [""; 0]);
    assert!(!server.has_entry(&export).await);
}

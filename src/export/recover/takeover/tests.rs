//! Tests of the takeover of entries that a lost replica left, with an in-memory store.

use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use chrono::TimeDelta;
use tara_export_bundle::{AcceptedExport, AcceptedTime, FolderBase};
use tara_export_catalog::{
    layout::{self, JournalLocation},
    records::{self, ExportRecord, JournalEndMarker, JournalOutcome},
};
use tara_export_clock::Clock as _;
use tara_export_store::{StoreError, StoreErrorKind, memory::Operation};

use super::*;
use crate::export::{
    settings::EngineSettings,
    testing::{
        Recorder, TAKEOVER_AGE, TestServer, calls_on, export, folder, is_committed, seconds,
        settings,
    },
};

/// A replica with access to the store's journal.
struct Replica {
    server: TestServer,
    takeover: Takeover,
}

impl Replica {
    async fn start() -> Self {
        let settings = EngineSettings { journal: JournalLocation::Store, ..settings() };
        let server = TestServer::start_with(settings).await;
        let takeover = Takeover::new(server.shared.clone(), server.s3());
        Self { server, takeover }
    }

    /// Puts the record and the entry of an export that another replica accepted `age` ago.
    fn leave(&self, export: &AcceptedExport, age: Duration) {
        self.put_record(export, &ExportRecord::new(export));
        self.put_entry(export, export, age);
    }

    fn put_record(&self, export: &AcceptedExport, record: &ExportRecord) {
        let key = layout::record(export.export_id);
        self.server.s3.replace(key.as_str(), records::payload(record).bytes);
    }

    /// Puts an entry with the name of one export and the bytes of another.
    fn put_entry(&self, named: &AcceptedExport, export: &AcceptedExport, age: Duration) {
        let (key, s3) = (entry_of(named), &self.server.s3);
        s3.replace(&key, Bytes::from(export.encode().concat()));
        s3.set_modified_time(&key, self.server.clock.now() - TimeDelta::from_std(age).unwrap());
    }

    fn put_end_marker(&self, export: &AcceptedExport) {
        let key = layout::journal_end_marker(export.export_id, export.content_digest);
        let marker = records::payload(&JournalEndMarker { outcome: JournalOutcome::Failed });
        self.server.s3.replace(key.as_str(), marker.bytes);
    }

    /// Scans the journal and returns the candidates.
    async fn scan(&self) -> Vec<Candidate> {
        scan::scan(&self.takeover).await.unwrap();
        std::iter::from_fn(|| self.takeover.candidates.next().now_or_never()).collect()
    }

    /// Scans the journal and works on all candidates. Returns their number.
    async fn pass(&self) -> usize {
        let candidates = self.scan().await;
        for candidate in &candidates {
            self.takeover.work_on(*candidate).await;
        }
        candidates.len()
    }

    fn has_entry(&self, export: &AcceptedExport) -> bool {
        self.server.s3.bytes(&entry_of(export)).is_some()
    }

    fn is_committed(&self, export: &AcceptedExport) -> bool {
        is_committed(&self.server.s3, &folder(export, 1))
    }

    /// Puts of the bundles' files.
    fn puts(&self) -> usize {
        calls_on(&self.server.s3, Operation::Put, "readable_report.txt")
    }
}

fn entry_of(export: &AcceptedExport) -> String {
    layout::journal_entry(export.export_id, export.content_digest).to_string()
}

#[tokio::test]
async fn old_entry_is_finished_with_the_values_of_its_record() {
    let (replica, accepted) = (Replica::start().await, export(1));
    // Two replicas accepted the export. The record is from the other replica.
    let accepted_time = AcceptedTime::new(seconds(2));
    let folder_base = FolderBase::new(&accepted_time, "report 1.docx");
    let recorded = AcceptedExport { accepted_time, folder_base, ..accepted.clone() };
    replica.put_record(&recorded, &ExportRecord::new(&recorded));
    replica.put_entry(&accepted, &accepted, TAKEOVER_AGE);
    assert_eq!(replica.pass().await, 1);
    assert!(replica.is_committed(&recorded));
    assert!(!replica.is_committed(&accepted));
    assert!(!replica.has_entry(&accepted));
    assert_eq!(replica.pass().await, 0);
}

#[tokio::test]
async fn entry_is_not_taken_over_before_the_takeover_age() {
    let (replica, accepted) = (Replica::start().await, export(1));
    replica.leave(&accepted, TAKEOVER_AGE - Duration::from_secs(1));
    assert_eq!(replica.pass().await, 0);
    assert!(replica.has_entry(&accepted));
    replica.server.clock.advance(Duration::from_secs(1));
    assert_eq!(replica.pass().await, 1);
    assert!(replica.is_committed(&accepted));
}

/// By this machine's clock, the entry was written tomorrow.
#[tokio::test(start_paused = true)]
async fn entry_known_for_the_takeover_age_is_old_despite_clock_skew() {
    let (replica, accepted) = (Replica::start().await, export(1));
    replica.leave(&accepted, Duration::ZERO);
    let tomorrow = replica.server.clock.now() + TimeDelta::days(1);
    replica.server.s3.set_modified_time(&entry_of(&accepted), tomorrow);
    assert_eq!(replica.scan().await, []);
    time::advance(TAKEOVER_AGE).await;
    let offered = replica.scan().await;
    assert_eq!(offered.len(), 1);
    // A candidate passes the same check again.
    let Candidate { export_id, content_digest, modified_time } = offered[0];
    assert!(replica.takeover.is_old((export_id, content_digest), modified_time.unwrap()));
}

#[tokio::test]
async fn entry_with_end_marker_is_ignored() {
    let replica = Replica::start().await;
    let (marked_before, marked_since) = (export(1), export(2));
    replica.leave(&marked_before, TAKEOVER_AGE);
    replica.leave(&marked_since, TAKEOVER_AGE);
    replica.put_end_marker(&marked_before);
    let offered = replica.scan().await;
    assert_eq!(offered.len(), 1);
    assert_eq!(offered[0].export_id, marked_since.export_id);
    // The replica of the export marks it as failed after it was listed.
    replica.put_end_marker(&marked_since);
    replica.takeover.work_on(offered[0]).await;
    assert_eq!(replica.puts(), 0);
    assert!(replica.has_entry(&marked_before) && replica.has_entry(&marked_since));
}

#[tokio::test]
async fn entry_with_a_bundle_is_ended_without_a_second_bundle() {
    for may_delete in [true, false] {
        let (replica, accepted) = (Replica::start().await, export(1));
        let work = replica.server.work(&accepted, Arc::<Recorder>::default()).await;
        let sent = AtomicBool::new(false);
        work.try_store(&replica.server.s3(), &accepted, &sent, None).await.unwrap();
        replica.leave(&accepted, TAKEOVER_AGE);
        if !may_delete {
            let denied = StoreError::new(StoreErrorKind::Denied, "injected by the test");
            replica.server.s3.fail_next(Operation::Delete, denied);
        }
        assert_eq!(replica.pass().await, 1);
        assert_eq!(replica.puts(), 1, "by the previous attempt");
        let key = entry_of(&accepted);
        assert_eq!(calls_on(&replica.server.s3, Operation::Get, &key), 0, "the entry is not read");
        assert_eq!(replica.has_entry(&accepted), !may_delete);
        // In both cases, later scans ignore the entry.
        assert_eq!(replica.pass().await, 0);
    }
}

#[tokio::test]
async fn entry_without_record_is_not_finished() {
    let (replica, accepted) = (Replica::start().await, export(1));
    replica.put_entry(&accepted, &accepted, TAKEOVER_AGE);
    assert_eq!(replica.pass().await, 1);
    assert_eq!(replica.puts(), 0);
    assert!(replica.has_entry(&accepted));
}

#[tokio::test]
async fn entry_with_other_content_than_the_record_is_ended() {
    let (replica, accepted) = (Replica::start().await, export(1));
    replica.leave(&accepted, TAKEOVER_AGE);
    let other = AcceptedExport { export_id: accepted.export_id, ..export(9) };
    replica.put_record(&accepted, &ExportRecord::new(&other));
    assert_eq!(replica.pass().await, 1);
    assert_eq!(replica.puts(), 0);
    assert!(!replica.has_entry(&accepted));
}

#[tokio::test]
async fn entry_with_the_header_of_another_export_is_not_finished() {
    let (replica, named, other) = (Replica::start().await, export(1), export(2));
    replica.put_record(&named, &ExportRecord::new(&named));
    replica.put_record(&other, &ExportRecord::new(&other));
    replica.put_entry(&named, &other, TAKEOVER_AGE);
    assert_eq!(replica.pass().await, 1);
    assert_eq!(replica.puts(), 0);
    assert!(replica.has_entry(&named));
}

#[tokio::test]
async fn export_of_this_replica_is_not_taken_over() {
    let (replica, accepted) = (Replica::start().await, export(1));
    replica.leave(&accepted, TAKEOVER_AGE);
    let offered = replica.scan().await;
    // A request with the same id arrives after the scan.
    replica.server.record(&accepted).await;
    replica.takeover.work_on(offered[0]).await;
    assert_eq!((replica.puts(), replica.pass().await), (0, 0));
    assert!(replica.has_entry(&accepted));
}

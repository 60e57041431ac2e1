//! Tests of the commit protocol with an in-memory store, foreign exports and store failures.

use bytes::Bytes;
use tara_export_bundle::{AcceptedTime, FolderBase, Replacement, render};
use tara_export_store::memory::{Call, Fault, MemoryStore, Operation};
use uuid::Uuid;

use super::*;
use crate::export::{
    failure::FailureReason,
    testing::{
        ObservedCall, RETRY_BUDGET, Recorder, TestServer, calls_on, export, folder, is_committed,
        seconds, unavailable,
    },
};

/// Commits one export to one store. The store's identity is not checked.
struct Writer {
    server: TestServer,
    store: Arc<MemoryStore>,
    export: AcceptedExport,
    recorder: Arc<Recorder>,
    manifest_sent: AtomicBool,
}

impl Writer {
    async fn new(kind: StoreKind) -> Self {
        let server = TestServer::start().await;
        let store = match kind {
            StoreKind::S3 => server.s3.clone(),
            StoreKind::Local => server.local.clone(),
        };
        Self {
            server,
            store,
            export: export(1),
            recorder: Arc::default(),
            manifest_sent: AtomicBool::new(false),
        }
    }

    fn commit(&self) -> Commit<'_> {
        let shared = self.server.shared.as_ref();
        Commit {
            store: self.store.as_ref(),
            export_id: self.export.export_id,
            observer: self.recorder.clone(),
            retries: Arc::default(),
            budget: Arc::new(RetryBudget::new(RETRY_BUDGET)),
            parallel_puts: 2,
            manifest_sent: &self.manifest_sent,
            documents: Documents::new(shared, self.export.export_id, self.export.digest()),
            transfers: &shared.transfers,
            attempt_marker: None,
            own_store: None,
        }
    }

    async fn claim(&self) -> Claim {
        self.commit().claim(&self.export).await.unwrap()
    }

    /// Claims a folder and writes the bundle.
    async fn write(&self) -> Result<Committed, AttemptError> {
        let commit = self.commit();
        let claim = commit.claim(&self.export).await?;
        let bundle = render(&claim.export).unwrap();
        commit.write(claim, &bundle).await
    }

    fn folder(&self, number: u32) -> FolderName {
        folder(&self.export, number)
    }

    /// Puts another export's claim on a folder.
    fn claim_for_other(&self, folder: &FolderName) {
        let claim = FolderClaim { export_id: export(9).export_id };
        let key = layout::folder_claim(folder);
        self.store.replace(key.as_str(), records::payload(&claim).bytes);
    }

    /// The manifest of another export in a folder.
    fn manifest_of_other(&self, folder: &FolderName) -> Bytes {
        let other = export(9);
        let manifest = render(&other).unwrap().manifest(&other, folder);
        manifest.content.inline().unwrap().clone()
    }

    /// The report of the bundle, and other bytes of the same size.
    fn report(&self) -> (Artifact, Bytes) {
        let bundle = render(&self.export).unwrap();
        let mut artifacts = bundle.artifacts.into_iter();
        let report = artifacts.find(|artifact| artifact.path.as_str() == "readable_report.txt");
        let report = report.unwrap();
        let mut other = report.content.inline().unwrap().to_vec();
        other[0] ^= 1;
        (report, other.into())
    }
}

const BOTH: [StoreKind; 2] = [StoreKind::S3, StoreKind::Local];

#[tokio::test(start_paused = true)]
async fn new_export_gets_record_folder_bundle_and_index_entry() {
    for kind in BOTH {
        let writer = Writer::new(kind).await;
        let claim = writer.claim().await;
        assert_eq!((&claim.folder, claim.committed), (&writer.folder(1), None));
        assert!(!writer.manifest_sent.load(Ordering::Relaxed));
        let committed = writer.write().await.unwrap();
        assert_eq!((&committed.folder, committed.committed_time), (&writer.folder(1), None));
        assert!(writer.manifest_sent.load(Ordering::Relaxed));
        let bundle = render(&writer.export).unwrap();
        let manifest = bundle.manifest(&writer.export, &committed.folder);
        let files = bundle.artifacts.iter().chain([&manifest]);
        let mut expected: Vec<String> = files
            .map(|artifact| layout::artifact(&committed.folder, &artifact.path).to_string())
            .chain([
                layout::record(writer.export.export_id).to_string(),
                layout::folder_claim(&committed.folder).to_string(),
                layout::index_entry(writer.export.accepted_time, &committed.folder).to_string(),
            ])
            .collect();
        expected.sort();
        let mut stored = writer.store.keys();
        stored.retain(|key| *key != layout::store_identity().to_string());
        assert_eq!(stored, expected);
        // The manifest commits the bundle, so it is written last.
        let last = writer.store.calls().pop().unwrap();
        let key = layout::manifest(&committed.folder).to_string();
        assert_eq!(last, Call { operation: Operation::Put, key });
        assert_eq!(
            writer.recorder.calls().pop(),
            Some(ObservedCall::Stored("manifest.json".to_owned()))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn folders_with_foreign_claim_or_manifest_are_skipped() {
    for kind in BOTH {
        let writer = Writer::new(kind).await;
        writer.claim_for_other(&writer.folder(1));
        let foreign = layout::manifest(&writer.folder(2));
        writer.store.replace(foreign.as_str(), "foreign");
        let other = writer.manifest_of_other(&writer.folder(3));
        writer.store.replace(layout::manifest(&writer.folder(3)).as_str(), other.clone());
        assert_eq!(writer.write().await.unwrap().folder, writer.folder(4));
        // No artifact was put into the other folders.
        assert_eq!(calls_on(&writer.store, Operation::Put, "readable_report.txt"), 1);
        assert_eq!(writer.store.bytes(foreign.as_str()).unwrap(), "foreign");
        assert_eq!(
            writer.store.bytes(layout::manifest(&writer.folder(3)).as_str()).unwrap(),
            other
        );
    }
}

/// Another replica receives the same request later and uses the values that the first replica pinned.
#[tokio::test(start_paused = true)]
async fn record_and_folder_of_a_previous_attempt_are_reused() {
    for kind in BOTH {
        let mut writer = Writer::new(kind).await;
        writer.export.requested_by = "ada".to_owned();
        writer.claim_for_other(&writer.folder(1));
        let first = writer.claim().await;
        assert_eq!(first.folder, writer.folder(2));
        let (first_base, first_time) =
            (writer.export.folder_base.clone(), writer.export.accepted_time);
        writer.export.accepted_time = AcceptedTime::new(seconds(7));
        writer.export.folder_base = FolderBase::new(&writer.export.accepted_time, "report 1.docx");
        writer.export.requested_by = "eve".to_owned();
        let again = writer.claim().await;
        assert_eq!((&again.folder, again.committed), (&first.folder, None));
        assert_eq!(
            (&again.export.folder_base, again.export.accepted_time),
            (&first_base, first_time)
        );
        assert_eq!(again.export.requested_by, "ada");
        // After the commit, the claim returns the manifest.
        let committed = writer.write().await.unwrap();
        let found = writer.claim().await.committed.unwrap();
        assert_eq!(found.sha256, committed.manifest_sha256);
        let repeated = writer.write().await.unwrap();
        assert_eq!(repeated.manifest_sha256, committed.manifest_sha256);
        let artifacts = calls_on(&writer.store, Operation::Put, "readable_report.txt");
        assert_eq!(artifacts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn local_export_keeps_its_folder_when_a_lower_number_is_free() {
    let writer = Writer::new(StoreKind::Local).await;
    writer.claim_for_other(&writer.folder(1));
    assert_eq!(writer.claim().await.folder, writer.folder(2));
    writer.store.remove(layout::folder_claim(&writer.folder(1)).as_str());
    assert_eq!(writer.claim().await.folder, writer.folder(2));
}

#[tokio::test(start_paused = true)]
async fn existing_artifact_is_accepted_if_its_bytes_match() {
    for kind in BOTH {
        for is_same in [true, false] {
            let writer = Writer::new(kind).await;
            let (report, other) = writer.report();
            let bytes = if is_same { report.content.inline().unwrap().clone() } else { other };
            let key = layout::artifact(&writer.folder(1), &report.path);
            writer.store.replace(key.as_str(), bytes.clone());
            let committed = writer.write().await.unwrap();
            let expected = writer.folder(if is_same { 1 } else { 2 });
            assert_eq!(committed.folder, expected, "{kind} {is_same}");
            assert_eq!(writer.store.bytes(key.as_str()).unwrap(), bytes);
            assert_eq!(is_committed(&writer.store, &writer.folder(1)), is_same);
            assert!(is_committed(&writer.store, &expected));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_lost_manifest_response_finds_the_bundle() {
    for kind in BOTH {
        let writer = Writer::new(kind).await;
        let is_lost = AtomicBool::new(false);
        writer.store.before_each(move |Call { operation, key }| {
            let is_match = operation == Operation::Put && key.ends_with("/manifest.json");
            let is_first = is_match && !is_lost.swap(true, Ordering::Relaxed);
            async move { is_first.then(|| Fault::LoseResponse(unavailable())) }
        });
        let committed = writer.write().await.unwrap();
        assert_eq!(committed.folder, writer.folder(1));
        let manifest = writer.store.bytes(layout::manifest(&committed.folder).as_str()).unwrap();
        assert_eq!(committed.manifest_sha256, Sha256::of(&manifest));
        assert!(committed.committed_time.is_some(), "by the store's clock");
        assert_eq!(calls_on(&writer.store, Operation::Put, "/manifest.json"), 2);
        let reports = writer.recorder.calls();
        assert!(
            reports.contains(&ObservedCall::Retrying("manifest.json".to_owned())),
            "{reports:?}"
        );
        assert!(reports.contains(&ObservedCall::Retried));
    }
}

#[tokio::test(start_paused = true)]
async fn folder_is_skipped_if_another_export_puts_its_manifest_first() {
    for kind in BOTH {
        let writer = Writer::new(kind).await;
        let first = layout::manifest(&writer.folder(1)).to_string();
        let other = writer.manifest_of_other(&writer.folder(1));
        let (store, manifest_key, foreign) =
            (Arc::downgrade(&writer.store), first.clone(), other.clone());
        writer.store.before_each(move |Call { operation, key }| {
            if operation == Operation::Put && key == manifest_key {
                store.upgrade().unwrap().replace(&key, foreign.clone());
            }
            async { None }
        });
        assert_eq!(writer.write().await.unwrap().folder, writer.folder(2));
        assert_eq!(writer.store.bytes(&first).unwrap(), other);
        let writing = |number| ObservedCall::Writing(writer.folder(number));
        let reports = writer.recorder.calls();
        assert!(reports.contains(&writing(1)) && reports.contains(&writing(2)), "{reports:?}");
    }
}

/// Puts the record of an export.
fn put_record(writer: &Writer, record: &ExportRecord) {
    let key = layout::record(writer.export.export_id);
    writer.store.replace(key.as_str(), records::payload(record).bytes);
}

#[tokio::test(start_paused = true)]
async fn record_of_other_content_refuses_the_id() {
    for kind in BOTH {
        let writer = Writer::new(kind).await;
        let ours = ExportRecord::new(&writer.export);
        let content_digest = export(9).content_digest;
        for record in [
            ExportRecord { content_digest, ..ours.clone() },
            // The record of an adopted bundle, which has no content.
            ExportRecord { format_version: Manifest::NOT_RENDERED, ..ours },
        ] {
            put_record(&writer, &record);
            match writer.write().await {
                Err(AttemptError::Reused(digest)) => {
                    assert_eq!(digest, writer.export.digest_in(FormatVersion::V1));
                }
                other => panic!("{record:?}: {other:?}"),
            }
        }
        assert_eq!(calls_on(&writer.store, Operation::Put, "readable_report.txt"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn record_of_version_1_is_adopted_unless_the_content_has_replacements() {
    let writer = Writer::new(StoreKind::S3).await;
    let format_version = FormatVersion::V1.into();
    put_record(&writer, &ExportRecord { format_version, ..ExportRecord::new(&writer.export) });
    assert_eq!(writer.claim().await.export.format_version, FormatVersion::V1);
    let mut other = writer.export.clone();
    let content = Arc::make_mut(&mut other.content);
    content.review.replacements.push(Replacement { path: "a".into(), reason: "B".into() });
    other.content_digest = content.digest(other.format_version);
    match writer.commit().claim(&other).await {
        Err(AttemptError::Reused(digest)) => assert_eq!(digest, other.content_digest),
        other => panic!("{other:?}"),
    }
}

/// A later release wrote the record. Its digests of the same content differ.
#[cfg(feature = "next-format")]
#[tokio::test(start_paused = true)]
async fn contents_are_compared_in_the_encoding_of_the_record() {
    let writer = Writer::new(StoreKind::S3).await;
    let digest = writer.export.content.digest(FormatVersion::Next);
    assert_ne!(digest, writer.export.content_digest);
    let format_version = FormatVersion::Next.into();
    let ours = ExportRecord::new(&writer.export);
    let content_digest = export(9).content.digest(FormatVersion::Next);
    put_record(&writer, &ExportRecord { format_version, content_digest, ..ours.clone() });
    match writer.commit().claim(&writer.export).await {
        Err(AttemptError::Reused(reused)) => assert_eq!(reused, digest),
        other => panic!("{other:?}"),
    }
    put_record(&writer, &ExportRecord { format_version, content_digest: digest, ..ours });
    let adopted = writer.claim().await.export;
    assert_eq!((adopted.format_version, adopted.content_digest), (FormatVersion::Next, digest));
}

#[tokio::test(start_paused = true)]
async fn export_fails_when_every_folder_is_taken() {
    let writer = Writer::new(StoreKind::S3).await;
    let last = folders_of(&writer.export.folder_base).last().unwrap();
    folders_of(&writer.export.folder_base).for_each(|folder| writer.claim_for_other(&folder));
    match writer.write().await {
        Err(AttemptError::Failed(failure)) => {
            assert_eq!(failure.reason, FailureReason::StoreMisconfigured);
            assert!(failure.message.contains(writer.export.folder_base.as_str()), "{failure}");
        }
        other => panic!("{other:?}"),
    }
    writer.store.remove(layout::folder_claim(&last).as_str());
    assert_eq!(writer.write().await.unwrap().folder, last);
}

/// The settings lead to another store after the first failed put of an artifact.
#[tokio::test(start_paused = true)]
async fn manifest_is_not_written_to_a_replaced_store() {
    let writer = Writer::new(StoreKind::S3).await;
    let shared = &writer.server.shared;
    let (store, is_failed) = (Arc::downgrade(&writer.store), AtomicBool::new(false));
    writer.store.before_each(move |Call { operation, key }| {
        let is_report = operation == Operation::Put && key.ends_with("readable_report.txt");
        let is_first = is_report && !is_failed.swap(true, Ordering::Relaxed);
        if is_first {
            let store_id = StoreId::new(Uuid::from_u128(99));
            let created_time = AcceptedTime::new(seconds(0));
            let identity = records::StoreIdentity { store_id, created_time };
            let bytes = records::payload(&identity).bytes;
            store.upgrade().unwrap().replace(layout::store_identity().as_str(), bytes);
        }
        async move { is_first.then(|| Fault::Fail(unavailable())) }
    });
    let (proof, journal) = (OwnStoreProof::Identity(None), shared.journal().unwrap());
    let own_store = OwnStore::new(&shared.identity, journal, proof, RETRY_BUDGET);
    let commit = Commit { own_store: Some(own_store), ..writer.commit() };
    commit.require_own_store().await.unwrap();
    let claim = commit.claim(&writer.export).await.unwrap();
    let bundle = render(&claim.export).unwrap();
    match commit.write(claim, &bundle).await {
        Err(AttemptError::Failed(failure)) => {
            assert_eq!(failure.reason, FailureReason::StoreChanged, "{failure}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!is_committed(&writer.store, &writer.folder(1)));
    assert!(!writer.manifest_sent.load(Ordering::Relaxed));
}

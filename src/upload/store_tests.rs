//! Uploads into a store in memory, with failures.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use chrono::TimeDelta;
use futures::{StreamExt as _, stream};
use tara_export_catalog::layout;
use tara_export_digest::Sha256;
use tara_export_store::{
    StoreError, StoreErrorKind, StoreKind,
    memory::{Call, Fault, MemoryStore, Operation},
};
use tempfile::TempDir;

use super::*;
use crate::transfer::TransferLimits;

const RETENTION: Duration = Duration::from_secs(24 * 3600);
const CHUNK: usize = CHUNK_BYTES as usize;
const SMALL: usize = MIN_CHUNK_BYTES as usize;
/// A document of two chunks.
const SIZE: usize = CHUNK + 1_000;

/// A clock that the test sets, with ascending ids.
#[derive(Debug, Default)]
struct TestClock {
    hours: AtomicU64,
    ids: AtomicU64,
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        let hours = i64::try_from(self.hours.load(Ordering::Relaxed)).unwrap();
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

/// One replica with its store, clock and disk.
struct Replica {
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    uploads: Uploads,
    _disk: TempDir,
}

impl Replica {
    fn new() -> Self {
        Self::over(MemoryStore::new(StoreKind::S3, "bucket"), Arc::default())
    }

    fn over(store: Arc<MemoryStore>, clock: Arc<TestClock>) -> Self {
        let disk = tempfile::tempdir().unwrap();
        let settings = UploadSettings {
            document_size_bytes: 1 << 30,
            concurrent_uploads: 4,
            retention: RETENTION,
            store_timeout: Duration::from_secs(10),
            retry_budget: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            permit_timeout: Duration::from_secs(10),
            disk_bytes: 1 << 30,
        };
        let pool = Pool::new("uploads", 2).unwrap();
        let limits = TransferLimits { memory_bytes: 4 * PART_BYTES, parallel_parts: 2 };
        let transfers = Transfers::new(limits, None, pool.clone());
        let (folder, s3) = (disk.path().to_owned(), Some(store.clone() as Arc<dyn Store>));
        let uploads = Uploads::new(settings, s3, folder, transfers, clock.clone(), pool);
        Self { store, clock, uploads, _disk: disk }
    }

    /// Creates the upload of this request.
    async fn create(&self, request: u128) -> UploadStatus {
        self.create_of(request, SIZE, None).await.unwrap()
    }

    async fn create_of(
        &self,
        request: u128,
        size: usize,
        sha256: Option<Sha256>,
    ) -> Result<UploadStatus, UploadError> {
        let request = Some(Uuid::from_u128(request));
        self.uploads.create(&ada(), request, size as u64, sha256).await
    }

    /// Sends a chunk and finishes the upload if the content ends with it.
    async fn send(
        &self,
        upload_id: Uuid,
        content: &Bytes,
        range: Range<usize>,
    ) -> Result<UploadStatus, UploadError> {
        let incoming = IncomingBytes {
            offset: range.start as u64,
            chunk_bytes: Some(range.len() as u64),
            is_finished: Arc::new(AtomicBool::new(range.end == content.len())),
            pieces: stream::iter([Ok(content.slice(range))]).boxed(),
        };
        let permit = self.uploads.permit(&ada(), true).await.unwrap();
        self.uploads.receive(upload_id, incoming, permit).await
    }

    /// Sends both chunks.
    async fn send_all(
        &self,
        upload_id: Uuid,
        content: &Bytes,
    ) -> Result<UploadStatus, UploadError> {
        self.send(upload_id, content, 0..CHUNK).await?;
        self.send(upload_id, content, CHUNK..SIZE).await
    }

    /// Checks that the upload is finished and its content is in the store.
    async fn check_finished(&self, upload_id: Uuid, content: &Bytes) {
        let status = self.uploads.status(upload_id).await.unwrap();
        let checksums = ContentChecksums::of(content);
        assert_eq!(status.finished, Some(checksums));
        assert_eq!(status.committed_size_bytes, content.len() as u64);
        let finished = self.uploads.finished(upload_id).await.unwrap();
        assert_eq!(finished.checksums, checksums);
        assert!(matches!(finished.location, UploadLocation::Store { .. }), "{finished:?}");
        assert!(self.store.bytes(layout::upload_document(upload_id).as_str()).unwrap() == content);
        assert!(self.store.unfinished().is_empty());
    }

    fn is_aborted(&self, upload_id: Uuid) -> bool {
        self.store.bytes(layout::upload_aborted(upload_id).as_str()).is_some()
    }

    /// Loses the response to the next call of this operation on such a key.
    fn lose_next_response_on(&self, operation: Operation, part_of_key: &'static str) {
        let is_lost = AtomicBool::new(false);
        self.store.before_each(move |Call { operation: called, key }| {
            let is_it = called == operation && key.contains(part_of_key);
            let is_first = is_it && !is_lost.swap(true, Ordering::Relaxed);
            async move { is_first.then(|| Fault::LoseResponse(unavailable())) }
        });
    }

    fn calls_on(&self, operation: Operation, part_of_key: &str) -> usize {
        let calls = self.store.calls();
        let such = |call: &&Call| call.operation == operation && call.key.contains(part_of_key);
        calls.iter().filter(such).count()
    }
}

fn ada() -> CallerKey {
    CallerKey::named("ada")
}

fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "slow down")
}

/// Content whose chunks all differ, and that depends on the seed.
fn content(seed: u8) -> Bytes {
    let mut bytes = vec![seed; SIZE];
    for (number, block) in bytes.chunks_mut(1 << 16).enumerate() {
        block[0] = number as u8;
    }
    bytes.into()
}

#[tokio::test(start_paused = true)]
async fn chunks_become_one_document() {
    let (replica, content) = (Replica::new(), content(0));
    let created = replica.create(1).await;
    assert!(!created.is_on_this_disk);
    assert_eq!((created.committed_size_bytes, created.finished), (0, None));
    assert_eq!(created.expire_time, replica.clock.now() + RETENTION);
    let id = created.upload_id;
    let not_finished = replica.uploads.finished(id).await.unwrap_err();
    assert!(matches!(not_finished, UploadError::NotFinished { committed_size_bytes: 0, .. }));
    let half = replica.send(id, &content, 0..CHUNK).await.unwrap();
    assert_eq!((half.committed_size_bytes, half.finished), (CHUNK_BYTES, None));
    assert!(replica.store.bytes(layout::upload_document(id).as_str()).is_none());
    // Any replica accepts the next chunk.
    let other = Replica::over(replica.store.clone(), replica.clock.clone());
    let whole = other.send(id, &content, CHUNK..SIZE).await.unwrap();
    assert_eq!(whole.finished, Some(ContentChecksums::of(&content)));
    replica.check_finished(id, &content).await;
    // The same request finds the upload, and a repeated chunk changes nothing.
    assert_eq!(replica.create(1).await, whole);
    let parts = replica.store.count(Operation::PutPart);
    assert_eq!(replica.send(id, &content, CHUNK..SIZE).await.unwrap(), whole);
    assert_eq!(replica.store.count(Operation::PutPart), parts);
}

#[tokio::test(start_paused = true)]
async fn empty_document_is_an_object_without_parts() {
    let (replica, empty) = (Replica::new(), Bytes::new());
    let id = replica.create_of(1, 0, None).await.unwrap().upload_id;
    replica.send(id, &empty, 0..0).await.unwrap();
    replica.check_finished(id, &empty).await;
    assert_eq!(replica.store.count(Operation::Begin), 0);
}

#[tokio::test(start_paused = true)]
async fn chunk_with_wrong_offset_or_size_is_rejected() {
    let (replica, content) = (Replica::new(), content(0));
    let id = replica.create(1).await.upload_id;
    let ahead = replica.send(id, &content, CHUNK..SIZE).await.unwrap_err();
    let UploadError::WrongOffset { offset: CHUNK_BYTES, committed_size_bytes: 0 } = ahead else {
        panic!("{ahead}");
    };
    for size in [0, 1, SMALL - 1, CHUNK + 1] {
        let wrong = replica.send(id, &content, 0..size).await.unwrap_err();
        let UploadError::WrongChunk { offset: 0, min_bytes, max_bytes, .. } = wrong else {
            panic!("{wrong}");
        };
        assert_eq!((min_bytes, max_bytes), (MIN_CHUNK_BYTES, CHUNK_BYTES));
    }
    assert_eq!(replica.store.count(Operation::PutPart), 0);
    replica.send_all(id, &content).await.unwrap();
    replica.check_finished(id, &content).await;
}

#[tokio::test(start_paused = true)]
async fn request_id_of_another_document_is_rejected() {
    let replica = Replica::new();
    let id = replica.create(1).await.upload_id;
    let error = replica.create_of(1, SIZE + 1, None).await.unwrap_err();
    assert!(matches!(error, UploadError::IdReused { upload_id } if upload_id == id), "{error}");
}

#[tokio::test(start_paused = true)]
async fn lost_response_during_creation_leaves_one_upload() {
    for part_of_key in ["/upload.json", "/requests/"] {
        let replica = Replica::new();
        replica.lose_next_response_on(Operation::Put, part_of_key);
        let created = replica.create(1).await;
        assert_eq!(replica.calls_on(Operation::Put, part_of_key), 2, "{part_of_key}");
        assert!(!created.is_on_this_disk);
        assert_eq!(replica.create(1).await, created, "{part_of_key}");
        assert_eq!(
            replica.store.unfinished(),
            [layout::upload_document(created.upload_id).to_string()]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn lost_response_during_sending_keeps_the_document_intact() {
    for (operation, part_of_key) in [
        (Operation::PutPart, "/document"),
        (Operation::Put, "/checkpoints/"),
        (Operation::Complete, "/document"),
        (Operation::Put, "/contents/"),
        (Operation::Put, "/finished.json"),
        (Operation::Get, "/checkpoints/"),
    ] {
        let (replica, content) = (Replica::new(), content(0));
        let sha256 = Some(Sha256::of(&content));
        let id = replica.create_of(1, SIZE, sha256).await.unwrap().upload_id;
        let undisturbed = {
            let other = Replica::new();
            let id = other.create_of(1, SIZE, sha256).await.unwrap().upload_id;
            other.send_all(id, &content).await.unwrap();
            other.calls_on(operation, part_of_key)
        };
        replica.lose_next_response_on(operation, part_of_key);
        replica.send_all(id, &content).await.unwrap();
        let calls = replica.calls_on(operation, part_of_key);
        assert_eq!(calls, undisturbed + 1, "{operation:?} {part_of_key}");
        replica.check_finished(id, &content).await;
    }
}

#[tokio::test(start_paused = true)]
async fn part_that_exhausts_the_budget_is_resent_by_the_next_call() {
    let (replica, content) = (Replica::new(), content(0));
    let id = replica.create(1).await.upload_id;
    replica.send(id, &content, 0..CHUNK).await.unwrap();
    replica.store.before_each(|call| async move {
        (call.operation == Operation::PutPart).then(|| Fault::Fail(unavailable()))
    });
    let error = replica.send(id, &content, CHUNK..SIZE).await.unwrap_err();
    assert!(matches!(error, UploadError::Store(_)), "{error}");
    assert!(replica.store.count(Operation::PutPart) > 3);
    replica.store.before_each(async |_| None);
    assert!(!replica.is_aborted(id));
    assert_eq!(replica.uploads.status(id).await.unwrap().committed_size_bytes, CHUNK_BYTES);
    replica.send(id, &content, CHUNK..SIZE).await.unwrap();
    replica.check_finished(id, &content).await;
}

#[tokio::test(start_paused = true)]
async fn interrupted_stream_keeps_its_complete_parts() {
    let (replica, content) = (Replica::new(), content(0));
    let id = replica.create(1).await.upload_id;
    let broken = UploadError::Interrupted { reason: "cut".to_owned() };
    let incoming = IncomingBytes {
        offset: 0,
        chunk_bytes: None,
        is_finished: Arc::default(),
        pieces: stream::iter([Ok(content.slice(..CHUNK + 500)), Err(broken)]).boxed(),
    };
    let permit = replica.uploads.permit(&ada(), false).await.unwrap();
    let error = replica.uploads.receive(id, incoming, permit).await.unwrap_err();
    assert!(matches!(error, UploadError::Interrupted { .. }), "{error}");
    assert_eq!(replica.uploads.status(id).await.unwrap().committed_size_bytes, CHUNK_BYTES);
    replica.send(id, &content, CHUNK..SIZE).await.unwrap();
    replica.check_finished(id, &content).await;
}

#[tokio::test(start_paused = true)]
async fn uploads_are_created_on_disk_during_an_outage() {
    let (replica, content) = (Replica::new(), content(0));
    let in_store = replica.create(1).await;
    replica.send_all(in_store.upload_id, &content).await.unwrap();
    let finished = replica.uploads.finished(in_store.upload_id).await.unwrap();
    let unfinished = replica.create(2).await.upload_id;

    replica.store.set_unavailable(true);
    let on_disk = replica.create(3).await;
    assert!(on_disk.is_on_this_disk);
    replica.send(on_disk.upload_id, &content, 0..CHUNK).await.unwrap();
    // Finished uploads are cached. For the others, the error must not be "not found".
    assert_eq!(replica.uploads.finished(in_store.upload_id).await.unwrap(), finished);
    let error = replica.uploads.status(unfinished).await.unwrap_err();
    assert!(matches!(error, UploadError::Store(_)), "{error}");

    replica.store.set_unavailable(false);
    // An upload that began on disk continues there.
    assert_eq!(replica.create(3).await.upload_id, on_disk.upload_id);
    let whole = replica.send(on_disk.upload_id, &content, CHUNK..SIZE).await.unwrap();
    assert_eq!(whole.finished, Some(ContentChecksums::of(&content)));
    let location = replica.uploads.finished(on_disk.upload_id).await.unwrap().location;
    let UploadLocation::Disk { file } = location else { panic!("{location:?}") };
    assert!(std::fs::read(file).unwrap() == content);
    replica.send_all(unfinished, &content).await.unwrap();
    replica.check_finished(unfinished, &content).await;
    assert!(!replica.create(4).await.is_on_this_disk);
}

#[tokio::test(start_paused = true)]
async fn failed_creation_leaves_no_parts_in_the_store() {
    let replica = Replica::new();
    replica.store.before_each(|call| async move {
        match call.operation {
            Operation::Begin => std::future::pending().await,
            _ => None,
        }
    });
    let start = time::Instant::now();
    assert!(replica.create(1).await.is_on_this_disk);
    assert_eq!(start.elapsed().as_secs(), 5, "the retry budget ends first");

    let replica = Replica::new();
    replica.store.fail_next(Operation::Put, StoreError::new(StoreErrorKind::Denied, "no"));
    assert!(replica.create(1).await.is_on_this_disk);
    assert_eq!(replica.store.count(Operation::Begin), 1);
    assert!(replica.store.unfinished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn content_with_another_digest_aborts_the_upload() {
    let (replica, announced, sent) = (Replica::new(), content(0), content(1));
    let sha256 = Some(Sha256::of(&announced));
    let id = replica.create_of(1, SIZE, sha256).await.unwrap().upload_id;
    let error = replica.send_all(id, &sent).await.unwrap_err();
    assert!(matches!(error, UploadError::DigestMismatch { .. }), "{error}");
    assert!(replica.is_aborted(id) && replica.store.unfinished().is_empty());
    let gone = replica.uploads.status(id).await.unwrap_err();
    assert!(matches!(gone, UploadError::NotFound { .. }), "{gone}");
    let again = replica.create_of(1, SIZE, sha256).await.unwrap().upload_id;
    assert_ne!(again, id);
    replica.send_all(again, &announced).await.unwrap();
    replica.check_finished(again, &announced).await;
    // Finished content is shared between callers.
    let bob = CallerKey::named("bob");
    let shared = replica.uploads.create(&bob, None, SIZE as u64, sha256).await.unwrap();
    assert_eq!(shared.upload_id, again);
}

#[tokio::test(start_paused = true)]
async fn two_calls_with_different_bytes_abort_the_upload() {
    let (replica, one, other) = (Replica::new(), content(0), content(1));
    let id = replica.create(1).await.upload_id;
    replica.send(id, &one, 0..CHUNK).await.unwrap();
    let error = replica.send(id, &other, 0..CHUNK).await.unwrap_err();
    assert!(matches!(error, UploadError::ConflictingBytes { offset: CHUNK_BYTES }), "{error}");
    assert!(replica.is_aborted(id) && replica.store.unfinished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn damaged_upload_is_skipped() {
    let (replica, content) = (Replica::new(), content(0));
    let id = replica.create(1).await.upload_id;
    replica.send(id, &content, 0..CHUNK).await.unwrap();
    let checkpoint = layout::upload_checkpoint(id, CHUNK_BYTES);
    replica.store.replace(checkpoint.as_str(), "{}");
    let error = replica.uploads.status(id).await.unwrap_err();
    assert!(error.is_damage(), "{error}");
    let again = replica.create(1).await;
    assert!(again.upload_id != id && !again.is_on_this_disk);
    replica.send_all(again.upload_id, &content).await.unwrap();
    let document = layout::upload_document(again.upload_id);
    assert!(replica.store.bytes(document.as_str()).unwrap() == content);
}

#[tokio::test(start_paused = true)]
async fn only_the_owner_can_send_bytes() {
    let (replica, content) = (Replica::new(), content(0));
    let id = replica.create(1).await.upload_id;
    let incoming = IncomingBytes {
        offset: 0,
        chunk_bytes: Some(CHUNK_BYTES),
        is_finished: Arc::default(),
        pieces: stream::iter([Ok(content.slice(..CHUNK))]).boxed(),
    };
    let permit = replica.uploads.permit(&CallerKey::named("bob"), true).await.unwrap();
    let error = replica.uploads.receive(id, incoming, permit).await.unwrap_err();
    assert!(matches!(error, UploadError::NotFound { .. }), "{error}");
    assert_eq!(replica.store.count(Operation::PutPart), 0);
}

#[tokio::test(start_paused = true)]
async fn expired_uploads_are_aborted_unless_finished() {
    let (replica, content) = (Replica::new(), content(0));
    let finished = replica.create(1).await.upload_id;
    replica.send_all(finished, &content).await.unwrap();
    let unfinished = replica.create(2).await.upload_id;
    replica.send(unfinished, &content, 0..CHUNK).await.unwrap();
    replica.store.set_unavailable(true);
    let on_disk = replica.create(3).await.upload_id;
    replica.store.set_unavailable(false);

    let mut position = ExpiryPosition::default();
    replica.clock.hours.store(23, Ordering::Relaxed);
    assert_eq!(replica.uploads.expire(&mut position).await.unwrap(), 0);
    let fresh = replica.create(4).await.upload_id;
    replica.clock.hours.store(24, Ordering::Relaxed);
    for id in [finished, unfinished, on_disk] {
        let error = replica.uploads.status(id).await.unwrap_err();
        assert!(matches!(error, UploadError::NotFound { .. }), "{error}");
        let error = replica.uploads.finished(id).await.unwrap_err();
        assert!(matches!(error, UploadError::NotFound { .. }), "{error}");
    }
    // After a store error, the next pass continues.
    replica.store.fail_next(Operation::List, unavailable());
    assert!(replica.uploads.expire(&mut position).await.is_err());
    assert!(!position.has_more() && !replica.is_aborted(unfinished));
    assert_eq!(replica.uploads.expire(&mut position).await.unwrap(), 1);
    assert_eq!(replica.uploads.expire(&mut position).await.unwrap(), 0);
    assert!(replica.is_aborted(unfinished) && !replica.is_aborted(finished));
    assert_eq!(replica.store.unfinished(), [layout::upload_document(fresh).to_string()]);
    assert!(replica.store.bytes(layout::upload_document(finished).as_str()).is_some());
    // Nothing is deleted from the store.
    assert_eq!(replica.store.count(Operation::Delete), 0);
}

#[tokio::test(start_paused = true)]
async fn document_that_was_replaced_is_never_finished() {
    let (replica, content) = (Replica::new(), content(0));
    let id = replica.create(1).await.upload_id;
    replica.send(id, &content, 0..CHUNK).await.unwrap();
    // The document is replaced between completion and verification.
    let store = replica.store.clone();
    replica.store.before_each(move |call| {
        if call.operation == Operation::LookUpSource {
            store.replace(&call.key, vec![0; SIZE]);
        }
        async { None }
    });
    let error = replica.send(id, &content, CHUNK..SIZE).await.unwrap_err();
    assert!(matches!(error, UploadError::ConflictingBytes { .. }), "{error}");
    assert!(replica.is_aborted(id));
    assert!(replica.store.bytes(layout::upload_finished(id).as_str()).is_none());
}

/// A document of three parts, the last of them small.
fn long_content() -> Bytes {
    let mut bytes = vec![3; 2 * CHUNK + 3 * SMALL + 1_000];
    for (number, block) in bytes.chunks_mut(1 << 12).enumerate() {
        block[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    bytes.into()
}

/// Sends the content from an offset on, each chunk to another replica, with sizes that repeat.
async fn send_in(replicas: &[Replica], id: Uuid, content: &Bytes, sizes: &[usize]) {
    let mut offset = replicas[0].uploads.status(id).await.unwrap().committed_size_bytes as usize;
    for (replica, size) in replicas.iter().cycle().zip(sizes.iter().cycle()) {
        let end = content.len().min(offset + size);
        let status = replica.send(id, content, offset..end).await.unwrap();
        assert_eq!(status.committed_size_bytes, end as u64);
        offset = end;
        if offset == content.len() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_of_any_sizes_become_one_document() {
    let content = long_content();
    for sizes in [
        &[SMALL][..],
        &[SMALL + 1],
        &[CHUNK - 1],
        &[SMALL, CHUNK],
        &[CHUNK, SMALL, CHUNK, 3 * SMALL + 17],
    ] {
        let first = Replica::new();
        let other = Replica::over(first.store.clone(), first.clock.clone());
        let replicas = [first, other];
        let id = replicas[0].create_of(1, content.len(), None).await.unwrap().upload_id;
        send_in(&replicas, id, &content, sizes).await;
        replicas[1].check_finished(id, &content).await;
        assert_eq!(replicas[0].store.count(Operation::PutPart), 3, "{sizes:?}");
        assert_eq!(replicas[0].store.count(Operation::Delete), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn stream_continues_after_small_chunks() {
    let (replica, content) = (Replica::new(), long_content());
    let id = replica.create_of(1, content.len(), None).await.unwrap().upload_id;
    for number in 0..3 {
        replica.send(id, &content, number * SMALL..(number + 1) * SMALL).await.unwrap();
    }
    let start = 3 * SMALL;
    // The first stream is interrupted within a part, the second one completes the document.
    for (end, is_finished, committed) in [
        (start + SMALL, false, start),
        (CHUNK + 9, false, CHUNK),
        (content.len(), true, content.len()),
    ] {
        let offset = replica.uploads.status(id).await.unwrap().committed_size_bytes;
        let incoming = IncomingBytes {
            offset,
            chunk_bytes: None,
            is_finished: Arc::new(AtomicBool::new(is_finished)),
            pieces: stream::iter([Ok(content.slice(offset as usize..end))]).boxed(),
        };
        let permit = replica.uploads.permit(&ada(), false).await.unwrap();
        let status = replica.uploads.receive(id, incoming, permit).await.unwrap();
        assert_eq!(status.committed_size_bytes, committed as u64);
    }
    replica.check_finished(id, &content).await;
}

#[tokio::test(start_paused = true)]
async fn repeated_small_chunks_change_nothing() {
    let (replica, content) = (Replica::new(), long_content());
    let id = replica.create_of(1, content.len(), None).await.unwrap().upload_id;
    let replicas = [replica];
    // A call whose response was lost is sent again, also in chunks of another size and after its part is complete.
    for size in [SMALL, 2 * SMALL] {
        for number in 0..CHUNK / size {
            replicas[0].send(id, &content, number * size..(number + 1) * size).await.unwrap();
        }
    }
    replicas[0].send(id, &content, 0..SMALL).await.unwrap();
    send_in(&replicas, id, &content, &[SMALL]).await;
    replicas[0].check_finished(id, &content).await;
}

#[tokio::test(start_paused = true)]
async fn small_chunks_with_other_bytes_abort_the_upload() {
    let (replica, one, other) = (Replica::new(), content(0), content(1));
    let id = replica.create(1).await.upload_id;
    replica.send(id, &one, 0..SMALL).await.unwrap();
    let error = replica.send(id, &other, 0..SMALL).await.unwrap_err();
    assert!(matches!(error, UploadError::ConflictingBytes { .. }), "{error}");
    assert!(replica.is_aborted(id) && replica.store.unfinished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn lost_responses_during_small_chunks_keep_the_document_intact() {
    for (operation, part_of_key) in [
        (Operation::Put, "/pieces/"),
        (Operation::Get, "/pieces/"),
        (Operation::PutPart, "/document"),
        (Operation::Put, "/checkpoints/"),
    ] {
        let (replica, content) = (Replica::new(), content(0));
        let id = replica.create(1).await.upload_id;
        replica.lose_next_response_on(operation, part_of_key);
        let replicas = [replica];
        send_in(&replicas, id, &content, &[SMALL + 3]).await;
        replicas[0].check_finished(id, &content).await;
    }
}

#[tokio::test(start_paused = true)]
async fn lost_or_changed_piece_aborts_the_upload() {
    for damage in [None, Some("damaged")] {
        let (replica, content) = (Replica::new(), content(0));
        let id = replica.create(1).await.upload_id;
        replica.send(id, &content, 0..SMALL).await.unwrap();
        let key = layout::upload_piece(id, 0, Sha256::of(&content[..SMALL]));
        match damage {
            None => replica.store.delete(&key).await.unwrap(),
            Some(text) => replica.store.replace(key.as_str(), text),
        }
        let error = replica.send(id, &content, SMALL..CHUNK).await.unwrap_err();
        assert!(matches!(error, UploadError::LostBytes { .. }), "{error}");
        assert!(replica.is_aborted(id) && replica.store.unfinished().is_empty());
        assert_ne!(replica.create(1).await.upload_id, id);
    }
}

/// With the memory of one part, chunks that begin and end within parts still make progress.
#[tokio::test(start_paused = true)]
async fn small_chunks_need_the_memory_of_one_part() {
    let (mut replica, content) = (Replica::new(), long_content());
    let limits = TransferLimits { memory_bytes: PART_BYTES, parallel_parts: 2 };
    let pool = Pool::new("uploads", 1).unwrap();
    let transfers = Transfers::new(limits, None, pool.clone());
    let store = Some(replica.store.clone() as Arc<dyn Store>);
    let settings = replica.uploads.inner.settings;
    let folder = replica._disk.path().to_owned();
    replica.uploads = Uploads::new(settings, store, folder, transfers, replica.clock.clone(), pool);
    let id = replica.create_of(1, content.len(), None).await.unwrap().upload_id;
    let replicas = [replica];
    send_in(&replicas, id, &content, &[CHUNK - 3, SMALL + 5]).await;
    replicas[0].check_finished(id, &content).await;
}

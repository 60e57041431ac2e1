//! Transfers into stores in memory, with failures.

use std::{
    sync::{Mutex, atomic::AtomicU32},
    time::Duration,
};

use bytes::Bytes;
use tara_export_digest::ContentChecksums;
use tara_export_store::{
    ObjectKey, PartStore as _, PutOutcome, SourceLocation, Store, StoreError, StoreErrorKind,
    StoreKind,
    memory::{Call, Fault, MemoryStore, Operation},
};

use super::*;

const KEY: &str = "folder/document";
/// Content of three parts.
const SIZE: usize = 2 * PART_BYTES as usize + 1_000;

/// A transfer, its store and its reports.
struct Transfer {
    store: Arc<MemoryStore>,
    transfers: Transfers,
    content: LargeContent,
    failures: Arc<AtomicU32>,
    progress: Arc<Mutex<Vec<u64>>>,
}

impl Transfer {
    /// A transfer of these bytes from this source.
    fn of(store: &Arc<MemoryStore>, bytes: &Bytes, source: ContentSource) -> Self {
        let limits = TransferLimits { memory_bytes: 4 * PART_BYTES, parallel_parts: 2 };
        let transfers = Transfers::new(limits, None, Pool::new("documents", 1).unwrap());
        let (failures, progress) = (Arc::<AtomicU32>::default(), Arc::<Mutex<Vec<u64>>>::default());
        let (count, seen) = (failures.clone(), progress.clone());
        let content = LargeContent {
            key: ObjectKey::new(KEY).unwrap(),
            expected: ContentChecksums::of(bytes),
            media_type: "text/x".to_owned(),
            source,
            budget: Arc::new(RetryBudget::new(Duration::from_secs(10))),
            progress: Arc::new(move |bytes| seen.lock().unwrap().push(bytes)),
            failed: Arc::new(move |_, _| {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }),
        };
        Self { store: store.clone(), transfers, content, failures, progress }
    }

    async fn put(&self) -> Result<PutOutcome, StoreError> {
        self.transfers.put(&*self.store, &self.content).await
    }

    fn failures(&self) -> u32 {
        self.failures.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Checks that the object exists and no parts are left.
    fn check_stored(&self, bytes: &Bytes) {
        assert!(self.store.bytes(KEY).unwrap() == bytes);
        assert!(self.store.unfinished().is_empty());
    }

    /// Checks that neither the object nor parts are left.
    fn check_not_stored(&self) {
        assert!(self.store.bytes(KEY).is_none());
        assert!(self.store.unfinished().is_empty());
    }
}

fn s3() -> Arc<MemoryStore> {
    MemoryStore::new(StoreKind::S3, "bucket")
}

fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "slow down")
}

/// Content whose parts all differ.
fn large() -> Bytes {
    let mut bytes = vec![0; SIZE];
    for (number, block) in bytes.chunks_mut(1 << 16).enumerate() {
        block[0] = number as u8;
    }
    bytes.into()
}

/// A pinned object of another bucket that this store can read.
async fn source_in(store: &Arc<MemoryStore>, bytes: &Bytes) -> ContentSource {
    let (bucket, key) = ("other".to_owned(), "source".to_owned());
    let location = SourceLocation { bucket, key, version_id: None };
    store.put_source(location.clone(), bytes.clone());
    let source = store.look_up_source(&location).await.unwrap();
    ContentSource::Object { store: store.clone() as Arc<dyn Store>, source }
}

#[tokio::test(start_paused = true)]
async fn only_large_content_is_sent_in_parts() {
    let (store, bytes) = (s3(), large());
    let transfer = Transfer::of(&store, &bytes, ContentSource::Memory(bytes.clone()));
    assert_eq!(transfer.put().await.unwrap(), PutOutcome::Created);
    transfer.check_stored(&bytes);
    assert_eq!((store.count(Operation::PutPart), store.count(Operation::Put)), (3, 0));
    let progress = transfer.progress.lock().unwrap().clone();
    assert!(progress.is_sorted() && progress.last() == Some(&(SIZE as u64)), "{progress:?}");
    // Existing content is not sent again.
    assert_eq!(transfer.put().await.unwrap(), PutOutcome::Exists);
    assert_eq!((store.count(Operation::PutPart), transfer.failures()), (3, 0));

    let (store, small) = (s3(), bytes.slice(..1_000));
    let transfer = Transfer::of(&store, &small, ContentSource::Memory(small.clone()));
    assert_eq!(transfer.put().await.unwrap(), PutOutcome::Created);
    transfer.check_stored(&small);
    assert_eq!((store.count(Operation::Begin), store.count(Operation::Put)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn transient_failures_and_lost_responses_keep_the_content() {
    let bytes = large();
    for operation in
        [Operation::Head, Operation::PutPart, Operation::Complete, Operation::LookUpSource]
    {
        for is_lost in [false, true] {
            let store = s3();
            let transfer = Transfer::of(&store, &bytes, ContentSource::Memory(bytes.clone()));
            match is_lost {
                false => store.fail_next(operation, unavailable()),
                true => store.lose_next_response(operation, unavailable()),
            }
            let outcome = transfer.put().await.unwrap();
            // After a lost response to the completion, it is unknown who created the object.
            let expected = match (operation, is_lost) {
                (Operation::Complete, true) => PutOutcome::Exists,
                _ => PutOutcome::Created,
            };
            assert_eq!(outcome, expected, "{operation:?}");
            assert!(store.count(operation) > 1, "{operation:?}");
            transfer.check_stored(&bytes);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn permanent_failures_end_with_the_budget_and_leave_no_parts() {
    let (store, bytes) = (s3(), large());
    let transfer = Transfer::of(&store, &bytes, ContentSource::Memory(bytes.clone()));
    store.before_each(|Call { operation, .. }| async move {
        (operation == Operation::PutPart).then(|| Fault::Fail(unavailable()))
    });
    let start = tokio::time::Instant::now();
    let error = transfer.put().await.unwrap_err();
    assert_eq!(error.to_string(), "slow down");
    assert!(start.elapsed() <= Duration::from_secs(10) && transfer.failures() > 3);
    transfer.check_not_stored();

    let denied = StoreError::new(StoreErrorKind::Denied, "no");
    store.fail_next(Operation::PutPart, denied);
    let transfer = Transfer::of(&store, &bytes, ContentSource::Memory(bytes.clone()));
    assert_eq!(transfer.put().await.unwrap_err().kind(), StoreErrorKind::Denied);
    transfer.check_not_stored();
}

#[tokio::test(start_paused = true)]
async fn object_with_other_content_is_corrupt() {
    let (store, bytes) = (s3(), large());
    let transfer = Transfer::of(&store, &bytes, ContentSource::Memory(bytes.clone()));
    let changed = store.clone();
    store.before_each(move |call| {
        if call.operation == Operation::LookUpSource {
            changed.replace(&call.key, vec![0; SIZE]);
        }
        async { None }
    });
    assert_eq!(transfer.put().await.unwrap_err().kind(), StoreErrorKind::Corrupt);
}

#[tokio::test(start_paused = true)]
async fn copy_inside_the_store_reads_no_bytes() {
    for is_lost in [false, true] {
        let (store, bytes) = (s3(), large());
        let transfer = Transfer::of(&store, &bytes, source_in(&store, &bytes).await);
        if is_lost {
            store.lose_next_response(Operation::CopyPart, unavailable());
        }
        assert_eq!(transfer.put().await.unwrap(), PutOutcome::Created);
        transfer.check_stored(&bytes);
        assert_eq!(store.count(Operation::CopyPart), 3 + usize::from(is_lost));
        assert_eq!(transfer.failures(), u32::from(is_lost));
        assert_eq!(store.count(Operation::PutPart) + store.count(Operation::ReadSource), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn store_without_checksums_of_copies_is_probed_once() {
    let (store, bytes) = (s3(), large());
    let transfer = Transfer::of(&store, &bytes, source_in(&store, &bytes).await);
    let refused = StoreError::new(StoreErrorKind::Misconfigured, "checksum missing");
    store.fail_next(Operation::CopyPart, refused);
    assert_eq!(transfer.put().await.unwrap(), PutOutcome::Created);
    transfer.check_stored(&bytes);
    // Without a whole-object checksum, the object was read once.
    assert_eq!((store.count(Operation::Begin), store.count(Operation::ReadSource)), (2, 1));
    store.remove(KEY);
    assert_eq!(transfer.put().await.unwrap(), PutOutcome::Created);
    assert_eq!(store.count(Operation::Begin), 3);
}

#[tokio::test(start_paused = true)]
async fn changed_source_is_not_copied() {
    let (store, bytes) = (s3(), large());
    let transfer = Transfer::of(&store, &bytes, source_in(&store, &bytes).await);
    source_in(&store, &bytes.slice(1..)).await;
    assert_eq!(transfer.put().await.unwrap_err().kind(), StoreErrorKind::Changed);
    transfer.check_not_stored();
}

#[tokio::test(start_paused = true)]
async fn interrupted_stream_from_s3_is_retried() {
    let (source, bytes) = (s3(), large());
    for is_stored in [false, true] {
        let local = MemoryStore::new(StoreKind::Local, "disk");
        let transfer = Transfer::of(&local, &bytes, source_in(&source, &bytes).await);
        let expected = if is_stored {
            local.lose_next_response(Operation::PutStream, unavailable());
            PutOutcome::Exists
        } else {
            source.lose_next_response(Operation::ReadSource, unavailable());
            PutOutcome::Created
        };
        assert_eq!(transfer.put().await.unwrap(), expected);
        transfer.check_stored(&bytes);
        assert_eq!((local.count(Operation::PutStream), transfer.failures()), (2, 1));
    }

    let other = Transfer::of(
        &MemoryStore::new(StoreKind::Local, "disk"),
        &bytes.slice(1..),
        source_in(&source, &bytes).await,
    );
    assert_eq!(other.put().await.unwrap_err().kind(), StoreErrorKind::Changed);
    other.check_not_stored();
}

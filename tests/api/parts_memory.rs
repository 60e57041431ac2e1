//! The memory limit of parts of large documents.

use std::{fs, sync::Arc, time::Duration};

use tara_export::transfer::{
    ContentSource, LargeContent, PART_BYTES, RetryBudget, TransferLimits, Transfers,
};
use tara_export_digest::ContentChecksums;
use tara_export_limits::Pool;
use tara_export_store::{ObjectKey, PutOutcome};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};

use crate::harness::{
    s3::store_of,
    until,
    uploads::{PART, bytes},
};

/// As many parts may be in flight as fit in memory. All part memory is reserved while they are, and released with the
/// last.
#[tokio::test]
async fn part_memory_is_reserved_until_the_part_is_stored() {
    const PARTS: usize = 2;
    let s3 = TestS3::start().await;
    let store = store_of(&s3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("document");
    let document = bytes(4 * PART + 1, 1);
    fs::write(&file, &document).unwrap();
    let limits = TransferLimits { memory_bytes: PARTS as u64 * PART_BYTES, parallel_parts: PARTS };
    let transfers = Transfers::new(limits, None, Pool::new("documents", 2).unwrap());
    let content = LargeContent {
        key: ObjectKey::new("folder/document").unwrap(),
        expected: ContentChecksums::of(&document),
        media_type: "text/plain".to_owned(),
        source: ContentSource::File(file),
        budget: Arc::new(RetryBudget::new(Duration::from_secs(60))),
        progress: Arc::new(|_| {}),
        failed: Arc::new(|_, _| {}),
    };
    let held = s3.fail(FaultRule::new(Fault::Stall).on(Operation::UploadPart));
    let putting = {
        let (transfers, store) = (transfers.clone(), store.clone());
        tokio::spawn(async move { transfers.put(&*store, &content).await })
    };
    until("the first parts to be sent", || s3.fault_hits(held) == PARTS).await;
    assert_eq!(transfers.part_memory().free(), 0);
    s3.clear_fault(held);
    assert_eq!(putting.await.unwrap().unwrap(), PutOutcome::Created);
    assert_eq!(transfers.part_memory().free(), PARTS as u64);
    assert!(s3.objects().values().any(|object| object.bytes == document));
}

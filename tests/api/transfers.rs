//! Transfers of large content to a store that supports parts.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use tara_export::transfer::{
    ContentSource, LargeContent, PART_BYTES, RetryBudget, TransferLimits, Transfers,
    is_copy_by_etag,
};
use tara_export_digest::{ContentChecksums, Sha256};
use tara_export_limits::Pool;
use tara_export_store::{ObjectKey, PutOutcome, Store};
use tara_export_test_support::TestS3;

use crate::harness::s3::{real_store, store_of};

/// Bytes without repetitions.
fn large(size_bytes: usize) -> Bytes {
    let numbers = 0..size_bytes.div_ceil(8) as u64;
    let bytes = numbers.flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    bytes.take(size_bytes).collect()
}

async fn check_stored(store: &dyn Store, key: &ObjectKey, expected: &Bytes) {
    let info = store.head(key).await.unwrap();
    assert_eq!(info.size_bytes, expected.len() as u64);
    assert!(info.modified_time.is_some());
    if let Some(sha256) = info.sha256 {
        assert_eq!(sha256, Sha256::of(expected));
    }
    let object = store.get(key).await.unwrap();
    assert_eq!(object.info.size_bytes, expected.len() as u64);
    let pieces: Vec<Bytes> = object.body.try_collect().await.unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= 1024 * 1024));
    assert!(pieces.concat() == *expected, "{key} has other bytes");
}

/// Transfers a large document to the store in parts, and copies it to another key with verification.
async fn check_upload_and_copy(store: Arc<dyn Store>) {
    let limits = TransferLimits { memory_bytes: 2 * PART_BYTES, parallel_parts: 3 };
    let transfers = Transfers::new(limits, None, Pool::new("documents", 2).unwrap());
    let parts = store.parts().expect("S3 supports parts");
    let folder = tempfile::tempdir().unwrap();
    for size in [0, 1, PART_BYTES as usize, 2 * PART_BYTES as usize + 77_777] {
        let bytes = large(size);
        let file = folder.path().join(size.to_string());
        std::fs::write(&file, &bytes).unwrap();
        let content = |name: String, source| LargeContent {
            key: ObjectKey::new(name).unwrap(),
            expected: ContentChecksums::of(&bytes),
            media_type: "text/x".to_owned(),
            source,
            budget: Arc::new(RetryBudget::new(std::time::Duration::from_secs(20))),
            progress: Arc::new(|_| {}),
            failed: Arc::new(|attempt, error| eprintln!("attempt {attempt}: {error}")),
        };
        let first = content(format!("in/{size}"), ContentSource::File(file));
        assert_eq!(transfers.put(&*store, &first).await.unwrap(), PutOutcome::Created, "{size}");
        assert_eq!(transfers.put(&*store, &first).await.unwrap(), PutOutcome::Exists, "{size}");
        check_stored(&*store, &first.key, &bytes).await;

        let location = parts.source_location(&first.key);
        let source = parts.look_up_source(&location).await.unwrap();
        let e_tag = source.e_tag.clone();
        let object = ContentSource::Object { store: store.clone(), source };
        let copy = content(format!("copy/{size}"), object);
        assert_eq!(transfers.put(&*store, &copy).await.unwrap(), PutOutcome::Created, "{size}");
        assert_eq!(transfers.put(&*store, &copy).await.unwrap(), PutOutcome::Exists, "{size}");
        check_stored(&*store, &copy.key, &bytes).await;
        // The copy was not read, because a checksum or ETag in the store verifies it.
        let copied = parts.source_location(&copy.key);
        let copied = parts.look_up_source(&copied).await.unwrap();
        let is_verified = copied.info.crc64nvme == Some(copy.expected.crc64nvme)
            || is_copy_by_etag(&copied.e_tag, &e_tag);
        assert!(is_verified || size == 0, "{size}: {copied:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_in_memory_large_content_is_uploaded_and_copied() {
    let server = TestS3::start().await;
    check_upload_and_copy(store_of(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real S3 server: .ci/real-s3"]
async fn s3_real_large_content_is_uploaded_and_copied() {
    check_upload_and_copy(real_store()).await;
}

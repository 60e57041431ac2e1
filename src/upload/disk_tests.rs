//! Concurrent calls on one upload on disk.

use std::{fs, sync::atomic::AtomicBool, time::Duration};

use bytes::Bytes;
use chrono::DateTime;
use futures::{StreamExt as _, poll, stream};
use tara_export_bundle::AcceptedTime;
use tara_export_digest::Sha256;

use super::*;

const CONTENT: &[u8] = b"a document";

fn incoming(content: &'static [u8]) -> IncomingBytes {
    IncomingBytes {
        offset: 0,
        pieces: stream::iter([Ok(Bytes::from_static(content))]).boxed(),
        is_finished: Arc::new(AtomicBool::new(true)),
        chunk_bytes: None,
    }
}

fn requested(number: u128, caller: &str, size_bytes: u64) -> UploadRecord {
    UploadRecord {
        upload_id: Uuid::from_u128(number),
        size_bytes,
        sha256: None,
        created_time: AcceptedTime::new(DateTime::UNIX_EPOCH),
        part_upload_id: None,
        request: Some(Sha256::of(&number.to_le_bytes())),
        owner: None,
        caller: Some(Sha256::of(caller.as_bytes())),
    }
}

/// Uploads whose files are read and written by one thread, in the order of the calls.
fn uploads(data_dir: &std::path::Path, limit_bytes: u64) -> DiskUploads {
    let pool = Pool::new("uploads", 1).unwrap();
    DiskUploads::new(data_dir.to_owned(), limit_bytes, Duration::from_secs(3600), pool)
}

#[tokio::test]
async fn concurrent_receive_calls_keep_the_document_intact() {
    let folder = tempfile::tempdir().unwrap();
    let uploads = uploads(folder.path(), 1 << 20);
    let record = uploads.find_or_create(requested(1, "a", CONTENT.len() as u64)).await.unwrap();
    // The slow call has started and read the upload's state. The fast call runs to its end.
    let mut slow = std::pin::pin!(uploads.receive(&record, incoming(CONTENT)));
    assert!(poll!(&mut slow).is_pending());
    let fast = uploads.receive(&record, incoming(CONTENT)).await;
    let slow = slow.await;
    // One call had the lock. The other one has to be retried.
    let refused = [&fast, &slow]
        .into_iter()
        .filter(|received| matches!(received, Err(UploadError::Interrupted { .. })));
    assert_eq!(refused.count(), 1, "{fast:?}, {slow:?}");
    let finished = uploads.receive(&record, incoming(CONTENT)).await.unwrap().unwrap();
    assert_eq!(finished.checksums.sha256, Sha256::of(CONTENT));
    let UploadLocation::Disk { file } = finished.location else { panic!("in a store") };
    assert_eq!(fs::read(file).unwrap(), CONTENT);
}

#[tokio::test]
async fn removed_upload_accepts_no_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let uploads = uploads(folder.path(), 1 << 20);
    let record = uploads.find_or_create(requested(1, "a", CONTENT.len() as u64)).await.unwrap();
    uploads.remove(record.upload_id).await.unwrap();
    let received = uploads.receive(&record, incoming(CONTENT)).await;
    assert!(matches!(received, Err(UploadError::NotFound { .. })), "{received:?}");
    assert!(
        !folder.path().join(".tara-export/uploads").join(record.upload_id.to_string()).exists()
    );
}

#[tokio::test]
async fn eviction_skips_uploads_in_use_and_releases_its_locks() {
    let folder = tempfile::tempdir().unwrap();
    let uploads = uploads(folder.path(), 1 << 20);
    let quarter = 256 * 1024;
    for number in 1..=4 {
        uploads.find_or_create(requested(number, "a", quarter)).await.unwrap();
    }
    let id = Uuid::from_u128;
    let lock = uploads.lock(id(1)).unwrap();
    uploads.find_or_create(requested(5, "b", quarter)).await.unwrap();
    assert!(uploads.find(id(1)).await.unwrap().is_some());
    assert!(uploads.find(id(2)).await.unwrap().is_none());
    assert!(uploads.lock(id(1)).is_err());
    drop(lock);
    for number in 1..=5 {
        assert!(uploads.lock(id(number)).is_ok(), "{number}");
    }
}

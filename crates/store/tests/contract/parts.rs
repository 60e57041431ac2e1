//! The contract of multipart uploads and copies, on every S3 backend.

use std::sync::Arc;

use bytes::Bytes;
use tara_export_digest::{ContentChecksums, Crc64Nvme};
use tara_export_store::{
    ObjectChecksum, ObjectKey, Part, PartStore, PartUpload, PutOutcome, Segments, Store,
    StoreErrorKind, StoredPart,
};

use crate::contract::{key, large, payload};

const MIN_BYTES: usize = 5 * 1024 * 1024;

fn parts(store: &Arc<dyn Store>) -> &dyn PartStore {
    store.parts().expect("S3 supports multipart uploads")
}

async fn put_part(
    store: &Arc<dyn Store>,
    upload: &PartUpload,
    number: u32,
    bytes: &Bytes,
) -> StoredPart {
    // In pieces, as received from a stream.
    let half = bytes.len() / 2;
    let content = Segments::new(vec![bytes.slice(..half), Bytes::new(), bytes.slice(half..)]);
    let part = Part { number, content, crc64nvme: Crc64Nvme::of(bytes), progress: None };
    parts(store).put_part(upload, part).await.unwrap()
}

/// An object of two parts.
async fn two_parts(
    store: &Arc<dyn Store>,
    key: &ObjectKey,
) -> (PartUpload, Vec<StoredPart>, Bytes) {
    let bytes = large(MIN_BYTES + 1_000).bytes;
    let upload = parts(store).begin(key, "text/x", ObjectChecksum::Crc64Nvme).await.unwrap();
    let second = put_part(store, &upload, 2, &bytes.slice(MIN_BYTES..)).await;
    let first = put_part(store, &upload, 1, &bytes.slice(..MIN_BYTES)).await;
    (upload, vec![first, second], bytes)
}

pub(crate) async fn parts_become_one_object(store: Arc<dyn Store>) {
    let key = key("folder/large");
    let (upload, stored, bytes) = two_parts(&store, &key).await;
    assert_eq!(store.head(&key).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    let listed = parts(&store).stored_parts(&upload).await.unwrap();
    let tags = |parts: &[StoredPart]| {
        parts.iter().map(|part| (part.number, part.e_tag.clone())).collect::<Vec<_>>()
    };
    assert_eq!(tags(&listed), tags(&stored));
    let expected = ContentChecksums::of(&bytes);
    let outcome = parts(&store).complete_if_absent(&upload, &stored, &expected).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created);
    let info = store.head(&key).await.unwrap();
    assert_eq!((info.size_bytes, info.sha256), (expected.size_bytes, None));
    assert_eq!(info.crc64nvme, Some(expected.crc64nvme));
    crate::contract::check_stored(&*store, &key, &payload(bytes)).await;
    // Completing again after a lost response does not report a created object.
    match parts(&store).complete_if_absent(&upload, &stored, &expected).await {
        Ok(outcome) => assert_eq!(outcome, PutOutcome::Exists),
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::NotFound),
    }
}

pub(crate) async fn completion_replaces_no_object(store: Arc<dyn Store>) {
    let key = key("folder/taken");
    store.put_if_absent(&key, payload("first")).await.unwrap();
    let (upload, stored, bytes) = two_parts(&store, &key).await;
    let expected = ContentChecksums::of(&bytes);
    let outcome = parts(&store).complete_if_absent(&upload, &stored, &expected).await.unwrap();
    assert_eq!(outcome, PutOutcome::Exists);
    parts(&store).abort(&upload).await.unwrap();
    parts(&store).abort(&upload).await.unwrap();
    crate::contract::check_stored(&*store, &key, &payload("first")).await;
}

pub(crate) async fn one_of_many_concurrent_completions_wins(store: Arc<dyn Store>) {
    let key = key("folder/contested");
    let mut uploads = Vec::new();
    for _ in 0..4 {
        uploads.push(two_parts(&store, &key).await);
    }
    let expected = ContentChecksums::of(&uploads[0].2);
    let completions = uploads.iter().map(|(upload, stored, _)| {
        let store = &store;
        async move {
            // 409 means that another completion is in progress.
            loop {
                match parts(store).complete_if_absent(upload, stored, &expected).await {
                    Err(error) if error.is_transient() => {}
                    outcome => break outcome.unwrap(),
                }
            }
        }
    });
    let outcomes = futures::future::join_all(completions).await;
    let winners = outcomes.iter().filter(|outcome| **outcome == PutOutcome::Created);
    assert_eq!(winners.count(), 1, "{outcomes:?}");
}

pub(crate) async fn parts_with_wrong_checksums_are_refused(store: Arc<dyn Store>) {
    let key = key("folder/wrong");
    let (upload, stored, bytes) = two_parts(&store, &key).await;
    let wrong = Part {
        number: 3,
        content: Bytes::from_static(b"bytes").into(),
        crc64nvme: Crc64Nvme::of(b"other bytes"),
        progress: None,
    };
    assert!(parts(&store).put_part(&upload, wrong).await.is_err());
    let expected =
        ContentChecksums { crc64nvme: Crc64Nvme::of(b"other"), ..ContentChecksums::of(&bytes) };
    let error = parts(&store).complete_if_absent(&upload, &stored, &expected).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
    assert_eq!(store.head(&key).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    parts(&store).abort(&upload).await.unwrap();
}

pub(crate) async fn changed_source_is_not_read(store: Arc<dyn Store>) {
    let key = key("folder/source é/+ 1");
    store.put_if_absent(&key, payload("content")).await.unwrap();
    let location = parts(&store).source_location(&key);
    let source = parts(&store).look_up_source(&location).await.unwrap();
    assert_eq!(source.info.size_bytes, 7);
    let object = parts(&store).read_source(&source).await.unwrap();
    let read: Vec<Bytes> = futures::TryStreamExt::try_collect(object.body).await.unwrap();
    assert_eq!(read.concat(), b"content");

    let target = crate::contract::key("folder/target");
    let upload = parts(&store).begin(&target, "text/x", ObjectChecksum::None).await.unwrap();
    parts(&store).copy_part(&upload, 1, &source, 0..7).await.unwrap();
    let mut changed = source.clone();
    changed.e_tag = "\"0123456789abcdef0123456789abcdef\"".to_owned();
    changed.location.version_id = None;
    for changed in [
        parts(&store).copy_part(&upload, 1, &changed, 0..7).await.unwrap_err(),
        parts(&store).read_source(&changed).await.unwrap_err(),
    ] {
        assert_eq!(changed.kind(), StoreErrorKind::Changed, "{changed}");
    }
    let mut gone = source.clone();
    gone.location.key.push_str(".gone");
    gone.location.version_id = None;
    for gone in [
        parts(&store).copy_part(&upload, 1, &gone, 0..7).await.unwrap_err(),
        parts(&store).read_source(&gone).await.unwrap_err(),
    ] {
        assert_eq!(gone.kind(), StoreErrorKind::Changed, "{gone}");
    }
    let missing = parts(&store).look_up_source(&gone.location).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
    parts(&store).abort(&upload).await.unwrap();
}

//! Objects in parts and copies of them, on every S3 server.

use std::sync::Arc;

use bytes::Bytes;
use tara_export::{
    digest::{ContentChecksums, Crc64Nvme},
    limits::Pool,
    store::{
        ObjectKey, Part, PartStore, PartUpload, PutOutcome, Segments, Store, StoreErrorKind,
        StoredPart, WholeChecksum,
    },
    transfer::{
        ContentSource, LargeContent, PART_BYTES, RetryBudget, TransferLimits, Transfers, is_copy,
    },
};

use crate::contract::{key, large, payload};

const SMALLEST: usize = 5 * 1024 * 1024;

fn parts(store: &Arc<dyn Store>) -> &dyn PartStore {
    store.parts().expect("S3 takes objects in parts")
}

async fn put_part(
    store: &Arc<dyn Store>,
    upload: &PartUpload,
    number: u32,
    bytes: &Bytes,
) -> StoredPart {
    // In pieces, as they come from a stream.
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
    let bytes = large(SMALLEST + 1_000).bytes;
    let upload = parts(store).begin(key, "text/x", WholeChecksum::Crc64Nvme).await.unwrap();
    let second = put_part(store, &upload, 2, &bytes.slice(SMALLEST..)).await;
    let first = put_part(store, &upload, 1, &bytes.slice(..SMALLEST)).await;
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
    let whole = ContentChecksums::of(&bytes);
    let outcome = parts(&store).complete_if_absent(&upload, &stored, &whole).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created);
    let info = store.head(&key).await.unwrap();
    assert_eq!((info.size_bytes, info.sha256), (whole.size_bytes, None));
    assert_eq!(info.crc64nvme, Some(whole.crc64nvme));
    crate::contract::check_stored(&*store, &key, &payload(bytes)).await;
    // Whatever the store says to a completion whose answer was lost, it is not that it was made again.
    match parts(&store).complete_if_absent(&upload, &stored, &whole).await {
        Ok(outcome) => assert_eq!(outcome, PutOutcome::Exists),
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::NotFound),
    }
}

pub(crate) async fn parts_replace_nothing(store: Arc<dyn Store>) {
    let key = key("folder/taken");
    store.put_if_absent(&key, payload("first")).await.unwrap();
    let (upload, stored, bytes) = two_parts(&store, &key).await;
    let whole = ContentChecksums::of(&bytes);
    let outcome = parts(&store).complete_if_absent(&upload, &stored, &whole).await.unwrap();
    assert_eq!(outcome, PutOutcome::Exists);
    parts(&store).abort(&upload).await.unwrap();
    parts(&store).abort(&upload).await.unwrap();
    crate::contract::check_stored(&*store, &key, &payload("first")).await;
}

pub(crate) async fn of_many_completions_at_once_one_wins(store: Arc<dyn Store>) {
    let key = key("folder/contested");
    let mut uploads = Vec::new();
    for _ in 0..4 {
        uploads.push(two_parts(&store, &key).await);
    }
    let whole = ContentChecksums::of(&uploads[0].2);
    let completions = uploads.iter().map(|(upload, stored, _)| {
        let store = &store;
        async move {
            // 409 says that another completion is under way.
            loop {
                match parts(store).complete_if_absent(upload, stored, &whole).await {
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

pub(crate) async fn wrong_checksums_are_refused(store: Arc<dyn Store>) {
    let key = key("folder/wrong");
    let (upload, stored, bytes) = two_parts(&store, &key).await;
    let wrong = Part {
        number: 3,
        content: Bytes::from_static(b"bytes").into(),
        crc64nvme: Crc64Nvme::of(b"other bytes"),
        progress: None,
    };
    assert!(parts(&store).put_part(&upload, wrong).await.is_err());
    let whole =
        ContentChecksums { crc64nvme: Crc64Nvme::of(b"other"), ..ContentChecksums::of(&bytes) };
    let error = parts(&store).complete_if_absent(&upload, &stored, &whole).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
    assert_eq!(store.head(&key).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    parts(&store).abort(&upload).await.unwrap();
}

pub(crate) async fn a_pinned_source_is_read_as_it_was_or_not_at_all(store: Arc<dyn Store>) {
    let key = key("folder/source é/+ 1");
    store.put_if_absent(&key, payload("content")).await.unwrap();
    let location = parts(&store).source_location(&key);
    let source = parts(&store).look_up_source(&location).await.unwrap();
    assert_eq!(source.info.size_bytes, 7);
    let object = parts(&store).read_source(&source).await.unwrap();
    let read: Vec<Bytes> = futures::TryStreamExt::try_collect(object.body).await.unwrap();
    assert_eq!(read.concat(), b"content");

    let target = crate::contract::key("folder/target");
    let upload = parts(&store).begin(&target, "text/x", WholeChecksum::None).await.unwrap();
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

/// The whole way of a large document: in parts into the store, and as a proved copy to another key.
pub(crate) async fn large_content_goes_in_and_is_copied_inside_the_store(store: Arc<dyn Store>) {
    let limits = TransferLimits { memory_bytes: 2 * PART_BYTES, parallel_parts: 3 };
    let transfers = Transfers::new(limits, None, Pool::new("documents", 2).unwrap());
    let folder = tempfile::tempdir().unwrap();
    for size in [0, 1, PART_BYTES as usize, 2 * PART_BYTES as usize + 77_777] {
        let bytes = large(size).bytes;
        let file = folder.path().join(size.to_string());
        std::fs::write(&file, &bytes).unwrap();
        let content = |name: String, source| LargeContent {
            key: key(&name),
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
        crate::contract::check_stored(&*store, &first.key, &payload(bytes.clone())).await;

        let location = parts(&store).source_location(&first.key);
        let source = parts(&store).look_up_source(&location).await.unwrap();
        let e_tag = source.e_tag.clone();
        let object = ContentSource::Object { store: store.clone(), source };
        let copy = content(format!("copy/{size}"), object);
        assert_eq!(transfers.put(&*store, &copy).await.unwrap(), PutOutcome::Created, "{size}");
        assert_eq!(transfers.put(&*store, &copy).await.unwrap(), PutOutcome::Exists, "{size}");
        crate::contract::check_stored(&*store, &copy.key, &payload(bytes.clone())).await;
        // Nothing of it was read, since something in the store proves it.
        let copied = parts(&store).source_location(&copy.key);
        let copied = parts(&store).look_up_source(&copied).await.unwrap();
        let is_proved = copied.info.crc64nvme == Some(copy.expected.crc64nvme)
            || is_copy(&copied.e_tag, &e_tag);
        assert!(is_proved || size == 0, "{size}: {copied:?}");
    }
}

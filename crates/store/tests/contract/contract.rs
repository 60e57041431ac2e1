//! The contract of every store: putting and reading objects.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future::join_all};
use tara_export_digest::{ContentChecksums, Sha256};
use tara_export_store::{
    ObjectKey, Payload, ProbeStatus, PutOutcome, Store, StoreError, StoreErrorKind,
    StreamedPayload, honours_conditional_put, read_small,
};
use tokio::sync::Notify;

const MIB: usize = 1024 * 1024;

pub(crate) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

pub(crate) fn payload(bytes: impl Into<Bytes>) -> Payload {
    let bytes = bytes.into();
    let sha256 = Sha256::of(&bytes);
    Payload::new(bytes, sha256, "application/octet-stream")
}

/// A payload without repeating content.
pub(crate) fn large(size_bytes: usize) -> Payload {
    let bytes: Vec<u8> = (0..size_bytes.div_ceil(8) as u64)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(size_bytes)
        .collect();
    payload(bytes)
}

async fn read(store: &dyn Store, key: &ObjectKey) -> Bytes {
    let object = store.get(key).await.unwrap();
    let pieces: Vec<Bytes> = object.body.try_collect().await.unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= MIB));
    let bytes = Bytes::from(pieces.concat());
    assert_eq!(object.info.size_bytes, bytes.len() as u64);
    bytes
}

pub(crate) async fn check_stored(store: &dyn Store, key: &ObjectKey, expected: &Payload) {
    let info = store.head(key).await.unwrap();
    assert_eq!(info.size_bytes, expected.bytes.len() as u64);
    assert!(info.modified_time.is_some());
    if let Some(sha256) = info.sha256 {
        assert_eq!(sha256, expected.sha256);
    }
    assert!(read(store, key).await == expected.bytes, "{key} has different bytes");
}

pub(crate) async fn small_object_round_trips(store: Arc<dyn Store>) {
    let (key, payload) = (key("folder/a.json"), payload("{}"));
    assert_eq!(store.put_if_absent(&key, payload.clone()).await.unwrap(), PutOutcome::Created);
    check_stored(&*store, &key, &payload).await;
    assert!(store.location(key.as_str()).ends_with("folder/a.json"));
}

pub(crate) async fn empty_object_round_trips(store: Arc<dyn Store>) {
    let (key, payload) = (key("empty"), payload(""));
    assert_eq!(store.put_if_absent(&key, payload.clone()).await.unwrap(), PutOutcome::Created);
    check_stored(&*store, &key, &payload).await;
    assert_eq!(store.put_if_absent(&key, payload).await.unwrap(), PutOutcome::Exists);
}

pub(crate) async fn large_put_reports_progress_and_reads_in_pieces(store: Arc<dyn Store>) {
    let key = key("documents/large.bin");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let seen = seen.clone();
        Arc::new(move |sent: u64| seen.lock().unwrap().push(sent))
    };
    let payload = Payload { progress: Some(progress), ..large(9 * MIB + 1) };
    assert_eq!(store.put_if_absent(&key, payload.clone()).await.unwrap(), PutOutcome::Created);
    let seen = seen.lock().unwrap().clone();
    assert!(seen.len() >= 9 && seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&(9 * MIB as u64 + 1)));
    check_stored(&*store, &key, &payload).await;
}

pub(crate) async fn second_put_changes_nothing(store: Arc<dyn Store>) {
    let (key, first) = (key("a/b"), payload("first"));
    assert_eq!(store.put_if_absent(&key, first.clone()).await.unwrap(), PutOutcome::Created);
    for second in [first.clone(), payload("second, and longer")] {
        assert_eq!(store.put_if_absent(&key, second).await.unwrap(), PutOutcome::Exists);
    }
    check_stored(&*store, &key, &first).await;
}

pub(crate) async fn one_of_many_concurrent_puts_wins(store: Arc<dyn Store>) {
    let key = key("contended/object");
    let payloads: Vec<Payload> =
        (0..16).map(|number| payload(format!("contender {number}").repeat(5000))).collect();
    let puts = payloads.iter().map(|payload| {
        let (store, key, payload) = (store.clone(), key.clone(), payload.clone());
        tokio::spawn(async move {
            loop {
                match store.put_if_absent(&key, payload.clone()).await {
                    // Amazon S3 returns 409 to some of several concurrent puts.
                    Err(error) if error.is_transient() => tokio::task::yield_now().await,
                    result => return result.unwrap(),
                }
            }
        })
    });
    let outcomes: Vec<PutOutcome> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<usize> = (0..16).filter(|at| outcomes[*at] == PutOutcome::Created).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    check_stored(&*store, &key, &payloads[winners[0]]).await;
}

pub(crate) async fn put_with_wrong_digest_is_refused(store: Arc<dyn Store>) {
    let key = key("damaged");
    let wrong = Payload { sha256: Sha256::of(b"expected bytes"), ..payload("received bytes") };
    store.put_if_absent(&key, wrong).await.unwrap_err();
    assert_eq!(store.head(&key).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    let right = payload("expected bytes");
    assert_eq!(store.put_if_absent(&key, right.clone()).await.unwrap(), PutOutcome::Created);
    check_stored(&*store, &key, &right).await;
}

pub(crate) async fn missing_object_is_not_found(store: Arc<dyn Store>) {
    store.put_if_absent(&key("folder/object"), payload("x")).await.unwrap();
    for missing in ["missing", "folder", "folder/object2", "folder/objec", "missing/object"] {
        let missing = key(missing);
        assert_eq!(
            store.head(&missing).await.unwrap_err().kind(),
            StoreErrorKind::NotFound,
            "{missing}"
        );
        let error = store.get(&missing).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotFound, "{missing}");
        assert!(error.to_string().contains(missing.as_str()), "{error}");
    }
}

pub(crate) async fn dropped_put_leaves_no_partial_object(store: Arc<dyn Store>) {
    let key = key("documents/dropped.bin");
    let complete = large(9 * MIB);
    let started = Arc::new(Notify::new());
    let progress = {
        let started = started.clone();
        Arc::new(move |_| started.notify_one())
    };
    let payload = Payload { progress: Some(progress), ..complete.clone() };
    tokio::select! {
        biased;
        () = started.notified() => {}
        result = store.put_if_absent(&key, payload) => { result.unwrap(); }
    }
    match store.head(&key).await {
        Ok(info) => assert_eq!(info.size_bytes, complete.bytes.len() as u64),
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::NotFound),
    }
    store.put_if_absent(&key, complete.clone()).await.unwrap();
    check_stored(&*store, &key, &complete).await;
}

pub(crate) async fn read_small_enforces_size_limit(store: Arc<dyn Store>) {
    let (key, payload) = (key("small"), payload("12345"));
    store.put_if_absent(&key, payload.clone()).await.unwrap();
    let (info, bytes) = read_small(&*store, &key, 5).await.unwrap();
    assert_eq!((info.size_bytes, bytes), (5, payload.bytes));
    assert_eq!(read_small(&*store, &key, 4).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
}

pub(crate) async fn working_store_passes_repeated_probes(store: Arc<dyn Store>) {
    for _ in 0..2 {
        let rows = store.probe().await;
        for row in rows {
            // The test servers' buckets have no lifecycle rules.
            let expected = match row.check {
                "s3.lifecycle" => ProbeStatus::Warning,
                _ => ProbeStatus::Passed,
            };
            assert_eq!(row.status, expected, "{row:#?}");
        }
        assert!(honours_conditional_put(&*store).await.unwrap());
    }
}

pub(crate) async fn objects_with_unusual_names_round_trip(store: Arc<dyn Store>) {
    for name in crate::listing::unusual_names() {
        let (key, payload) = (key(&name), payload(name.clone()));
        assert_eq!(
            store.put_if_absent(&key, payload.clone()).await.unwrap(),
            PutOutcome::Created,
            "{name}"
        );
        check_stored(&*store, &key, &payload).await;
    }
}

pub(crate) async fn streamed_object_round_trips(store: Arc<dyn Store>) {
    let content = large(3 * MIB + 7);
    let streamed = |name: &str, pieces: Vec<Result<Bytes, StoreError>>, expected| {
        let payload = StreamedPayload {
            expected,
            media_type: "text/x".to_owned(),
            body: futures::stream::iter(pieces).boxed(),
            progress: None,
        };
        let (store, key) = (store.clone(), key(name));
        async move { store.put_stream_if_absent(&key, payload).await }
    };
    let pieces = || content.bytes.chunks(MIB).map(|piece| Ok(content.bytes.slice_ref(piece)));
    let expected = ContentChecksums::of(&content.bytes);
    if store.parts().is_some() {
        // Stores with multipart uploads do not accept streams.
        let error = streamed("streams/a", pieces().collect(), expected).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
        let missing = store.head(&key("streams/a")).await.unwrap_err();
        assert_eq!(missing.kind(), StoreErrorKind::NotFound);
        return;
    }
    let outcome = streamed("streams/a", pieces().collect(), expected).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created);
    check_stored(&*store, &key("streams/a"), &content).await;
    let outcome = streamed("streams/a", pieces().collect(), expected).await.unwrap();
    assert_eq!(outcome, PutOutcome::Exists);

    // A failed stream, a truncated stream and wrong bytes leave no object.
    let broken = StoreError::new(StoreErrorKind::Unavailable, "cut");
    let broken: Vec<_> = pieces().take(1).chain([Err(broken)]).collect();
    let short: Vec<_> = pieces().take(2).collect();
    let other = vec![Ok(Bytes::from_static(b"other"))];
    for (pieces, kind) in [
        (broken, StoreErrorKind::Unavailable),
        (short, StoreErrorKind::Corrupt),
        (other, StoreErrorKind::Corrupt),
    ] {
        let error = streamed("streams/b", pieces, expected).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let missing = store.head(&key("streams/b")).await.unwrap_err();
        assert_eq!(missing.kind(), StoreErrorKind::NotFound);
    }
}

//! The contract of every store: deleting objects.

use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use tara_export_store::{ListRequest, Listing, PutOutcome, Store, StoreErrorKind};

use crate::{
    contract::{check_stored, key, payload},
    listing::unusual_names,
};

async fn everything(store: &dyn Store) -> Listing {
    let request =
        ListRequest { prefix: String::new(), start_after: None, delimited: false, limit: 1000 };
    store.list(request).await.unwrap()
}

pub(crate) async fn deleted_object_is_gone(store: Arc<dyn Store>) {
    let key = key("folder/below/a.json");
    store.put_if_absent(&key, payload("{}")).await.unwrap();
    store.delete(&key).await.unwrap();
    assert_eq!(store.head(&key).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(store.get(&key).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(everything(&*store).await, Listing::default());
}

/// A separate test because SeaweedFS lists a folder for some time after its last object was deleted.
pub(crate) async fn folder_without_objects_is_not_listed(store: Arc<dyn Store>) {
    for name in ["folder/below/a", "folder/b", "other/c"] {
        store.put_if_absent(&key(name), payload("x")).await.unwrap();
    }
    let mut listed = Vec::new();
    for name in ["folder/below/a", "folder/b", "other/c"] {
        store.delete(&key(name)).await.unwrap();
        let request =
            ListRequest { prefix: String::new(), start_after: None, delimited: true, limit: 1000 };
        listed.push(store.list(request).await.unwrap().folders);
    }
    assert_eq!(listed, [vec!["folder/", "other/"], vec!["other/"], vec![]]);
}

pub(crate) async fn delete_of_missing_object_succeeds(store: Arc<dyn Store>) {
    store.delete(&key("missing")).await.unwrap();
    store.put_if_absent(&key("folder/object"), payload("x")).await.unwrap();
    for missing in ["missing/object", "folder/missing", "folder/objec", "folder/missing/object"] {
        store.delete(&key(missing)).await.unwrap();
    }
    assert_eq!(everything(&*store).await.keys, ["folder/object"]);
    for _ in 0..2 {
        store.delete(&key("folder/object")).await.unwrap();
    }
    assert_eq!(everything(&*store).await, Listing::default());
}

pub(crate) async fn deleted_key_can_be_put_again(store: Arc<dyn Store>) {
    let key = key("folder/below/again");
    for text in ["first", "second, and longer", "third"] {
        let payload = payload(text);
        assert_eq!(store.put_if_absent(&key, payload.clone()).await.unwrap(), PutOutcome::Created);
        check_stored(&*store, &key, &payload).await;
        store.delete(&key).await.unwrap();
    }
}

pub(crate) async fn delete_keeps_neighbouring_keys(store: Arc<dyn Store>) {
    let neighbours = [
        "a", "a-b/c", "a.b", "ab", "d/b", "d/b-c", "d/b.c", "d/b0", "d/bb/c", "d/bb/d", "d/c/b",
        "d/c/bb", "e/d/b",
    ];
    let deleted = ["d/bb/b", "d/b1", "d/c/b1/c", "ab1", "e/b"];
    for name in neighbours.iter().chain(&deleted) {
        store.put_if_absent(&key(name), payload(*name)).await.unwrap();
    }
    for name in deleted {
        store.delete(&key(name)).await.unwrap();
    }
    for name in neighbours {
        check_stored(&*store, &key(name), &payload(name)).await;
    }
    let mut remaining = everything(&*store).await.keys;
    remaining.sort_unstable();
    assert_eq!(remaining, neighbours);
}

pub(crate) async fn objects_with_unusual_names_are_deleted(store: Arc<dyn Store>) {
    let mut remaining = unusual_names();
    for name in &remaining {
        store.put_if_absent(&key(name), payload("x")).await.unwrap();
    }
    remaining.sort_unstable();
    while let Some(name) = remaining.pop() {
        store.delete(&key(&name)).await.unwrap();
        let mut listed = everything(&*store).await.keys;
        listed.sort_unstable();
        assert_eq!(listed, remaining, "without {name}");
    }
}

pub(crate) async fn concurrent_puts_and_deletes_succeed(store: Arc<dyn Store>) {
    let tasks = (0..8).map(|number| {
        let (store, key) = (store.clone(), key(&format!("shared/folder/{number}")));
        tokio::spawn(async move {
            for _ in 0..5 {
                let outcome = store.put_if_absent(&key, payload("x")).await.unwrap();
                assert_eq!(outcome, PutOutcome::Created);
                check_stored(&*store, &key, &payload("x")).await;
                store.delete(&key).await.unwrap();
            }
        })
    });
    try_join_all(tasks).await.unwrap();
    assert_eq!(everything(&*store).await, Listing::default());
}

pub(crate) async fn concurrent_deletes_of_one_object_succeed(store: Arc<dyn Store>) {
    let key = key("shared/object");
    store.put_if_absent(&key, payload("x")).await.unwrap();
    let deletions = join_all((0..8).map(|_| {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move { store.delete(&key).await })
    }));
    for deletion in deletions.await {
        deletion.unwrap().unwrap();
    }
    assert_eq!(store.head(&key).await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

//! Deleting and the folders on disk. The rest is in `tests/contract/deleting.rs`.

#![allow(clippy::unwrap_used)]

use std::thread;

use bytes::Bytes;
use tara_export_digest::Sha256;
use tara_export_disk::counts;
use tempfile::TempDir;

use super::*;

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn payload(text: &'static str) -> Payload {
    Payload::new(Bytes::from_static(text.as_bytes()), Sha256::of(text.as_bytes()), "text/plain")
}

/// Creates a store with these objects.
fn store(keys: &[&str]) -> (TempDir, LocalStore) {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    for text in keys {
        store.write(&key(text), &payload("x")).unwrap();
    }
    (root, store)
}

fn synced_folders(work: impl FnOnce()) -> u32 {
    let before = counts::DIRECTORIES.get();
    work();
    counts::DIRECTORIES.get() - before
}

fn assert_refused(store: &LocalStore, text: &str) {
    let error = store.remove(&key(text)).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn empty_folders_are_removed_with_last_object() {
    let (root, store) = store(&["a/b/c/1", "a/b/c/2", "a/b2", "d/e"]);
    let exists = |path: &str| root.path().join(path).exists();
    assert_eq!(synced_folders(|| store.remove(&key("a/b/c/1")).unwrap()), 1);
    assert!(exists("a/b/c/2") && !exists("a/b/c/1"));
    assert_eq!(synced_folders(|| store.remove(&key("a/b/c/2")).unwrap()), 1);
    assert!(exists("a/b2") && !exists("a/b"));
    store.remove(&key("a/b2")).unwrap();
    store.remove(&key("d/e")).unwrap();
    assert!(exists("") && exists(TEMPORARY) && !exists("a") && !exists("d"));
}

#[test]
fn own_folder_is_kept_when_empty() {
    let (root, store) = store(&[".tara-export/exports/1.json"]);
    let own = root.path().join(OWN);
    fs::remove_dir(root.path().join(TEMPORARY)).unwrap();
    store.remove(&key(".tara-export/exports/1.json")).unwrap();
    assert_eq!(fs::read_dir(&own).unwrap().count(), 0);
}

#[test]
fn reserved_keys_cannot_be_deleted() {
    let (root, store) = store(&[]);
    let own = root.path().join(OWN);
    for name in ["lock", "journal/entry", "tmp/unfinished", "failed/1.json", "receipts/1.json"] {
        fs::create_dir_all(own.join(name).parent().unwrap()).unwrap();
        fs::write(own.join(name), "x").unwrap();
        assert_refused(&store, &format!(".tara-export/{name}"));
        assert!(own.join(name).exists(), "{name}");
    }
}

#[test]
fn delete_after_interrupted_delete_succeeds() {
    let (root, store) = store(&["other"]);
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    assert_eq!(synced_folders(|| store.remove(&key("a/b/c")).unwrap()), 1);
    assert!(!root.path().join("a").exists());
    // Nothing is left, but the previous process may have died before the fsync.
    assert_eq!(synced_folders(|| store.remove(&key("a/b/c")).unwrap()), 1);
    assert!(root.path().join("other").exists());
}

#[test]
fn links_and_folders_cannot_be_deleted() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    fs::create_dir(outside.path().join("empty")).unwrap();
    let (root, store) = store(&["folder/object"]);
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(outside.path().join(to), root.path().join(name)).unwrap();
    };
    link("", "link");
    link("secret", "file-link");
    link("secret", "folder/file-link");
    fs::create_dir(root.path().join("empty")).unwrap();
    // A folder that was cached as durable and is a link now: the cache must not lead outside.
    store.write(&key("swapped/sub/secret"), &payload("x")).unwrap();
    fs::remove_dir_all(root.path().join("swapped")).unwrap();
    fs::create_dir(outside.path().join("sub")).unwrap();
    fs::write(outside.path().join("sub/secret"), "x").unwrap();
    link("", "swapped");
    for name in [
        "link/secret",
        "link/empty/missing",
        "link",
        "file-link",
        "folder/file-link",
        "folder",
        "empty",
        "swapped/sub/secret",
    ] {
        assert_refused(&store, name);
    }
    for path in ["secret", "empty", "sub/secret"] {
        assert!(outside.path().join(path).exists(), "{path}");
    }
    for path in ["link", "file-link", "folder/file-link", "folder/object", "empty", "swapped"] {
        assert!(fs::symlink_metadata(root.path().join(path)).is_ok(), "{path}");
    }
}

#[test]
fn delete_below_object_keeps_object() {
    let (root, store) = store(&["a/b"]);
    store.remove(&key("a/b/c")).unwrap();
    store.remove(&key("a/b/c/d")).unwrap();
    assert!(root.path().join("a/b").exists());
}

#[test]
fn delete_creates_no_folders() {
    let parent = tempfile::tempdir().unwrap();
    let store = LocalStore::open(parent.path().join("deep/exports")).unwrap();
    store.remove(&key("a/b")).unwrap();
    store.remove(&key(".tara-export/exports/1.json")).unwrap();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn delete_fails_if_root_is_a_file() {
    let parent = tempfile::tempdir().unwrap();
    let store = LocalStore::open(parent.path().join("exports")).unwrap();
    fs::write(parent.path().join("exports"), "x").unwrap();
    assert_eq!(store.remove(&key("a")).unwrap_err().kind(), StoreErrorKind::Full);
}

/// A deletion may remove the empty folder right after another thread's put has checked that it exists.
#[test]
fn puts_succeed_while_deletes_remove_their_folder() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 200;
    let (root, store) = store(&[]);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, root) = (&store, root.path());
            scope.spawn(move || {
                let text = format!("shared/deep/{thread}");
                for round in 0..ROUNDS {
                    let outcome = store.write(&key(&text), &payload("x"));
                    assert_eq!(outcome.unwrap(), PutOutcome::Created, "{text} in round {round}");
                    assert_eq!(fs::read(root.join(&text)).unwrap(), b"x");
                    store.remove(&key(&text)).unwrap();
                    assert!(!root.join(&text).exists());
                }
            });
        }
    });
    let left: Vec<_> =
        fs::read_dir(root.path()).unwrap().map(|at| at.unwrap().file_name()).collect();
    assert_eq!(left, [OWN]);
}

/// Concurrent puts and deletions of one key: the object is always complete or missing, and the last deletion
/// leaves nothing.
#[test]
fn concurrent_puts_and_deletes_leave_complete_or_no_object() {
    let (root, store) = store(&[]);
    thread::scope(|scope| {
        let (store, key) = (&store, key("a/b/c"));
        let putting = {
            let key = key.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    if let Err(error) = store.write(&key, &payload("complete")) {
                        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
                    }
                    if let Ok(bytes) = fs::read(store.path(&key)) {
                        assert_eq!(bytes, b"complete");
                    }
                }
            })
        };
        while !putting.is_finished() {
            store.remove(&key).unwrap();
        }
    });
    store.remove(&key("a/b/c")).unwrap();
    assert!(!root.path().join("a").exists());
}

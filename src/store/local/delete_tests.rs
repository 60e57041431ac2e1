//! What deleting does to the folders of a disk. The rest is in `tests/store_contract/deleting.rs`.

#![allow(clippy::unwrap_used)]

use std::thread;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{digest::Sha256, disk::counts};

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn payload(text: &'static str) -> Payload {
    Payload::new(Bytes::from_static(text.as_bytes()), Sha256::of(text.as_bytes()), "text/plain")
}

/// A store with these objects.
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

fn refused(store: &LocalStore, text: &str) {
    let error = store.remove(&key(text)).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn folders_go_with_their_last_object() {
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
fn the_folder_of_the_service_s_own_files_stays() {
    let (root, store) = store(&[".tara-export/exports/1.json"]);
    let own = root.path().join(OWN);
    fs::remove_dir(root.path().join(TEMPORARY)).unwrap();
    store.remove(&key(".tara-export/exports/1.json")).unwrap();
    assert_eq!(fs::read_dir(&own).unwrap().count(), 0);
}

#[test]
fn the_service_s_own_files_are_not_deleted() {
    let (root, store) = store(&[]);
    let own = root.path().join(OWN);
    for name in ["lock", "journal/entry", "tmp/unfinished", "failed/1.json", "receipts/1.json"] {
        fs::create_dir_all(own.join(name).parent().unwrap()).unwrap();
        fs::write(own.join(name), "x").unwrap();
        refused(&store, &format!(".tara-export/{name}"));
        assert!(own.join(name).exists(), "{name}");
    }
}

#[test]
fn a_deletion_that_broke_off_is_finished() {
    let (root, store) = store(&["stays"]);
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    assert_eq!(synced_folders(|| store.remove(&key("a/b/c")).unwrap()), 1);
    assert!(!root.path().join("a").exists());
    // All is gone, and whoever removed it may have died before the fsync.
    assert_eq!(synced_folders(|| store.remove(&key("a/b/c")).unwrap()), 1);
    assert!(root.path().join("stays").exists());
}

#[test]
fn what_is_no_object_stays() {
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
    // Known as durable before, and a link since: the memory of it leads nobody outside.
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
        refused(&store, name);
    }
    for path in ["secret", "empty", "sub/secret"] {
        assert!(outside.path().join(path).exists(), "{path}");
    }
    for path in ["link", "file-link", "folder/file-link", "folder/object", "empty", "swapped"] {
        assert!(fs::symlink_metadata(root.path().join(path)).is_ok(), "{path}");
    }
}

#[test]
fn nothing_lies_below_an_object() {
    let (root, store) = store(&["a/b"]);
    store.remove(&key("a/b/c")).unwrap();
    store.remove(&key("a/b/c/d")).unwrap();
    assert!(root.path().join("a/b").exists());
}

#[test]
fn deleting_makes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let store = LocalStore::open(parent.path().join("deep/exports")).unwrap();
    store.remove(&key("a/b")).unwrap();
    store.remove(&key(".tara-export/exports/1.json")).unwrap();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_file_in_the_root_s_place_must_be_moved_away() {
    let parent = tempfile::tempdir().unwrap();
    let store = LocalStore::open(parent.path().join("exports")).unwrap();
    fs::write(parent.path().join("exports"), "x").unwrap();
    assert_eq!(store.remove(&key("a")).unwrap_err().kind(), StoreErrorKind::Full);
}

/// Each thread's deletion may leave the folder empty just when another's put has made sure that it
/// is there.
#[test]
fn puts_find_their_folder_while_others_empty_it() {
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

/// The same key at once: whatever a put or a deletion says, what is there is whole, and the next
/// deletion leaves nothing.
#[test]
fn puts_and_deletions_of_one_key_leave_it_whole_or_gone() {
    let (root, store) = store(&[]);
    thread::scope(|scope| {
        let (store, key) = (&store, key("a/b/c"));
        let putting = {
            let key = key.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    if let Err(error) = store.write(&key, &payload("whole")) {
                        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
                    }
                    if let Ok(bytes) = fs::read(store.path(&key)) {
                        assert_eq!(bytes, b"whole");
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

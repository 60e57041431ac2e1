//! Disk-specific behavior. The rest is in `tests/contract/`.

#![allow(clippy::unwrap_used)]

use std::{
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use tara_export_digest::Sha256;
use tara_export_disk::counts;

use super::*;
use crate::{ProbeStatus, read_small};

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn payload(text: &'static str) -> Payload {
    Payload::new(Bytes::from_static(text.as_bytes()), Sha256::of(text.as_bytes()), "text/plain")
}

fn everything() -> ListRequest {
    ListRequest { prefix: String::new(), start_after: None, delimited: false, limit: 1000 }
}

#[tokio::test]
async fn root_is_created_by_first_write() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("deep/exports");
    let store = LocalStore::open(root.clone()).unwrap();
    assert_eq!(store.list(everything()).await.unwrap(), Listing::default());
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    store.clean_temporary_files().await.unwrap();
    assert!(!parent.path().join("deep").exists());
    store.put_if_absent(&key("a/b"), payload("x")).await.unwrap();
    assert_eq!(fs::read(root.join("a/b")).unwrap(), b"x");
}

#[tokio::test]
async fn open_fails_if_root_is_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = LocalStore::open(file.path().to_owned()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
}

#[tokio::test]
async fn reserved_files_are_not_objects() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    let own = root.path().join(".tara-export");
    fs::create_dir_all(own.join("tmp")).unwrap();
    for folder in ["journal-1", "failed", "receipts"] {
        fs::create_dir_all(own.join(folder)).unwrap();
    }
    for name in
        ["lock", "journal", "journal-1/entry", "failed/1.json", "receipts/1.json", "tmp/unfinished"]
    {
        let _ = fs::write(own.join(name), "x");
        let error = store.get(&key(&format!(".tara-export/{name}"))).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotFound, "{name}");
        let put = store.put_if_absent(&key(&format!(".tara-export/{name}")), payload("x")).await;
        assert_eq!(put.unwrap_err().kind(), StoreErrorKind::Misconfigured, "{name}");
    }
    store.put_if_absent(&key(".tara-export/exports/1.json"), payload("{}")).await.unwrap();
    let listing = store.list(everything()).await.unwrap();
    assert_eq!(listing.keys, [".tara-export/exports/1.json"]);
    let below = ListRequest { prefix: ".tara-export/tmp/".into(), ..everything() };
    assert_eq!(store.list(below).await.unwrap(), Listing::default());

    store.clean_temporary_files().await.unwrap();
    assert_eq!(fs::read_dir(own.join("tmp")).unwrap().count(), 0);
    assert!(own.join("lock").exists() && own.join("journal-1/entry").exists());
}

#[tokio::test]
async fn links_and_invalid_names_are_skipped() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), root.path().join("file-link"))
        .unwrap();
    fs::create_dir_all(root.path().join("empty/empty")).unwrap();
    fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff")), "x").unwrap();
    fs::write(root.path().join("back\\slash"), "x").unwrap();
    store.put_if_absent(&key("good"), payload("x")).await.unwrap();

    assert_eq!(store.list(everything()).await.unwrap().keys, ["good"]);
    let delimited = ListRequest { delimited: true, ..everything() };
    let listing = store.list(delimited).await.unwrap();
    assert_eq!(listing.keys, ["good"]);
    assert_eq!(listing.folders, [".tara-export/"; 0]);
    let below = ListRequest { prefix: "link/".into(), ..everything() };
    assert_eq!(store.list(below).await.unwrap(), Listing::default());
    for name in ["link/secret", "file-link", "link", "empty"] {
        let error = store.get(&key(name)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotFound, "{name}");
    }
    // Puts neither follow links nor replace folders.
    for name in ["link/new", "link", "file-link", "empty"] {
        let error = store.put_if_absent(&key(name), payload("x")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{name}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn root_may_be_a_symlink() {
    let real = tempfile::tempdir().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("exports");
    std::os::unix::fs::symlink(real.path(), &root).unwrap();
    let store = LocalStore::open(root).unwrap();
    store.put_if_absent(&key("a/b"), payload("x")).await.unwrap();
    assert_eq!(store.list(everything()).await.unwrap().keys, ["a/b"]);
    assert!(real.path().join("a/b").exists());
}

#[tokio::test]
async fn put_recreates_removed_folder() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    store.put_if_absent(&key("a/b/c"), payload("x")).await.unwrap();
    fs::remove_dir_all(root.path().join("a")).unwrap();
    assert_eq!(
        store.put_if_absent(&key("a/b/c"), payload("x")).await.unwrap(),
        PutOutcome::Created
    );
}

#[tokio::test]
async fn unfinished_files_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    let wrong = Payload { sha256: Sha256::of(b"other"), ..payload("x") };
    let error = store.put_if_absent(&key("a"), wrong).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    // Bypasses the existence check, as two concurrent puts may.
    let path = root.path().join("a");
    let first = store.write_temporary(&path, &payload("first")).unwrap();
    let second = store.write_temporary(&path, &payload("second")).unwrap();
    assert_eq!(store.publish(first, &path).unwrap(), PutOutcome::Created);
    assert_eq!(store.publish(second, &path).unwrap(), PutOutcome::Exists);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(fs::read_dir(root.path().join(TEMPORARY)).unwrap().count(), 0);
}

#[tokio::test]
async fn files_have_default_permissions() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    store.put_if_absent(&key("a"), payload("x")).await.unwrap();
    fs::write(root.path().join("plain"), "x").unwrap();
    let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("a"), mode("plain"));
}

#[tokio::test]
async fn read_of_truncated_file_fails() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    fs::write(root.path().join("a"), vec![7; 1024 * 1024]).unwrap();
    let object = store.get(&key("a")).await.unwrap();
    assert_eq!(object.info.size_bytes, 1024 * 1024);
    fs::File::options()
        .write(true)
        .open(root.path().join("a"))
        .unwrap()
        .set_len(300 * 1024)
        .unwrap();
    let error = object.body.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn put_below_a_file_names_the_file() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), "x").unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    let error = store.put_if_absent(&key("a/b"), payload("x")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains(root.path().join("a").to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn probe_leaves_only_fixed_objects() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().join("exports")).unwrap();
    for _ in 0..2 {
        let rows = store.probe().await;
        let checks: Vec<_> = rows.iter().map(|row| row.check).collect();
        assert_eq!(checks, ["local.write", "local.no_replace", "local.free_space"]);
        assert!(rows.iter().all(|row| row.status != ProbeStatus::Failed), "{rows:?}");
        let keys = store.list(everything()).await.unwrap().keys;
        assert_eq!(keys, [".tara-export/probe/no-replace"]);
    }
    let (_, bytes) = read_small(&store, &key(".tara-export/probe/no-replace"), 1000).await.unwrap();
    assert!(bytes.starts_with(b"tara-export"));
}

#[tokio::test]
async fn probe_of_impossible_root_fails_with_hint() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = LocalStore::open(file.path().join("exports")).unwrap();
    let rows = store.probe().await;
    assert_eq!((rows[0].check, rows[0].status), ("local.write", ProbeStatus::Failed));
    assert_eq!((rows[1].check, rows[1].status), ("local.no_replace", ProbeStatus::Skipped));
    assert!(!rows[0].hint.is_empty());
}

/// A test cannot simulate power loss, so it counts the fsync calls.
#[test]
fn put_syncs_file_and_folder() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    let synced = || (counts::FILES.get(), counts::DIRECTORIES.get());
    // The first put creates the folder.
    store.write(&key("folder/a"), &payload("a")).unwrap();
    let (files, folders) = synced();
    store.write(&key("folder/b"), &payload("b")).unwrap();
    assert_eq!(synced(), (files + 1, folders + 1));
}

/// Starts a write and cancels its caller. Returns a function that unblocks the write.
async fn cancelled_write(store: &LocalStore) -> impl FnOnce() {
    let (started, mut wait_started) = tokio::sync::mpsc::channel(1);
    let (release, wait_release) = std::sync::mpsc::channel::<()>();
    let wait_release = std::sync::Mutex::new(wait_release);
    let progress = Arc::new(move |_| {
        started.blocking_send(()).unwrap();
        wait_release.lock().unwrap().recv().unwrap();
    });
    let complete = Payload { progress: Some(progress), ..payload("complete") };
    let put = tokio::spawn({
        let store = store.clone();
        async move { store.put_if_absent(&key("a"), complete).await }
    });
    wait_started.recv().await.unwrap();
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    move || release.send(()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn write_continues_after_caller_is_cancelled() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    let unblock = cancelled_write(&store).await;
    unblock();
    store.finish().await;
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"complete");
}

/// Otherwise the deleted object would reappear.
#[tokio::test(flavor = "multi_thread")]
async fn delete_waits_for_in_flight_writes_of_its_key() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    let unblock = cancelled_write(&store).await;
    let deleting = store.clone();
    let mut deletion = tokio::spawn(async move { deleting.delete(&key("a")).await });
    // A deletion of another key does not wait. By the time it ends, the first deletion is waiting.
    store.delete(&key("b")).await.unwrap();
    assert!(!deletion.is_finished());
    unblock();
    (&mut deletion).await.unwrap().unwrap();
    assert!(!root.path().join("a").exists());
    store.finish().await;
    assert!(!root.path().join("a").exists());
}

/// Runs a test again without root's rights, for which permissions do not apply. Returns whether this process can run
/// it itself.
fn has_no_root_rights(test: &str) -> bool {
    use std::os::unix::process::CommandExt as _;

    if !rustix::process::geteuid().is_root() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args([&format!("local::tests::{test}"), "--exact"])
        .uid(65_534)
        .gid(65_534)
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    false
}

#[tokio::test]
async fn foreign_folders_without_permission_are_passed_over() {
    if !has_no_root_rights("foreign_folders_without_permission_are_passed_over") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    for name in ["a/1", "z/1", "z/locked/1"] {
        store.put_if_absent(&key(name), payload("x")).await.unwrap();
    }
    let set_mode = |name: &str, mode| {
        let path = root.path().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let closed = ["lost+found", ".snapshot", "z/locked"];
    closed.iter().for_each(|name| set_mode(name, 0));
    let socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();

    let listing = store.list(everything()).await.unwrap();
    assert_eq!(listing.keys, ["a/1", "z/1"]);
    for name in closed {
        let has_reason = |skipped: &&String| {
            skipped.starts_with(&format!("{name}/")) && skipped.contains("permission")
        };
        assert!(listing.skipped.iter().any(|skipped| has_reason(&skipped)), "{listing:?}");
    }
    assert!(listing.skipped.contains(&"socket".to_owned()));
    // A folder that cannot be read is listed. Reading it returns the reason.
    let folders = store.list(ListRequest { delimited: true, ..everything() }).await.unwrap();
    assert_eq!(folders.folders, [".snapshot/", "a/", "lost+found/", "z/"]);
    let request = ListRequest { prefix: "lost+found/".to_owned(), ..everything() };
    assert_eq!(store.list(request).await.unwrap_err().kind(), StoreErrorKind::Denied);
    // In the service's own folder, an unreadable folder would hide exports.
    set_mode(".tara-export/index", 0);
    assert_eq!(store.list(everything()).await.unwrap_err().kind(), StoreErrorKind::Denied);

    drop(socket);
    closed.iter().chain(&[".tara-export/index"]).for_each(|name| set_mode(name, 0o755));
}

#[tokio::test]
async fn cleaning_passes_over_foreign_folders() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path().to_owned()).unwrap();
    let temporary = root.path().join(TEMPORARY);
    fs::create_dir_all(temporary.join("lost+found")).unwrap();
    fs::write(temporary.join("unfinished"), "x").unwrap();
    store.clean_temporary_files().await.unwrap();
    assert!(temporary.join("lost+found").exists() && !temporary.join("unfinished").exists());
}

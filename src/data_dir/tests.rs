use std::{fs, path::Path};

use super::*;

/// Fast enough for a test, and slow enough for a machine under load.
const TIMING: HeartbeatTiming =
    HeartbeatTiming { interval: Duration::from_millis(20), timeout: Duration::from_secs(60) };
/// For holders without heartbeats.
const SHORT_TIMING: HeartbeatTiming =
    HeartbeatTiming { interval: Duration::from_millis(20), timeout: Duration::from_millis(200) };

fn lock_file(data_dir: &Path) -> PathBuf {
    data_dir.join(".tara-export/lock")
}

/// Replaces the lock file with a copy, which the next process locks.
fn replace_lock_file(data_dir: &Path) {
    let copy = data_dir.join(".tara-export/lock.copy");
    fs::copy(lock_file(data_dir), &copy).unwrap();
    fs::rename(copy, lock_file(data_dir)).unwrap();
}

/// A heartbeat of a process on another machine.
fn foreign_heartbeat(beats: u64) -> String {
    format!(
        "process 7 on server-b, started 2026-11-22T18:37:00Z\nholder {}\nplace another pid:[1] 7 1\n\
         beat {beats:020}\n",
        uuid::Uuid::from_u128(7)
    )
}

#[tokio::test]
async fn error_names_the_holder_and_released_directory_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataDirLock::acquire(folder.path(), TIMING).await.unwrap();
    let error = DataDirLock::acquire(folder.path(), TIMING).await.unwrap_err().to_string();
    assert!(error.contains(&format!("process {} on ", std::process::id())), "{error}");
    lock.heartbeat.release();
    drop(lock);
    // Observing for an hour would exceed the test's time.
    let timing = HeartbeatTiming { timeout: Duration::from_secs(3600), ..TIMING };
    DataDirLock::acquire(folder.path(), timing).await.unwrap();
}

#[tokio::test]
async fn holder_with_invisible_lock_is_found_by_its_heartbeat() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataDirLock::acquire(folder.path(), TIMING).await.unwrap();
    // The holder is the test's own process, so it is not known to have exited.
    replace_lock_file(folder.path());
    let error = DataDirLock::acquire(folder.path(), TIMING).await.unwrap_err();
    assert!(
        matches!(error, DataDirError::Held { .. } | DataDirError::HeldWithoutLock { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&format!("process {} on ", std::process::id())), "{error}");
    drop(lock);
}

#[tokio::test]
async fn changing_heartbeat_refuses_and_stale_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join(".tara-export")).unwrap();
    fs::write(lock_file(folder.path()), foreign_heartbeat(1)).unwrap();
    let path = lock_file(folder.path());
    let beating = tokio::spawn(async move {
        for beats in 2.. {
            time::sleep(TIMING.interval).await;
            fs::write(&path, foreign_heartbeat(beats)).unwrap();
        }
    });
    let error = DataDirLock::acquire(folder.path(), TIMING).await.unwrap_err();
    assert!(matches!(error, DataDirError::HeldWithoutLock { .. }), "{error}");
    assert!(error.to_string().contains("process 7 on server-b, started 2026-"), "{error}");
    beating.abort();
    let _ = beating.await;
    // The other machine has stopped. Its clock does not matter.
    fs::write(lock_file(folder.path()), foreign_heartbeat(9)).unwrap();
    DataDirLock::acquire(folder.path(), SHORT_TIMING).await.unwrap();
}

#[tokio::test]
async fn replaced_holder_is_notified_and_stops_writing() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataDirLock::acquire(folder.path(), TIMING).await.unwrap();
    let content = foreign_heartbeat(1);
    replace_lock_file(folder.path());
    fs::write(lock_file(folder.path()), &content).unwrap();
    let other = time::timeout(Duration::from_secs(60), lock.replaced()).await.unwrap();
    assert!(other.contains("server-b"), "{other}");
    lock.heartbeat.release();
    assert_eq!(fs::read_to_string(lock_file(folder.path())).unwrap(), content);
}

#[tokio::test]
async fn deleted_lock_file_is_recreated_and_locked() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataDirLock::acquire(folder.path(), TIMING).await.unwrap();
    fs::remove_file(lock_file(folder.path())).unwrap();
    let is_back =
        || fs::read_to_string(lock_file(folder.path())).is_ok_and(|text| text.contains("beat"));
    while !is_back() {
        tokio::task::yield_now().await;
    }
    let error = DataDirLock::acquire(folder.path(), TIMING).await.unwrap_err();
    assert!(matches!(error, DataDirError::Held { .. }), "{error}");
    drop(lock);
}

#[tokio::test]
async fn failed_heartbeat_does_not_end_the_holder() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DataDirLock::acquire(folder.path(), TIMING).await.unwrap();
    fs::remove_file(lock_file(folder.path())).unwrap();
    // A folder at the path prevents creating the file.
    fs::create_dir(lock_file(folder.path())).unwrap();
    while !lock.heartbeat.has_failed() {
        tokio::task::yield_now().await;
    }
    fs::remove_dir(lock_file(folder.path())).unwrap();
    while lock.heartbeat.has_failed() {
        tokio::task::yield_now().await;
    }
    assert!(lock_file(folder.path()).is_file());
}

#[tokio::test]
async fn error_and_user_name_the_address_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(DataDirUser::find(folder.path()), None);
    let lock = DataDirLock::acquire(folder.path(), TIMING).await.unwrap();
    let user = DataDirUser::find(folder.path()).unwrap();
    assert!(user.holder.starts_with("process ") && user.address.is_none(), "{user:?}");
    for url in ["http://127.0.0.1:8080", "https://127.0.0.1:8443"] {
        lock.set_address(url);
        let address = DataDirUser::find(folder.path()).unwrap().address;
        assert_eq!(address.as_deref(), Some(url));
        match DataDirLock::acquire(folder.path(), TIMING).await {
            Err(DataDirError::Held { address, .. }) => assert_eq!(address.as_deref(), Some(url)),
            other => panic!("{other:?}"),
        }
    }
    // Not a line of the file.
    lock.set_address("http://a\nbeat 1");
    assert_eq!(DataDirUser::find(folder.path()).unwrap().address, None);
    lock.heartbeat.release();
    assert_eq!(DataDirUser::find(folder.path()), None);
    lock.set_address("http://127.0.0.1:8080");
    assert_eq!(DataDirUser::find(folder.path()), None, "a released directory stays released");
}

#[test]
fn holder_that_exited_is_no_user() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join(".tara-export")).unwrap();
    fs::write(lock_file(folder.path()), foreign_heartbeat(3)).unwrap();
    assert!(DataDirUser::find(folder.path()).is_some(), "it may run on the other machine");
    for damaged in ["", "process 1", "\u{0}\nholder x\nbeat y", &"x".repeat(5000)] {
        fs::write(lock_file(folder.path()), damaged).unwrap();
        assert_eq!(DataDirUser::find(folder.path()), None);
    }
}

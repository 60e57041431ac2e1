//! Small files from settings, reloaded when they change.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tara_export_disk::small_file;
use tara_export_limits::Pool;
use tokio::{sync::Mutex as AsyncMutex, time::timeout};

use super::AuthSetupError;

/// Larger files are not files of tokens or keys.
const LIMIT_BYTES: u64 = 1024 * 1024;
/// Minimum interval between reloads because a lookup failed. Tokens with invented keys cost their sender nothing; a
/// new key is found within this interval, regardless of the number of such tokens.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// How long a call waits if the disk hangs.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The last valid content of a file. Changes are detected by the bytes, not by the modification time, which is
/// unreliable for a mounted secret.
#[derive(Debug)]
pub(super) struct WatchedFile<T> {
    setting: &'static str,
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, String>,
    last_bytes: Mutex<Vec<u8>>,
    value: RwLock<Arc<T>>,
    /// Why the last read failed.
    last_error: Mutex<Option<String>>,
    /// When it was opened, or last reloaded because a lookup failed. Locked during such a reload.
    last_lookup_reload: Arc<AsyncMutex<Instant>>,
}

impl<T> WatchedFile<T> {
    /// Reads the file that a setting names.
    pub(super) fn open(
        setting: &'static str,
        path: PathBuf,
        parse: fn(&[u8]) -> Result<T, String>,
    ) -> Result<Self, AuthSetupError> {
        let bytes = read(setting, &path)?;
        let value = parse(&bytes).map_err(|reason| setup_error(setting, &path, &reason))?;
        Ok(Self {
            setting,
            path,
            parse,
            last_bytes: Mutex::new(bytes),
            value: RwLock::new(Arc::new(value)),
            last_error: Mutex::default(),
            last_lookup_reload: Arc::new(AsyncMutex::new(Instant::now())),
        })
    }

    pub(super) fn value(&self) -> Arc<T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last read failed, if it did. The value is that of the previous one.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reloads the file. The previous content stays in use if the new one cannot be read.
    pub(super) fn refresh(&self) {
        let mut last_bytes = self.last_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read_if_changed(&last_bytes);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) =
            read.as_ref().err().map(ToString::to_string);
        match read {
            Ok(None) => {}
            Ok(Some((bytes, value))) => {
                tracing::info!(setting = self.setting, path = %self.path.display(), "reloaded the file");
                *last_bytes = bytes;
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot reload the file: the previous content stays in use");
            }
        }
    }

    /// Reads the file; `None` if its bytes have not changed.
    fn read_if_changed(&self, last_bytes: &[u8]) -> Result<Option<(Vec<u8>, T)>, AuthSetupError> {
        let bytes = read(self.setting, &self.path)?;
        if bytes == last_bytes {
            return Ok(None);
        }
        let value = (self.parse)(&bytes)
            .map_err(|reason| setup_error(self.setting, &self.path, &reason))?;
        Ok(Some((bytes, value)))
    }
}

impl<T> fmt::Display for WatchedFile<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.setting, self.path.display())
    }
}

impl<T: Send + Sync + 'static> WatchedFile<T> {
    /// Reloads the file because a lookup failed, unless that was done less than [`MIN_RELOAD_INTERVAL`] before
    /// `now`. Concurrent callers wait for the same reload.
    pub(super) async fn refresh_after_miss(self: &Arc<Self>, reader: &Pool, now: Instant) {
        let reloading = async {
            let mut last_reload = self.last_lookup_reload.clone().lock_owned().await;
            if now.saturating_duration_since(*last_reload) < MIN_RELOAD_INTERVAL {
                return;
            }
            *last_reload = now;
            let file = self.clone();
            // Holds the lock: a disk that hangs occupies one thread, not one for each call.
            let reading = reader.run(move || {
                file.refresh();
                drop(last_reload);
            });
            if let Err(error) = reading.await {
                tracing::error!(%error, setting = self.setting, "cannot reload the file");
            }
        };
        if timeout(RELOAD_TIMEOUT, reloading).await.is_err() {
            tracing::warn!(setting = self.setting, path = %self.path.display(), "cannot reload the file in time");
        }
    }
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, AuthSetupError> {
    let bytes = small_file::read(path, LIMIT_BYTES);
    bytes.map_err(|error| setup_error(setting, path, &format!("cannot be read: {error}")))
}

fn setup_error(setting: &str, path: &Path, reason: &str) -> AuthSetupError {
    AuthSetupError(format!("{setting} {}: {reason}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn parse(bytes: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if text.starts_with("key") { Ok(text) } else { Err("has no key".to_owned()) }
    }

    fn open(path: &Path) -> (Arc<WatchedFile<String>>, Pool, Instant) {
        let file = WatchedFile::open("JWT_JWKS_FILE", path.to_owned(), parse).unwrap();
        let opened = *file.last_lookup_reload.try_lock().unwrap();
        (Arc::new(file), Pool::new("test", 1).unwrap(), opened)
    }

    #[tokio::test]
    async fn file_is_read_at_most_once_per_interval() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        fs::write(&path, "key 1").unwrap();
        let (file, reader, opened) = open(&path);
        // Callers with invented keys, just before the key changes.
        file.refresh_after_miss(&reader, opened + MIN_RELOAD_INTERVAL).await;
        fs::write(&path, "key 2").unwrap();
        for millis in 0..1_000 {
            let now = opened + MIN_RELOAD_INTERVAL + Duration::from_millis(millis);
            file.refresh_after_miss(&reader, now).await;
            assert_eq!(*file.value(), "key 1", "after {millis} ms");
        }
        // They delay the new key by at most one interval.
        let now = opened + 2 * MIN_RELOAD_INTERVAL;
        futures::future::join_all((0..100).map(|_| file.refresh_after_miss(&reader, now))).await;
        assert_eq!(*file.value(), "key 2");
    }

    #[tokio::test]
    async fn concurrent_callers_wait_for_one_reload() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        fs::write(&path, "key 1").unwrap();
        let (file, reader, opened) = open(&path);
        fs::write(&path, "key 2").unwrap();
        // The only thread is busy, so that the first caller's reload has to wait.
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = reader.run(move || released.recv());
        let now = opened + MIN_RELOAD_INTERVAL;
        let refresh = async || {
            STARTED.fetch_add(1, Ordering::SeqCst);
            file.refresh_after_miss(&reader, now).await;
            file.value()
        };
        let all = futures::future::join_all((0..10).map(|_| refresh()));
        let releasing = async {
            while STARTED.load(Ordering::SeqCst) < 10 {
                tokio::task::yield_now().await;
            }
            release.send(()).unwrap();
        };
        let (values, ()) = tokio::join!(all, releasing);
        assert!(values.iter().all(|value| **value == "key 2"), "{values:?}");
        busy.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn disconnected_caller_does_not_stop_the_reload() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        fs::write(&path, "key 1").unwrap();
        let (file, reader, opened) = open(&path);
        fs::write(&path, "key 2").unwrap();
        // The only thread is busy until the caller has disconnected.
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = reader.run(move || released.recv());
        {
            let mut refreshing =
                std::pin::pin!(file.refresh_after_miss(&reader, opened + MIN_RELOAD_INTERVAL));
            assert!(futures::poll!(refreshing.as_mut()).is_pending());
        }
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        reader.idle().await;
        assert_eq!(*file.value(), "key 2");
    }

    #[test]
    fn previous_content_stays_until_new_content_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let other = folder.path().join("other");
        fs::write(&path, "key 1").unwrap();
        let (file, ..) = open(&path);
        let refreshed = || {
            file.refresh();
            (*file.value()).clone()
        };
        // The file is missing.
        fs::rename(&path, &other).unwrap();
        assert_eq!(refreshed(), "key 1");
        // An incomplete file, a folder, and a file that is too large.
        fs::write(&path, "k").unwrap();
        assert_eq!(refreshed(), "key 1");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(refreshed(), "key 1");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "key".repeat(LIMIT_BYTES as usize)).unwrap();
        assert_eq!(refreshed(), "key 1");
        // The file is replaced.
        fs::write(&other, "key 2").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(refreshed(), "key 2");
        // It is replaced by a link to another file, as the kubelet does.
        fs::write(&other, "key 3").unwrap();
        let link = folder.path().join("link");
        symlink(&other, &link).unwrap();
        fs::rename(&link, &path).unwrap();
        assert_eq!(refreshed(), "key 3");
        // The target of the link is missing.
        fs::remove_file(&other).unwrap();
        assert_eq!(refreshed(), "key 3");
    }
}

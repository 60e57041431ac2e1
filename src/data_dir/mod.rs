//! The lock of the data directory: only one process at a time writes to the directory.
//!
//! The system lock on `.tara-export/lock` excludes other processes. If it does not work (a network file system without
//! locks, a replaced lock file), the holder's heartbeat in that file does: a process that gets the lock observes the
//! heartbeat before it assumes that the previous holder is gone.

mod heartbeat;
mod holder;

use std::{
    fs::TryLockError,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time;

use self::{
    heartbeat::{Heartbeat, LockFile},
    holder::{Content, Holder},
};

/// Holds the lock of a data directory until it is dropped or the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    heartbeat: Heartbeat,
}

/// The timing of heartbeats.
#[derive(Debug, Clone, Copy)]
pub struct HeartbeatTiming {
    /// Interval between two heartbeats.
    pub interval: Duration,
    /// Time without a heartbeat after which the holder is gone. Longer than several intervals plus the time for which
    /// network file systems cache content.
    pub timeout: Duration,
}

impl Default for HeartbeatTiming {
    fn default() -> Self {
        Self { interval: Duration::from_secs(5), timeout: Duration::from_secs(20) }
    }
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has the lock.
    #[error(
        "the data directory {path} is in use by another process ({holder}): stop that process, or set DATA_DIR to \
         another directory"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// The description of the holder.
        holder: String,
        /// The URL of the holder's server, if it is one.
        address: Option<String>,
    },
    /// Another process uses the directory, but its lock is not visible to this process.
    #[error(
        "the data directory {path} is in use by another process ({holder}): it writes heartbeats, although this \
         process could lock {lock_file}; stop that process, or set DATA_DIR to another directory; locks fail on a \
         network file system that is mounted without them, and if the lock file was replaced"
    )]
    HeldWithoutLock {
        /// The directory.
        path: PathBuf,
        /// The lock file.
        lock_file: PathBuf,
        /// The description of the holder.
        holder: String,
    },
    /// The directory cannot be created or written.
    #[error("cannot use the data directory {path}: {source}; set DATA_DIR to another directory")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl DataDirLock {
    /// Acquires the lock and creates the directory if it is missing. Observes the heartbeat first if the previous
    /// holder did not shut down cleanly and is not known to have exited.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub async fn acquire(data_dir: &Path, timing: HeartbeatTiming) -> Result<Self, DataDirError> {
        let path = data_dir.to_owned();
        let unusable = |source| DataDirError::Unusable { path: path.clone(), source };
        let own = data_dir.join(".tara-export");
        std::fs::create_dir_all(&own).map_err(unusable)?;
        let lock_file = LockFile { path: own.join("lock") };
        let file = lock_file.open().map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let content = lock_file.read().unwrap_or_default();
                let holder = content.lines().next().unwrap_or_default().to_owned();
                let address = match Content::parse(&content) {
                    Content::Held(holder, _) => holder.address().map(str::to_owned),
                    Content::Free => None,
                };
                return Err(DataDirError::Held { path, holder, address });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let held_without_lock = |holder: String| DataDirError::HeldWithoutLock {
            path: path.clone(),
            lock_file: lock_file.path.clone(),
            holder,
        };
        let content = lock_file.read().map_err(unusable)?;
        if let Content::Held(holder, _) = Content::parse(&content)
            && !holder.is_known_to_have_exited()
            && let Some(alive) = observe(&lock_file, &content, &holder, timing).await
        {
            return Err(held_without_lock(alive));
        }
        let holder = Holder::this_process();
        let heartbeat = Heartbeat::start(lock_file.clone(), file, holder.clone(), timing);
        let heartbeat = heartbeat.map_err(unusable)?;
        // If two processes start at the same time, the last writer becomes the holder. The other one notices here or
        // at its next heartbeat.
        match lock_file.read().map(|content| Content::parse(&content)).map_err(unusable)? {
            Content::Held(other, _) if !other.is_same(&holder) => {
                Err(held_without_lock(other.to_string()))
            }
            _ => Ok(Self { heartbeat }),
        }
    }

    /// Publishes the URL of this process's server in the lock file, for errors of commands that find the directory in
    /// use. Logs errors.
    pub fn set_address(&self, url: &str) {
        self.heartbeat.set_address(url);
    }

    /// Waits until another process has taken over the directory; this one must stop writing then. Returns the other
    /// holder.
    pub async fn replaced(&self) -> String {
        self.heartbeat.replaced().await
    }

    /// Records a clean shutdown, so that the next process does not have to observe the heartbeat, and holds the lock
    /// until the process ends: a thread that hangs on the disk may write until then.
    pub fn release_at_exit(self) {
        self.heartbeat.release();
        std::mem::forget(self);
    }

    /// Holds the lock until the process ends, without recording a clean shutdown.
    pub fn hold_until_exit(self) {
        std::mem::forget(self);
    }
}

/// The process that uses a data directory, as far as its lock file shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDirUser {
    /// The human-readable description of the process.
    pub holder: String,
    /// The URL of its server, if it is one.
    pub address: Option<String>,
}

impl DataDirUser {
    /// Reads the lock file, without a lock and without waiting for heartbeats. `None` if the last holder shut down
    /// cleanly or is known to have exited. Blocks.
    pub fn find(data_dir: &Path) -> Option<Self> {
        let lock_file = LockFile { path: data_dir.join(".tara-export/lock") };
        match Content::parse(&lock_file.read().ok()?) {
            Content::Held(holder, _) if !holder.is_known_to_have_exited() => Some(Self {
                holder: holder.to_string(),
                address: holder.address().map(str::to_owned),
            }),
            Content::Held(..) | Content::Free => None,
        }
    }
}

/// Observes a holder's heartbeat. Returns the holder if the file changes. Does not depend on clocks of other machines.
async fn observe(
    lock_file: &LockFile,
    previous: &str,
    holder: &Holder,
    timing: HeartbeatTiming,
) -> Option<String> {
    tracing::warn!(
        %holder, seconds = timing.timeout.as_secs(),
        "the data directory's last holder did not shut down cleanly: checking whether it is alive"
    );
    let end = time::Instant::now() + timing.timeout;
    while time::Instant::now() < end {
        time::sleep(timing.interval / 5).await;
        // A missing or unreadable file is no sign of a holder.
        let Ok(current) = lock_file.read() else { continue };
        if current != previous {
            return match Content::parse(&current) {
                Content::Held(holder, _) => Some(holder.to_string()),
                // The holder has shut down cleanly.
                Content::Free => None,
            };
        }
    }
    tracing::warn!(%holder, "the data directory's last holder is gone: this process takes over");
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

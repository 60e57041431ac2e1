//! The heartbeat in the lock file. It reveals a holder even if other processes do not see its lock.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use tokio_util::sync::CancellationToken;

use super::{
    HeartbeatTiming,
    holder::{Content, Holder},
};

/// Limit for reading the lock file, which has about 200 bytes.
const CONTENT_LIMIT_BYTES: u64 = 1024;

/// The path of the lock file. The file at this path may be replaced at any time.
#[derive(Debug, Clone)]
pub(super) struct LockFile {
    pub path: PathBuf,
}

/// Writes heartbeats until it is dropped or another holder takes over.
#[derive(Debug)]
pub(super) struct Heartbeat {
    shared: Arc<Shared>,
    /// Ends the thread when dropped.
    _stop: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    lock_file: LockFile,
    held: Mutex<Held>,
    replaced: CancellationToken,
}

#[derive(Debug)]
struct Held {
    holder: Holder,
    /// The locked file. `None` after the lock is released.
    file: Option<File>,
    beats: u64,
    replaced_by: String,
    is_over: bool,
    has_failed: bool,
}

impl LockFile {
    pub(super) fn open(&self) -> io::Result<File> {
        // Not truncated: until this process has the lock, the content belongs to the holder.
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.path)
    }

    /// Reads the content. Opens the file each time, so that a network file system asks its server.
    pub(super) fn read(&self) -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(CONTENT_LIMIT_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Replaces a file's content with a single write, so that readers never see an empty file.
fn write(file: &File, content: &str) -> io::Result<()> {
    file.write_all_at(content.as_bytes(), 0)?;
    if file.metadata()?.len() != content.len() as u64 {
        file.set_len(content.len() as u64)?;
    }
    Ok(())
}

impl Heartbeat {
    /// Writes the first heartbeat and starts a thread for the following ones.
    pub(super) fn start(
        lock_file: LockFile,
        file: File,
        holder: Holder,
        timing: HeartbeatTiming,
    ) -> io::Result<Self> {
        write(&file, &holder.content(0))?;
        let held = Held {
            holder,
            file: Some(file),
            beats: 0,
            replaced_by: String::new(),
            is_over: false,
            has_failed: false,
        };
        let shared = Arc::new(Shared {
            lock_file,
            held: Mutex::new(held),
            replaced: CancellationToken::new(),
        });
        let (stop, stopped) = mpsc::channel::<()>();
        let thread_shared = shared.clone();
        thread::Builder::new().name("data-dir-beat".to_owned()).spawn(move || {
            while stopped.recv_timeout(timing.interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                thread_shared.beat();
            }
        })?;
        Ok(Self { shared, _stop: stop })
    }

    /// Adds the URL of this process's server to the lock file.
    pub(super) fn set_address(&self, url: &str) {
        let mut held = self.shared.lock();
        held.holder = held.holder.with_address(url);
        drop(held);
        self.shared.beat();
    }

    /// Waits until another holder's heartbeat is in the lock file. Returns the other holder.
    pub(super) async fn replaced(&self) -> String {
        self.shared.replaced.cancelled().await;
        self.shared.lock().replaced_by.clone()
    }

    /// Marks the directory as released, so that the next holder does not have to wait. Logs errors.
    pub(super) fn release(&self) {
        let mut held = self.shared.lock();
        if held.is_over {
            return;
        }
        held.is_over = true;
        let written = held.file.as_ref().map(|file| write(file, &Content::released()));
        if let Some(Err(error)) = written {
            tracing::debug!(%error, "cannot write the data directory's lock file");
        }
    }
}

impl Drop for Heartbeat {
    /// Releases the system lock immediately instead of when the thread ends.
    fn drop(&mut self) {
        let mut held = self.shared.lock();
        held.is_over = true;
        held.file = None;
    }
}

#[cfg(test)]
impl Heartbeat {
    /// Whether the last heartbeat could not be written.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.lock().has_failed
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the next heartbeat if this process is still the holder. Disk errors are only logged, because the system
    /// lock may still be valid.
    fn beat(&self) {
        let mut held = self.lock();
        if held.is_over {
            return;
        }
        match self.next_beat(&mut held) {
            Ok(None) => {
                if std::mem::take(&mut held.has_failed) {
                    tracing::info!("the data directory's heartbeat can be written again");
                }
            }
            Ok(Some(other)) => {
                held.is_over = true;
                held.replaced_by = other;
                self.replaced.cancel();
            }
            Err(error) => {
                if !std::mem::replace(&mut held.has_failed, true) {
                    let path = self.lock_file.path.display();
                    tracing::warn!(%path, %error, "cannot write the data directory's heartbeat");
                }
            }
        }
    }

    /// Writes the next heartbeat, unless there is another holder. Returns the other holder.
    fn next_beat(&self, held: &mut Held) -> io::Result<Option<String>> {
        match self.lock_file.read().map(|text| Content::parse(&text)) {
            Ok(Content::Held(other, _)) if !other.is_same(&held.holder) => {
                return Ok(Some(other.to_string()));
            }
            // The file was emptied or removed, which does not end the holder's ownership.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        held.beats += 1;
        let file = self.lock_file.open()?;
        write(&file, &held.holder.content(held.beats))?;
        let current = file.metadata()?;
        let locked = held.file.as_ref().map(File::metadata).transpose()?;
        let is_same = locked
            .is_some_and(|locked| (current.dev(), current.ino()) == (locked.dev(), locked.ino()));
        // The file was replaced, and other processes lock the new one. A process that already has that lock sees the
        // heartbeat.
        if !is_same && file.try_lock().is_ok() {
            held.file = Some(file);
        }
        Ok(None)
    }
}

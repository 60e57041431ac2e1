//! The listener on a Unix socket (`UNIX_SOCKET`), and the socket's file.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{Stream, stream};
use rustix::fs::{Mode, chmod, fchmod};
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream},
    time::timeout,
};

use super::ListenError;

/// Connections that the system queues until they are accepted.
const BACKLOG: u32 = 1024;
/// How long a connection to an existing socket may take, before the socket counts as one of a running server.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// The file of a Unix socket that this process listens on. Removed when this is dropped, unless another program
/// replaced it.
///
/// The lock file beside it is locked as long, so that of two servers that start at once one fails, and a socket without
/// a lock is that of a process that ended. The lock file stays: removing it would allow two locks.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let current = fs::symlink_metadata(&self.path).map(|file| (file.dev(), file.ino()));
        if current.is_ok_and(|current| current == self.device_and_inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the Unix socket");
        }
    }
}

/// Listens on a Unix socket with these permissions. Replaces the socket of a server that ended without removing it.
///
/// # Errors
/// If another server listens on the socket, the path exists and is not a socket, or the socket cannot be created.
pub(super) async fn listen(
    path: &Path,
    mode: u32,
) -> Result<(UnixListener, SocketFile), ListenError> {
    let failed = |reason: String| ListenError::UnixSocket { path: path.to_owned(), reason };
    // Also if the server changes its directory.
    let path = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
    let lock = lock(&path).map_err(failed)?;
    check_existing(&path).await.map_err(failed)?;
    bind(&path, Mode::from_raw_mode(mode), lock)
        .map_err(|error| failed(format!("cannot create the socket: {error}")))
}

/// The connections that arrive.
pub(super) fn incoming(listener: UnixListener) -> impl Stream<Item = io::Result<UnixStream>> {
    stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await;
        Some((accepted.map(|(connection, _)| connection), listener))
    })
}

fn lock(path: &Path) -> Result<File, String> {
    let path = with_suffix(path, ".lock");
    let opened =
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(in_use()),
        Err(TryLockError::Error(error)) => Err(format!("cannot lock {}: {error}", path.display())),
    }
}

fn in_use() -> String {
    "another server listens on it: stop that server, or set another path".to_owned()
}

/// Checks that the path is free, or that of a socket without a listener.
async fn check_existing(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {}
        Ok(_) => {
            return Err(
                "the file exists and is not a socket: remove it, or set another path".into()
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    }
    // A program without the lock, such as another kind of server, may listen.
    match timeout(CHECK_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(()),
            // The listener's queue is full.
            io::ErrorKind::WouldBlock => Err(in_use()),
            _ => Err(format!("cannot check whether another server listens on it: {error}")),
        },
        Ok(Ok(_)) | Err(_) => Err(in_use()),
    }
}

/// Creates the socket under another name and renames it, so that it appears with its permissions, and replaces the old
/// one in one step.
fn bind(path: &Path, mode: Mode, lock: File) -> io::Result<(UnixListener, SocketFile)> {
    let new = with_suffix(path, ".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixSocket::new_stream()?;
    // The file has at most these permissions from the start; the umask can only remove some.
    fchmod(&socket, mode)?;
    socket.bind(&new)?;
    chmod(&new, mode)?;
    let listener = socket.listen(BACKLOG)?;
    fs::rename(&new, path)?;
    let file = fs::symlink_metadata(path)?;
    let device_and_inode = (file.dev(), file.ino());
    Ok((listener, SocketFile { path: path.to_owned(), device_and_inode, _lock: lock }))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(suffix);
    path.into()
}

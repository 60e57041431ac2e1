//! Small files that settings name, read again when they change.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use super::AuthSetupError;

/// More is no file of tokens or keys.
const LIMIT_BYTES: u64 = 1024 * 1024;

/// What a file says, as it last could be read. Its bytes are compared, not its times: those of a mounted
/// secret say little.
#[derive(Debug)]
pub(super) struct WatchedFile<T> {
    setting: &'static str,
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, String>,
    seen: Mutex<Vec<u8>>,
    value: RwLock<Arc<T>>,
}

impl<T> WatchedFile<T> {
    /// Reads the file that a setting names.
    pub(super) fn open(
        setting: &'static str,
        path: PathBuf,
        parse: fn(&[u8]) -> Result<T, String>,
    ) -> Result<Self, AuthSetupError> {
        let (bytes, value) = read(setting, &path, parse)?;
        Ok(Self {
            setting,
            path,
            parse,
            seen: Mutex::new(bytes),
            value: RwLock::new(Arc::new(value)),
        })
    }

    pub(super) fn value(&self) -> Arc<T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads it again. What it said before holds as long as it can't be read.
    pub(super) fn refresh(&self) {
        let Self { setting, path, parse, seen, value } = self;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match read_bytes(path) {
            Ok(bytes) if bytes == *seen => {}
            _ => match read(setting, path, *parse) {
                Ok((bytes, new)) => {
                    tracing::info!(setting, path = %path.display(), "read again");
                    *seen = bytes;
                    *value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                }
                Err(error) => {
                    tracing::error!(%error, "what was read before holds on");
                }
            },
        }
    }
}

fn read<T>(
    setting: &str,
    path: &Path,
    parse: fn(&[u8]) -> Result<T, String>,
) -> Result<(Vec<u8>, T), AuthSetupError> {
    let failed = |why: String| AuthSetupError(format!("{setting} {}: {why}", path.display()));
    let bytes = read_bytes(path).map_err(|error| failed(format!("can't be read: {error}")))?;
    let value = parse(&bytes).map_err(failed)?;
    Ok((bytes, value))
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    Ok(bytes)
}

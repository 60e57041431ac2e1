//! The targets in force: those of `NOTIFY_FILE` when it was last read without faults.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use tara_export_limits::Pool;
use tara_export_notify::{TargetContext, Targets, TargetsFile};
use tara_export_settings_file::LoadError;

use super::metrics;

/// The targets in force. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct TargetFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Mutex<TargetsFile>,
    current: RwLock<Arc<Targets>>,
    error: RwLock<String>,
}

impl TargetFile {
    /// Reads the file. Blocks the thread.
    pub(super) fn open(path: &Path, context: TargetContext) -> Result<Self, LoadError> {
        let (file, targets) = TargetsFile::open(path, context)?;
        metrics::file_error(false);
        Ok(Self(Arc::new(Inner {
            file: Mutex::new(file),
            current: RwLock::new(Arc::new(targets)),
            error: RwLock::default(),
        })))
    }

    /// The targets.
    pub(super) fn current(&self) -> Arc<Targets> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the current file is not in force; empty if it is.
    pub(super) fn error(&self) -> String {
        self.0.error.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again if it changed. Returns whether other targets are in force now.
    pub(super) async fn reload_if_changed(&self, pool: &Pool) -> bool {
        let inner = self.0.clone();
        let polling = pool
            .run(move || inner.file.lock().unwrap_or_else(PoisonError::into_inner).poll_changed());
        let Ok(Some(loaded)) = polling.await else { return false };
        let (error, is_new) = match loaded {
            Ok(targets) => {
                tracing::info!(targets = targets.iter().count(), "using a changed NOTIFY_FILE");
                *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(targets);
                (String::new(), true)
            }
            Err(error) => {
                tracing::error!(%error, "the changed NOTIFY_FILE has faults: the previous one stays in force");
                (error.to_string(), false)
            }
        };
        metrics::file_error(!error.is_empty());
        *self.0.error.write().unwrap_or_else(PoisonError::into_inner) = error;
        is_new
    }
}

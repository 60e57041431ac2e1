//! Adoption of bundles that the review application wrote before this service existed: the same folders, but without a
//! manifest. After all files of a folder are read, it gets a record, a claim, an index entry and a manifest that marks
//! it adopted.
//!
//! Invariant: existing files are only read. Every new object is put only if absent and is a function of the folder's
//! name and files, so adoption can be interrupted anywhere, repeated, and run by several processes at once.

mod candidates;
mod commit;
mod files;
mod folder;
mod metadata;
mod outcome;
mod retry;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tara_export_clock::Clock;
use tara_export_store::{Store, StoreError, honours_conditional_put};

pub use self::outcome::{FolderOutcome, FolderReport, Found, SkipReason};

/// Folders that are adopted in parallel. Including the files that are read in parallel, memory stays below about
/// 50 MiB.
const PARALLEL_FOLDERS: usize = 4;

/// Settings of adoption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdoptSettings {
    /// Whether to write. If not, only reports what would be adopted.
    pub write: bool,
    /// Minimum age of a folder's newest file. Younger folders may still be incomplete.
    pub min_age: Duration,
    /// Whether to write to a store that ignores conditions on puts.
    pub allow_unsafe_store: bool,
}

/// Why adoption cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store overwrites existing objects.
    #[error(
        "{location} ignores If-None-Match, so adoption could overwrite files: set ALLOW_UNSAFE_STORE to write to it \
         anyway"
    )]
    UnsafeStore {
        /// The store's location.
        location: String,
    },
}

/// The adoption of the folders in one store.
#[derive(Debug, Clone)]
pub struct Adoption {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: AdoptSettings,
    read_bytes: Arc<AtomicU64>,
}

impl Adoption {
    /// Prepares adoption. If it is to write, probes whether the store refuses to overwrite objects.
    pub async fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        settings: AdoptSettings,
    ) -> Result<Self, AdoptError> {
        let needs_probe = settings.write && !settings.allow_unsafe_store;
        if needs_probe && !retry::retrying(|| honours_conditional_put(store.as_ref())).await? {
            return Err(AdoptError::UnsafeStore { location: store.location("") });
        }
        Ok(Self { store, clock, settings, read_bytes: Arc::default() })
    }

    /// The human-readable location of the store.
    pub fn location(&self) -> String {
        self.store.location("")
    }

    /// The settings.
    pub fn settings(&self) -> AdoptSettings {
        self.settings
    }

    /// Bytes of files read so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Adopts every folder of the store and returns the outcomes in the order of the names. Dropping the stream stops
    /// the adoption, which can be repeated.
    ///
    /// # Errors
    /// If the folders cannot be listed. A folder that fails is an outcome and does not stop the others.
    pub fn folders(&self) -> impl Stream<Item = Result<FolderReport, StoreError>> + Send + '_ {
        candidates::folders(self.store.as_ref())
            .map_ok(move |name| async move {
                let outcome = self.adopt_folder(&name).await;
                Ok(FolderReport { folder: name, outcome })
            })
            .try_buffered(PARALLEL_FOLDERS)
            .boxed()
    }
}

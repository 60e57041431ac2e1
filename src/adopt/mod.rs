//! Adopting bundles that the review application wrote before this service existed: the same folders,
//! without a manifest. Each gets a record, a claim, an index entry and a manifest that marks it adopted,
//! after all of its files were read.
//!
//! Invariant: what is there is only read. Everything written is put only if absent, and is a function of
//! a folder's name and files, so that adopting can be stopped anywhere and repeated, by several at once.

mod candidates;
mod commit;
mod facts;
mod files;
mod folder;
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

pub use self::outcome::{FolderOutcome, FolderReport, Found, SkipReason};
use crate::{
    clock::Clock,
    store::{Store, StoreError, honours_conditional_put},
};

/// Folders worked on side by side. With the files of each read side by side, memory stays below some
/// 50 MiB.
const PARALLEL_FOLDERS: usize = 4;

/// How to adopt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdoptSettings {
    /// Whether to write; otherwise only told what would be done.
    pub write: bool,
    /// How old the newest file of a folder must be: younger folders may still be written.
    pub min_age: Duration,
    /// Write to a store that ignores conditions on puts.
    pub allow_unsafe_store: bool,
}

/// Why nothing can be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store replaces what is there.
    #[error(
        "{location} ignores If-None-Match, so that adopting could overwrite files: set ALLOW_UNSAFE_STORE to \
         write to it all the same"
    )]
    UnsafeStore {
        /// Where.
        location: String,
    },
}

/// The work of adopting what is in one store.
#[derive(Debug, Clone)]
pub struct Adoption {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: AdoptSettings,
    read_bytes: Arc<AtomicU64>,
}

impl Adoption {
    /// Prepares the work. Tries out whether the store refuses to overwrite, where it is to be written to.
    pub async fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        settings: AdoptSettings,
    ) -> Result<Self, AdoptError> {
        let is_tried = settings.write && !settings.allow_unsafe_store;
        if is_tried && !retry::retrying(|| honours_conditional_put(store.as_ref())).await? {
            return Err(AdoptError::UnsafeStore { location: store.location("") });
        }
        Ok(Self { store, clock, settings, read_bytes: Arc::default() })
    }

    /// Where it looks for folders, for people.
    pub fn location(&self) -> String {
        self.store.location("")
    }

    /// How it adopts.
    pub fn settings(&self) -> AdoptSettings {
        self.settings
    }

    /// Bytes of files read so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Works on every folder of the store and tells what became of each, in the order of their names.
    /// Dropping it stops the work, which another can take up.
    ///
    /// # Errors
    /// Where the folders can't be listed. A folder that fails is told, and the others go on.
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

//! What the engine and all its runs share.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Admission, AdmissionLimits, registry::Registry};
use crate::{
    clock::Clock,
    store::{Store, StoreError, honours_conditional_put},
};

/// Ended runs whose events can be replayed; later, the terminal event is made of the bundle.
const KEEP_ENDED_RUNS: usize = 1_000;

/// How the engine works.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// Longest silence of a stream.
    pub heartbeat_interval: Duration,
    /// How long `accepted` waits for the store.
    pub accept_timeout: Duration,
    /// How long one export bears a store's failures.
    pub retry_budget: Duration,
    /// Objects one export sends side by side.
    pub parallel_puts: usize,
    /// Write to S3 servers that ignore conditions on writes.
    pub allow_unsafe_store: bool,
    /// What is held in memory at once.
    pub admission: AdmissionLimits,
}

/// Where bundles go.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The bucket, if there is one.
    pub s3: Option<Arc<dyn Store>>,
    /// The local store.
    pub local: Arc<dyn Store>,
}

/// One for each engine.
#[derive(Debug)]
pub(super) struct Shared {
    pub settings: EngineSettings,
    pub stores: Stores,
    pub clock: Arc<dyn Clock>,
    pub admission: Admission,
    pub registry: Registry,
    pub tasks: TaskTracker,
    /// No new exports.
    pub draining: CancellationToken,
    /// No more listeners.
    pub ending: CancellationToken,
    s3_is_safe: OnceLock<bool>,
}

impl Shared {
    pub(super) fn new(settings: EngineSettings, stores: Stores, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            stores,
            clock,
            admission: Admission::new(settings.admission),
            registry: Registry::new(KEEP_ENDED_RUNS),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            ending: CancellationToken::new(),
            s3_is_safe: OnceLock::new(),
        }
    }

    /// Whether S3 honours conditions on writes; asked until it answers, then known.
    pub(super) async fn s3_is_safe(&self) -> Result<bool, StoreError> {
        let Some(s3) = &self.stores.s3 else { return Ok(true) };
        if let Some(is_safe) = self.s3_is_safe.get() {
            return Ok(*is_safe);
        }
        // Several may ask at once: one that waited for another would wait out its failures too.
        let is_safe = honours_conditional_put(s3.as_ref()).await?;
        Ok(*self.s3_is_safe.get_or_init(|| is_safe))
    }
}

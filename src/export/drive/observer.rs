//! Reports the progress of writing a bundle.

use tara_export_bundle::FolderName;
use tokio::{sync::watch, time::Instant};

use crate::export::run::events::ArtifactUpdate;

/// Receives the progress of writing a bundle to one store. Its methods are called while the bundle is written and must
/// not block.
pub(in crate::export) trait Observer: Send + Sync {
    /// The bundle is written to this folder, starting with its first file. `artifacts_total` includes the manifest,
    /// `bytes_total` does not.
    fn writing(&self, folder: &FolderName, artifacts_total: u32, bytes_total: u64);

    /// The upload of an artifact starts.
    fn started(&self, update: ArtifactUpdate);

    /// More bytes of the artifact were sent.
    fn progressed(&self, update: ArtifactUpdate);

    /// An attempt to send the artifact failed and is retried.
    fn retrying(&self, update: ArtifactUpdate);

    /// The store confirmed the artifact. `counted_bytes` are added to the bundle's progress.
    fn stored(&self, update: ArtifactUpdate, counted_bytes: u64);

    /// An operation of the store failed and is retried.
    fn retried(&self);
}

/// Notes progress of work without a run, so that the watchdog can detect work that hangs.
#[derive(Debug)]
pub(in crate::export) struct Activity(watch::Sender<Instant>);

impl Activity {
    pub(in crate::export) fn new() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }

    /// When progress was reported last.
    pub(in crate::export) fn changes(&self) -> watch::Receiver<Instant> {
        self.0.subscribe()
    }

    fn record(&self) {
        self.0.send_replace(Instant::now());
    }
}

impl Observer for Activity {
    fn writing(&self, _: &FolderName, _: u32, _: u64) {
        self.record();
    }

    fn started(&self, _: ArtifactUpdate) {
        self.record();
    }

    fn progressed(&self, _: ArtifactUpdate) {
        self.record();
    }

    fn retrying(&self, _: ArtifactUpdate) {
        self.record();
    }

    fn stored(&self, _: ArtifactUpdate, _: u64) {
        self.record();
    }

    fn retried(&self) {
        self.record();
    }
}

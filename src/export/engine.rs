//! The engine's front: start, watch, look up, shut down.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::time;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Admission, EngineSettings, FailureReason, Permit, StartError, Stores, Subscription,
    events::Run, run::Job, shared::Shared,
};
use crate::{
    bundle::{
        AcceptedExport, AcceptedTime, Destination, ExportContent, ExportId, FolderBase,
        FormatVersion,
    },
    catalog::{Export, ExportState},
    clock::Clock,
};

/// Accepts requests and carries them to committed bundles. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// An engine over these stores.
    pub fn new(settings: EngineSettings, stores: Stores, clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shared::new(settings, stores, clock)) }
    }

    /// Room for one request, to be taken before its body is read.
    pub fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    /// Where a bundle goes whose caller does not say.
    pub fn default_destination(&self) -> Destination {
        if self.shared.stores.s3.is_some() { Destination::S3 } else { Destination::Local }
    }

    /// Finds out what exports to S3 would find out first, and logs it.
    pub async fn check_s3(&self) {
        match self.shared.s3_is_safe().await {
            Ok(true) => tracing::debug!("S3 answers and honours conditional writes"),
            Ok(false) => tracing::error!(
                "the S3 server ignores If-None-Match: no bundle goes there unless ALLOW_UNSAFE_STORE=true"
            ),
            Err(error) => {
                tracing::warn!(%error, "S3 does not work now: until it does, bundles go to the local store")
            }
        }
    }

    /// Accepts a request, or finds the export that it started before. Returns once it is accepted.
    ///
    /// # Errors
    /// [`StartError`] where it is not accepted; then nothing of it is kept.
    pub async fn start(
        &self,
        request_id: Option<Uuid>,
        content: ExportContent,
        requested_by: String,
        permit: Permit,
    ) -> Result<Subscription, StartError> {
        let shared = &self.shared;
        if shared.draining.is_cancelled() {
            return Err(StartError::ShuttingDown);
        }
        let destination = content.destination.unwrap_or_else(|| self.default_destination());
        if destination == Destination::S3 && shared.stores.s3.is_none() {
            return Err(StartError::NoBucket);
        }
        let format_version = FormatVersion::CURRENT;
        // In the background: a large review takes a while.
        let digested =
            tokio::task::spawn_blocking(move || (content.digest(format_version), content)).await;
        let (content_digest, content) = digested.map_err(|error| {
            tracing::error!(%error, "digesting a request panicked");
            StartError::Internal
        })?;
        let accepted_time = AcceptedTime::new(shared.clock.now());
        let export = AcceptedExport {
            export_id: ExportId::new(request_id.unwrap_or_else(|| shared.clock.new_id())),
            content_digest,
            folder_base: FolderBase::new(&accepted_time, &content.review.document_name),
            content: Arc::new(content),
            accepted_time,
            format_version,
            destination,
            requested_by,
        };
        let (run, is_new) = shared.registry.get_or_insert(export.export_id, || {
            Run::new(running_export(&export), content_digest, shared.clock.clone())
        });
        if run.content_digest() != content_digest {
            return Err(StartError::RequestIdReused { first: run.export_id() });
        }
        if is_new {
            self.spawn(Job { shared: shared.clone(), run: run.clone(), export, _permit: permit });
        }
        run.acceptance().await?;
        Ok(self.subscribe(run, 0))
    }

    /// Listens to an export that this process runs or ran lately, from behind the events of the
    /// named run that the listener has.
    pub fn watch(
        &self,
        export_id: ExportId,
        run_id: Option<Uuid>,
        after_sequence: u64,
    ) -> Option<Subscription> {
        let run = self.shared.registry.get(export_id)?;
        let seen = if run_id == Some(run.run_id()) { after_sequence } else { 0 };
        Some(self.subscribe(run, seen))
    }

    /// An export that this process runs or ran lately.
    pub fn get(&self, export_id: ExportId) -> Option<Export> {
        self.shared.registry.get(export_id).filter(|run| run.is_accepted()).map(|run| run.export())
    }

    /// The exports of this process that have no bundle: running, pending and failed ones.
    pub fn without_bundle(&self) -> Vec<Export> {
        self.shared.registry.all().iter().filter_map(|run| run.export_without_bundle()).collect()
    }

    /// How long a stream may be silent.
    pub fn heartbeat_interval(&self) -> Duration {
        self.shared.settings.heartbeat_interval
    }

    /// How long a caller waits for a store where there is an answer without it.
    pub fn accept_timeout(&self) -> Duration {
        self.shared.settings.accept_timeout
    }

    /// Cancelled when nobody shall listen any more.
    pub fn ending(&self) -> CancellationToken {
        self.shared.ending.clone()
    }

    /// Takes no more requests, gives running exports this long to end, then lets listeners go.
    pub async fn shut_down(&self, patience: Duration) {
        self.shared.draining.cancel();
        self.shared.tasks.close();
        if time::timeout(patience, self.shared.tasks.wait()).await.is_err() {
            let left = self.shared.tasks.len();
            tracing::error!(left, "exports still run at shutdown and end with this process");
        }
        self.shared.ending.cancel();
    }

    fn subscribe(&self, run: Arc<Run>, seen: u64) -> Subscription {
        Subscription::new(
            run,
            seen,
            self.shared.settings.heartbeat_interval,
            self.shared.ending.clone(),
        )
    }

    fn spawn(&self, job: Job) {
        let (shared, run) = (self.shared.clone(), job.run.clone());
        self.shared.tasks.spawn(async move {
            // A panic in one export harms no other.
            if AssertUnwindSafe(job.drive()).catch_unwind().await.is_err() {
                tracing::error!(export_id = %run.export_id(), "the export panicked");
                if run.is_accepted() {
                    let message =
                        "a fault of this server ended the export: its log says more".to_owned();
                    run.fail(FailureReason::Internal, message, None);
                } else {
                    run.refuse(StartError::Internal);
                }
            }
            if run.is_accepted() {
                shared.registry.keep(run.export_id());
            } else {
                shared.registry.forget(run.export_id());
            }
        });
    }
}

fn running_export(export: &AcceptedExport) -> Export {
    let review = &export.content.review;
    Export {
        export_id: export.export_id,
        state: ExportState::Running,
        state_reason: String::new(),
        document_name: review.document_name.clone(),
        session_id: review.session_id.clone(),
        reviewer: review.reviewer.clone(),
        requested_by: export.requested_by.clone(),
        requested_destination: export.destination,
        stored_in: None,
        folder_name: None,
        location: String::new(),
        artifacts: Vec::new(),
        manifest_sha256: None,
        accepted_time: export.accepted_time,
        committed_time: None,
    }
}

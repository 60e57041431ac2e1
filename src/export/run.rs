//! One export from its acceptance to its end: which store is tried, and what follows a failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time;
use uuid::Uuid;

use super::{
    EventKind, FailureReason, Permit, StartError,
    commit::{Commit, CommitError, Committed},
    events::Run,
    retry::RetryBudget,
    shared::Shared,
};
use crate::{
    bundle::{AcceptedExport, Bundle, Destination, ExportId, Fallback, render},
    catalog::{Export, ExportArtifact, ExportState, StoredBundle},
    store::{Store, StoreError, StoreKind},
};

/// One export and everything its run needs.
pub(super) struct Job {
    pub shared: Arc<Shared>,
    pub run: Arc<Run>,
    pub export: AcceptedExport,
    /// The right to hold the request in memory, as long as this is.
    pub _permit: Permit,
}

/// Why a round over the stores ended without a bundle.
struct Failure {
    reason: FailureReason,
    message: String,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { reason: FailureReason::from(&error), message: error.to_string() }
    }
}

/// How one attempt in one store ended.
enum AttemptError {
    Reused,
    Failed(Failure),
}

impl Job {
    /// Carries the export to its end.
    pub(super) async fn drive(self) {
        match self.earlier_bundle().await {
            None => self.carry().await,
            Some(bundle) if bundle.manifest().content_digest != self.export.content_digest => {
                self.run.refuse(StartError::RequestIdReused { first: self.export.export_id });
            }
            Some(bundle) => {
                self.run.accept(bundle.manifest().accepted_time);
                self.complete(bundle.export());
            }
        }
    }

    /// A bundle of this id in the store that was not asked for: one that fell back before, or was
    /// made for another destination. The store asked for finds its own by its record.
    async fn earlier_bundle(&self) -> Option<StoredBundle> {
        let other = match self.export.destination {
            Destination::S3 => Some(&self.shared.stores.local),
            Destination::Local => self.shared.stores.s3.as_ref(),
        }?;
        let found = time::timeout(
            self.shared.settings.accept_timeout,
            StoredBundle::find(other, self.export.export_id),
        );
        found.await.ok()?.ok()?
    }

    async fn carry(&self) {
        let mut export = self.export.clone();
        let mut kept_as = None;
        let manifest_sent = AtomicBool::new(false);
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_secs(1))
            .with_max_delay(Duration::from_secs(30))
            .with_jitter()
            .without_max_times()
            .build();
        let mut fell_back = None;
        loop {
            let mut failure: Option<Failure> = None;
            for store in self.stores_in_order() {
                if let Some(failure) = failure.as_ref().filter(|_| fell_back.is_none()) {
                    // `accepted` comes first, and waits no longer.
                    self.run.accept(export.accepted_time);
                    self.fall_back(failure);
                    fell_back = Some(failure.reason);
                }
                match self.attempt(store, &export, &manifest_sent).await {
                    Ok(mut export) => {
                        if let (ExportState::FellBack, Some(reason)) = (export.state, fell_back) {
                            export.state_reason = reason.to_string();
                        }
                        return self.end(export, kept_as);
                    }
                    Err(AttemptError::Reused) if !self.run.is_accepted() => {
                        return self
                            .run
                            .refuse(StartError::RequestIdReused { first: export.export_id });
                    }
                    Err(AttemptError::Reused) => {
                        // Accepted while the store did not answer: nothing may be lost, so the
                        // content goes on under an id that every replica derives alike.
                        let derived = ExportId::new(Uuid::new_v5(
                            &export.export_id.as_uuid(),
                            export.content_digest.as_bytes(),
                        ));
                        kept_as = Some(derived);
                        export.export_id = derived;
                        failure = None;
                        break;
                    }
                    Err(AttemptError::Failed(error)) => failure = Some(error),
                }
            }
            let Some(failure) = failure else { continue };
            if !self.run.is_accepted() {
                tracing::warn!(export_id = %export.export_id, reason = %failure.reason, error = failure.message, "not accepted");
                let Failure { reason, message } = failure;
                return self.run.refuse(StartError::Store { reason, message });
            }
            let may_exist = manifest_sent.load(Ordering::Relaxed);
            if self.export.content.fallback == Fallback::None && !may_exist {
                return self.fail(failure, kept_as);
            }
            tracing::error!(
                export_id = %export.export_id, reason = %failure.reason, error = failure.message,
                "no store takes the bundle; it is kept in memory and tried again"
            );
            self.run.update(|export| {
                export.state = ExportState::Pending;
                export.state_reason = failure.reason.to_string();
            });
            time::sleep(pauses.next().unwrap_or(Duration::from_secs(30))).await;
            self.run.update(|export| {
                export.state = ExportState::Running;
                export.state_reason.clear();
            });
        }
    }

    /// The store asked for, then the one to fall back to.
    fn stores_in_order(&self) -> Vec<&Arc<dyn Store>> {
        let local = &self.shared.stores.local;
        match (self.export.destination, self.export.content.fallback) {
            (Destination::Local, _) => vec![local],
            (Destination::S3, Fallback::Local) => {
                self.shared.stores.s3.iter().chain([local]).collect()
            }
            (Destination::S3, Fallback::None) => self.shared.stores.s3.iter().collect(),
        }
    }

    /// Tries to make the bundle in one store.
    async fn attempt(
        &self,
        store: &Arc<dyn Store>,
        export: &AcceptedExport,
        manifest_sent: &AtomicBool,
    ) -> Result<Export, AttemptError> {
        let settings = &self.shared.settings;
        let commit = Commit {
            store: store.as_ref(),
            run: &self.run,
            budget: Arc::new(RetryBudget::new(settings.retry_budget)),
            parallel_puts: settings.parallel_puts,
            manifest_sent,
        };
        let rendering = self.render(export.clone());
        let claiming = async {
            if store.kind() == StoreKind::S3 {
                self.require_safe_s3(&commit).await?;
            }
            commit.claim(export).await.map_err(AttemptError::from)
        };
        let mut claiming = std::pin::pin!(claiming);
        let claim = tokio::select! {
            claim = &mut claiming => claim?,
            () = time::sleep(settings.accept_timeout), if !self.run.is_accepted() => {
                self.run.accept(export.accepted_time);
                claiming.await?
            }
        };
        self.run.accept(claim.export.accepted_time);
        let is_as_pinned = claim.export.accepted_time == export.accepted_time
            && claim.export.folder_base == export.folder_base
            && claim.export.format_version == export.format_version;
        let bundle =
            if is_as_pinned { rendering.await? } else { self.render(claim.export.clone()).await? };
        let accepted = claim.export.clone();
        let committed = commit.write(claim, &bundle).await?;
        Ok(self.committed(store.as_ref(), &accepted, &bundle, committed))
    }

    /// S3 must honour conditions on writes; found out once.
    async fn require_safe_s3(&self, commit: &Commit<'_>) -> Result<(), AttemptError> {
        if self.shared.settings.allow_unsafe_store
            || commit.retrying(|| self.shared.s3_is_safe()).await?
        {
            return Ok(());
        }
        let message = "the S3 server ignores If-None-Match, so one bundle could overwrite another: use a server \
                       that honours it, or set ALLOW_UNSAFE_STORE=true to take the risk";
        Err(AttemptError::Failed(Failure {
            reason: FailureReason::StoreUnsafe,
            message: message.to_owned(),
        }))
    }

    /// Renders in the background: a large bundle takes a while.
    fn render(
        &self,
        export: AcceptedExport,
    ) -> impl Future<Output = Result<Bundle, AttemptError>> + use<> {
        let rendering = tokio::task::spawn_blocking(move || render(&export));
        async move {
            rendering.await.map_err(|error| {
                tracing::error!(%error, "rendering panicked");
                let message =
                    "the bundle can't be rendered: this server's log says more".to_owned();
                AttemptError::Failed(Failure { reason: FailureReason::Internal, message })
            })
        }
    }

    fn committed(
        &self,
        store: &dyn Store,
        accepted: &AcceptedExport,
        bundle: &Bundle,
        committed: Committed,
    ) -> Export {
        let state = match (accepted.destination, store.kind()) {
            (Destination::S3, StoreKind::Local) => ExportState::FellBack,
            _ => ExportState::Committed,
        };
        Export {
            export_id: accepted.export_id,
            state,
            state_reason: String::new(),
            stored_in: Some(store.kind()),
            location: store.location(&format!("{}/", committed.folder)),
            folder_name: Some(committed.folder),
            artifacts: bundle
                .artifacts
                .iter()
                .map(|artifact| ExportArtifact {
                    path: artifact.path.to_string(),
                    size_bytes: artifact.bytes.len() as u64,
                    sha256: artifact.sha256,
                    media_type: artifact.media_type.clone(),
                })
                .collect(),
            manifest_sha256: Some(committed.manifest_sha256),
            accepted_time: accepted.accepted_time,
            committed_time: committed.committed_time.or_else(|| Some(self.shared.clock.now())),
            ..self.run.export()
        }
    }

    fn fall_back(&self, failure: &Failure) {
        let Failure { reason, message } = failure;
        tracing::warn!(
            export_id = %self.export.export_id, %reason, error = message,
            "S3 can't take the bundle: it goes to the local store"
        );
        metrics::counter!("tara_export_fallbacks_total", "reason" => reason.as_str()).increment(1);
        self.run.publish(EventKind::FellBack {
            reason: *reason,
            message: format!(
                "S3 can't take the bundle, so it goes to this server's disk: {message}"
            ),
        });
    }

    fn end(&self, export: Export, kept_as: Option<ExportId>) {
        if kept_as.is_some() {
            let message = format!(
                "the id names an export of other content, sent while S3 did not answer; this content is kept in {}",
                export.location
            );
            return self.fail(Failure { reason: FailureReason::RequestIdReused, message }, kept_as);
        }
        self.complete(export);
    }

    fn complete(&self, export: Export) {
        let outcome = if export.state == ExportState::FellBack { "fell_back" } else { "committed" };
        metrics::counter!("tara_export_exports_total", "outcome" => outcome).increment(1);
        tracing::info!(
            export_id = %export.export_id, outcome, location = export.location,
            artifacts = export.artifacts.len(), size_bytes = export.size_bytes(), "export completed"
        );
        let files = u32::try_from(export.artifacts.len() + 1).unwrap_or(u32::MAX);
        self.run.complete_progress(files, export.size_bytes());
        self.run.update(|current| *current = export.clone());
        self.run.publish(EventKind::Completed(Box::new(export)));
    }

    fn fail(&self, failure: Failure, kept_as: Option<ExportId>) {
        let Failure { reason, message } = failure;
        metrics::counter!("tara_export_exports_total", "outcome" => "failed").increment(1);
        tracing::warn!(export_id = %self.export.export_id, %reason, error = message, "export failed");
        self.run.fail(reason, message, kept_as);
    }
}

impl From<CommitError> for AttemptError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::RequestIdReused => Self::Reused,
            CommitError::Store(error) => Self::Failed(error.into()),
            CommitError::NoFolderLeft(_) => {
                let message = format!("{error}: give the document another name");
                Self::Failed(Failure { reason: FailureReason::StoreMisconfigured, message })
            }
        }
    }
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

//! One attempt to make a bundle in one store.

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
};

use tokio::time;

use super::{
    Durability, FailureReason, JournalPlace,
    commit::{Commit, Committed},
    documents::{Documents, digests_of_committed, lie_on_this_machine, must_be_read},
    failure::{AttemptError, Failure},
    job::Job,
    store_journal,
};
use crate::{
    bundle::{AcceptedExport, Bundle, Destination, Fallback, render},
    catalog::{Export, ExportArtifact, ExportState},
    limits::Pool,
    store::{Store, StoreKind},
    transfer::RetryBudget,
};

/// A committed bundle.
pub(super) struct Made {
    /// As others see it.
    pub export: Export,
    /// As the store's record pinned it.
    pub accepted: AcceptedExport,
    pub bundle: Arc<Bundle>,
}

impl Job {
    /// Tries to make the bundle in one store.
    pub(super) async fn attempt(
        &self,
        store: &Arc<dyn Store>,
        export: &AcceptedExport,
        manifest_sent: &AtomicBool,
    ) -> Result<Made, AttemptError> {
        if store.kind() == StoreKind::Local {
            return self.make(store, export, manifest_sent).await;
        }
        let trial = self.shared.breaker.try_s3().map_err(Failure::of_known_outage)?;
        let result = self.make(store, export, manifest_sent).await;
        match &result {
            Err(AttemptError::Failed(failure))
                if failure.reason == FailureReason::StoreUnavailable =>
            {
                trial.failed(failure.clone().into());
            }
            // Whatever it said, S3 answered.
            _ => {
                if trial.succeeded() {
                    self.shared.backlog.end_outage();
                }
            }
        }
        result
    }

    async fn make(
        &self,
        store: &Arc<dyn Store>,
        export: &AcceptedExport,
        manifest_sent: &AtomicBool,
    ) -> Result<Made, AttemptError> {
        let settings = &self.shared.settings;
        let commit = Commit {
            store: store.as_ref(),
            run: &self.run,
            budget: Arc::new(RetryBudget::new(settings.retry_budget)),
            parallel_puts: settings.parallel_puts,
            manifest_sent,
            attempt: self.attempt.as_ref(),
            documents: Documents::new(
                &self.shared,
                self.run.export_id(),
                self.run.content_digest(),
            ),
            transfers: &self.shared.transfers,
        };
        let must_be_read = must_be_read(&export.content.documents);
        let rendering =
            (!must_be_read).then(|| render_in_background(&self.shared.computing, export.clone()));
        let claiming = async {
            if store.kind() == StoreKind::S3 {
                self.require_safe_s3(&commit).await?;
            }
            let (claim, durability) =
                futures::join!(commit.claim(export), self.keep_in_store(&commit, export));
            Ok::<_, AttemptError>((claim?, durability))
        };
        let mut claiming = pin!(claiming);
        let (mut claim, durability) = tokio::select! {
            claimed = &mut claiming => claimed?,
            () = time::sleep(settings.accept_timeout), if !self.run.is_accepted() => {
                self.run.accept(export.accepted_time, Durability::LocalDisk);
                failpoint!("accepted.without_claim");
                claiming.await?
            }
        };
        failpoint!("claim.done");
        self.run.accept(claim.export.accepted_time, durability);
        failpoint!("accepted.sent");
        let is_as_pinned = claim.export.accepted_time == export.accepted_time
            && claim.export.folder_base == export.folder_base
            && claim.export.format_version == export.format_version;
        if must_be_read {
            claim.export.read_digests = match claim.committed {
                Some(_) => digests_of_committed(store, claim.export.export_id).await?,
                None => commit.documents.read(&claim.export, &commit.budget).await?,
            };
        }
        let bundle = match rendering {
            Some(rendering) if is_as_pinned => rendering.await?,
            _ => render_in_background(&self.shared.computing, claim.export.clone()).await?,
        };
        let accepted = claim.export.clone();
        let committed = commit.write(claim, &bundle).await?;
        let export = self.committed(store.as_ref(), &accepted, &bundle, committed);
        Ok(Made { export, accepted, bundle: Arc::new(bundle) })
    }

    /// Keeps a request in S3 too, where that is set. Not one without fallback, which this process may
    /// still fail: another would finish it. Nor one whose documents nobody else has.
    async fn keep_in_store(&self, commit: &Commit<'_>, export: &AcceptedExport) -> Durability {
        let is_wanted = commit.store.kind() == StoreKind::S3
            && self.shared.settings.journal == JournalPlace::Store
            && export.content.fallback == Fallback::Local
            && !lie_on_this_machine(&export.content.documents)
            && !self.run.is_accepted();
        if !is_wanted {
            return Durability::LocalDisk;
        }
        match store_journal::keep(commit, &self.shared.computing, export).await {
            Ok(()) => Durability::Store,
            Err(error) => {
                tracing::warn!(export_id = %export.export_id, %error, "an accepted export is on this machine only");
                Durability::LocalDisk
            }
        }
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
                    size_bytes: artifact.size_bytes(),
                    sha256: artifact.sha256,
                    media_type: artifact.media_type.clone(),
                })
                .collect(),
            manifest_sha256: Some(committed.manifest_sha256),
            accepted_time: accepted.accepted_time,
            requested_by: accepted.requested_by.clone(),
            committed_time: committed.committed_time.or_else(|| Some(self.shared.clock.now())),
            ..self.run.export()
        }
    }
}

/// Renders in the background: a large bundle takes a while.
pub(super) fn render_in_background(
    computing: &Pool,
    export: AcceptedExport,
) -> impl Future<Output = Result<Bundle, Failure>> + use<> {
    let rendering = computing.run(move || render(&export));
    async move {
        let failed = |error: &dyn std::error::Error| {
            tracing::error!(%error, "rendering failed");
            let message = "the bundle can't be rendered: this server's log says more".to_owned();
            Failure { reason: FailureReason::Internal, message }
        };
        match rendering.await {
            Ok(Ok(bundle)) => Ok(bundle),
            Ok(Err(undigested)) => Err(failed(&undigested)),
            Err(panicked) => Err(failed(&panicked)),
        }
    }
}

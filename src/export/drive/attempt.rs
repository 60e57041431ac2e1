//! One attempt to write a bundle to one store.

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
};

use tara_export_bundle::{AcceptedExport, Bundle, render};
use tara_export_catalog::{Export, ExportArtifact, ExportState};
use tara_export_failpoint::failpoint;
use tara_export_limits::Pool;
use tara_export_store::{Store, StoreKind};
use tokio::time;

use crate::{
    export::{
        drive::{
            commit::{Commit, Committed, OwnStore, OwnStoreProof},
            documents::{Documents, digests_of_committed, must_be_read, need_s3},
            store_journal,
            work::{Work, WorkOrigin},
        },
        failure::{AttemptError, Failure, FailureReason},
        run::{Run, events::Durability},
    },
    transfer::RetryBudget,
};

/// An export whose bundle is committed.
pub(in crate::export) struct CommittedExport {
    /// The export as the API returns it.
    pub export: Export,
    /// The accepted export with the values that the store's record pinned.
    pub accepted: AcceptedExport,
    pub bundle: Arc<Bundle>,
}

impl Work {
    /// Tries to write the bundle to one store. Marks the run `accepting`, if any, as accepted as soon as possible.
    pub(in crate::export) async fn try_store(
        &self,
        store: &Arc<dyn Store>,
        export: &AcceptedExport,
        manifest_sent: &AtomicBool,
        accepting: Option<&Run>,
    ) -> Result<CommittedExport, AttemptError> {
        let result = self.try_available_store(store, export, manifest_sent, accepting).await;
        // After a failure, the settings may lead to another store.
        if result.is_err() {
            self.shared.identity.invalidate();
        }
        result
    }

    /// Skips S3 while the circuit breaker is open, and reports the result to it.
    async fn try_available_store(
        &self,
        store: &Arc<dyn Store>,
        export: &AcceptedExport,
        manifest_sent: &AtomicBool,
        accepting: Option<&Run>,
    ) -> Result<CommittedExport, AttemptError> {
        if store.kind() == StoreKind::Local {
            return self.render_and_commit(store, export, manifest_sent, accepting).await;
        }
        let trial = self.shared.breaker.try_s3().map_err(Failure::of_known_outage)?;
        let result = self.render_and_commit(store, export, manifest_sent, accepting).await;
        match &result {
            Err(AttemptError::Failed(failure)) if failure.is_outage() => {
                trial.failed(failure.clone());
            }
            // S3 responded, even if with an error.
            _ => {
                if trial.succeeded() {
                    self.shared.backlog.end_outage();
                    self.shared.unread.restart();
                }
            }
        }
        result
    }

    async fn render_and_commit(
        &self,
        store: &Arc<dyn Store>,
        export: &AcceptedExport,
        manifest_sent: &AtomicBool,
        accepting: Option<&Run>,
    ) -> Result<CommittedExport, AttemptError> {
        let settings = &self.shared.settings;
        let commit = Commit {
            store: store.as_ref(),
            export_id: self.export_id,
            observer: self.observer.clone(),
            retries: Arc::default(),
            budget: Arc::new(RetryBudget::new(settings.retry_budget)),
            parallel_puts: settings.parallel_puts,
            manifest_sent,
            attempt_marker: self.attempt_marker.as_ref(),
            documents: Documents::new(&self.shared, self.export_id, self.content_digest),
            transfers: &self.shared.transfers,
            own_store: self.own_store(store.as_ref(), export),
        };
        let unaccepted = || accepting.filter(|run| !run.is_accepted());
        let must_be_read = must_be_read(&export.content.documents);
        let rendering =
            (!must_be_read).then(|| render_in_background(&self.shared.computing, export.clone()));
        let claiming = async {
            commit.require_own_store().await?;
            if store.kind() == StoreKind::S3 {
                self.require_safe_s3(&commit).await?;
            }
            let storing_entry = async {
                match unaccepted() {
                    Some(_) => self.put_journal_entry(&commit, export).await,
                    None => Durability::LocalDisk,
                }
            };
            let (claim, durability) = futures::join!(commit.claim(export), storing_entry);
            Ok::<_, AttemptError>((claim?, durability))
        };
        let mut claiming = pin!(claiming);
        let (mut claim, durability) = tokio::select! {
            claimed = &mut claiming => claimed?,
            () = time::sleep(settings.accept_timeout), if unaccepted().is_some() => {
                accepting.inspect(|run| run.accept(export.accepted_time, Durability::LocalDisk));
                failpoint!("accepted.without_claim");
                claiming.await?
            }
        };
        failpoint!("claim.done");
        accepting.inspect(|run| run.accept(claim.export.accepted_time, durability));
        failpoint!("accepted.sent");
        let is_unchanged = claim.export.accepted_time == export.accepted_time
            && claim.export.folder_base == export.folder_base
            && claim.export.format_version == export.format_version;
        if must_be_read {
            claim.export.read_digests = match claim.committed {
                Some(_) => digests_of_committed(store, claim.export.export_id).await?,
                None => commit.documents.read(&claim.export, &commit.budget).await?,
            };
        }
        let bundle = match rendering {
            Some(rendering) if is_unchanged => rendering.await?,
            _ => render_in_background(&self.shared.computing, claim.export.clone()).await?,
        };
        let accepted = claim.export.clone();
        let committed = commit.write(claim, &bundle).await?;
        let export = self.committed_export(store.as_ref(), &accepted, &bundle, committed);
        Ok(CommittedExport { export, accepted, bundle: Arc::new(bundle) })
    }

    /// Writes the request to the journal in S3 if the settings require it.
    async fn put_journal_entry(&self, commit: &Commit<'_>, export: &AcceptedExport) -> Durability {
        let is_required = commit.store.kind() == StoreKind::S3
            && store_journal::should_store(&self.shared, export);
        if !is_required {
            return Durability::LocalDisk;
        }
        let putting = async {
            // First, so that an entry in the store always has its recipients.
            store_journal::put_recipients(&self.shared, commit, export).await?;
            store_journal::put_entry(commit, &self.shared.computing, export).await
        };
        match putting.await {
            Ok(()) => Durability::Store,
            Err(error) => {
                tracing::warn!(
                    export_id = %export.export_id, %error,
                    "cannot store the journal entry in S3: the accepted export is only on this machine"
                );
                Durability::LocalDisk
            }
        }
    }

    /// The check that S3 is the store that the export was accepted for. `None` if neither the bundle nor its
    /// documents are in S3.
    fn own_store<'a>(&'a self, store: &dyn Store, export: &AcceptedExport) -> Option<OwnStore<'a>> {
        if store.kind() == StoreKind::Local && !need_s3(&export.content.documents) {
            return None;
        }
        let proof = match self.origin {
            WorkOrigin::Machine => OwnStoreProof::Identity(export.store_id),
            WorkOrigin::StoreJournal => OwnStoreProof::HasEntry,
        };
        let journal = self.shared.journal().ok()?;
        let retry_budget = self.shared.settings.retry_budget;
        Some(OwnStore::new(&self.shared.identity, journal, proof, retry_budget))
    }

    /// Fails unless S3 honours conditional writes. S3 is probed once.
    async fn require_safe_s3(&self, commit: &Commit<'_>) -> Result<(), AttemptError> {
        if self.shared.settings.allow_unsafe_store
            || commit.retrying(|| self.shared.s3_is_safe()).await?
        {
            return Ok(());
        }
        let message = "the S3 server ignores If-None-Match, so one bundle could overwrite another: use a server \
                       that honours it, or set ALLOW_UNSAFE_STORE=true to accept the risk";
        Err(AttemptError::Failed(Failure {
            reason: FailureReason::StoreUnsafe,
            message: message.to_owned(),
        }))
    }

    fn committed_export(
        &self,
        store: &dyn Store,
        accepted: &AcceptedExport,
        bundle: &Bundle,
        committed: Committed,
    ) -> Export {
        Export {
            export_id: accepted.export_id,
            is_id_unknown: false,
            state: ExportState::of_bundle(accepted.destination, store.kind()),
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
            replacements: accepted.replacements().into(),
            committed_time: committed.committed_time.or_else(|| Some(self.shared.clock.now())),
            ..Export::running(&accepted.header())
        }
    }
}

/// Renders the bundle on a computing thread.
pub(in crate::export) fn render_in_background(
    computing: &Pool,
    export: AcceptedExport,
) -> impl Future<Output = Result<Bundle, Failure>> + use<> {
    let rendering = computing.run(move || render(&export));
    async move {
        let failed = |error: &dyn std::error::Error| {
            tracing::error!(%error, "rendering failed");
            Failure::internal("cannot render the bundle: see the server log")
        };
        match rendering.await {
            Ok(Ok(bundle)) => Ok(bundle),
            Ok(Err(undigested)) => Err(failed(&undigested)),
            Err(panicked) => Err(failed(&panicked)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "attempt_tests.rs"]
mod tests;

//! Looks up exports in this process, the journal and the stores, and decides which source applies.

use std::sync::Arc;

use tara_export_bundle::ExportId;
use tara_export_catalog::{Catalog, Export, ExportState, StoredBundle};
use tara_export_clock::Clock;
use tokio::time;
use tonic::{Code, Status};

use super::{
    convert::{completed_event, export_id},
    download::ResponseStream,
    failures::{read_failed, store_failed},
    follow::{StoreFollower, ended_stream, failed_stream},
    status::{export_not_found, status},
};
use crate::{export::Engine, proto};

/// This server's name in responses.
pub type Replica = Arc<str>;

/// The sources of information on exports.
#[derive(Debug, Clone)]
pub(super) struct Queries {
    pub engine: Engine,
    pub catalog: Catalog,
    pub clock: Arc<dyn Clock>,
    pub replica: Replica,
}

impl Queries {
    /// The bundle of an export, possibly from the cache.
    pub(super) async fn bundle(&self, name: &str) -> Result<Arc<StoredBundle>, Status> {
        let export_id = export_id(name)?;
        let found = self.catalog.find(export_id).await.map_err(read_failed)?;
        match found {
            Some(bundle) => Ok(bundle),
            None => Err(self.missing_bundle_status(export_id).await),
        }
    }

    /// The bundle of an export, read from the store: a download must reflect what is stored now.
    pub(super) async fn fresh_bundle(&self, name: &str) -> Result<Arc<StoredBundle>, Status> {
        let export_id = export_id(name)?;
        let found = self.catalog.find_uncached(export_id).await.map_err(read_failed)?;
        match found {
            Some(bundle) => Ok(bundle),
            None => Err(self.missing_bundle_status(export_id).await),
        }
    }

    async fn missing_bundle_status(&self, export_id: ExportId) -> Status {
        if let Some(left) = self.engine.left()
            && left.find(export_id).is_some()
        {
            let progress = if left.is_in_use() { "not finished" } else { "not running" };
            let message =
                format!("exports/{export_id} is accepted and {progress}, so it has no bundle");
            return status(Code::FailedPrecondition, "EXPORT_NOT_COMMITTED", message);
        }
        let is_known = self.engine.get(export_id).is_some()
            || self.engine.find_pending(export_id).await.is_some();
        if is_known {
            let message = format!(
                "exports/{export_id} has no bundle: it is unfinished or failed; call GetExport for its state"
            );
            status(Code::FailedPrecondition, "EXPORT_NOT_COMMITTED", message)
        } else {
            self.not_found_status(export_id)
        }
    }

    /// No store has the export. It may still be accepted, in a journal entry that cannot be read now.
    fn not_found_status(&self, export_id: ExportId) -> Status {
        match self.engine.why_unprocessable(export_id) {
            Some(error) => error.into(),
            None => export_not_found(export_id),
        }
    }

    /// The export, from this process, the journal or the stores.
    pub(super) async fn export(&self, export_id: ExportId) -> Result<Export, Status> {
        let known = match self.engine.get(export_id) {
            Some(export) if matches!(export.state, ExportState::Running | ExportState::Pending) => {
                return Ok(export);
            }
            Some(ended) if ended.state != ExportState::Failed => Some(ended),
            failed_recently => match self.engine.failure(export_id).await {
                // The id belongs to other content in the store; this is the request accepted here.
                Some(failed) if failed.stored_under_id().is_some() => {
                    return Ok(failed.export().clone());
                }
                failed => failed_recently.or(failed.map(|failed| failed.export().clone())),
            },
        };
        let known = match known {
            Some(known) => Some(known),
            None => self.engine.find_pending(export_id).await,
        };
        // The stores take precedence: another replica may have committed an export that failed here, and a bundle
        // that fell back may be in S3.
        let Some(known) = known else {
            let bundle = self.catalog.find(export_id).await.map_err(read_failed)?;
            return Ok(self.with_state_reason(
                bundle.ok_or_else(|| self.not_found_status(export_id))?.export(),
            ));
        };
        // If a store does not respond in time, the information of this process applies.
        let found = self.catalog.find(export_id);
        match time::timeout(self.engine.accept_timeout(), found).await {
            Ok(Ok(Some(bundle))) => Ok(self.with_state_reason(bundle.export())),
            Ok(Err(error)) if error.is_data_loss() || error.is_archived() => {
                Err(read_failed(error))
            }
            _ => Ok(known),
        }
    }

    /// Adds the reason why a bundle is not in S3 yet.
    fn with_state_reason(&self, mut export: Export) -> Export {
        if export.state == ExportState::FellBack
            && let Some(reason) = self.engine.sync_failure(export.export_id)
        {
            export.state_reason = reason.to_string();
        }
        export
    }

    /// Streams the events of an export without a run in this process.
    pub(super) async fn watch(
        &self,
        export_id: ExportId,
    ) -> Result<ResponseStream<proto::ExportEvent>, Status> {
        // The request accepted here under this id failed here, even if the id has other content in the store.
        if let Some(failed) = self.engine.failure(export_id).await {
            return Ok(failed_stream(&failed, &self.replica));
        }
        if let Some(bundle) = self.catalog.find(export_id).await.map_err(read_failed)? {
            let event = completed_event(&bundle.export(), self.clock.now(), &self.replica);
            return Ok(ended_stream(event));
        }
        if let Some(left) = self.engine.find_left(export_id) {
            return Ok(ended_stream(completed_event(left, self.clock.now(), &self.replica)));
        }
        if let Some(error) = self.engine.why_unprocessable(export_id) {
            return Err(error.into());
        }
        if !self.catalog.is_recorded(export_id).await.map_err(store_failed)? {
            let message = format!(
                "exports/{export_id} is not known to this server: send StartExport again with its request_id to make \
                 sure that it is exported"
            );
            return Err(status(Code::NotFound, "EXPORT_NOT_HERE", message));
        }
        let (catalog, engine) = (self.catalog.clone(), self.engine.clone());
        let (clock, replica) = (self.clock.clone(), self.replica.clone());
        Ok(StoreFollower { export_id, catalog, engine, clock, replica }.stream())
    }
}

//! The service's methods: each validates its request, calls the engine or the catalog, and converts the result.

use std::sync::Arc;

use tara_export_auth::Authenticator;
use tara_export_bundle::{AcceptedTime, preview, warnings};
use tara_export_catalog::Catalog;
use tara_export_clock::Clock;
use tara_export_limits::{CallerKey, Pool};
use tonic::{Request, Response, Status, Streaming};

use super::{
    access::record_access,
    admitted::AdmittedReview,
    authentication::caller,
    automation::{Automation, AutomationApi},
    batch, caller, checks,
    convert::{
        PreviewRequest, StartRequest, artifact_path, export_id, export_message, page_size,
        preview_message, preview_request, start_request, time_to_live, timestamp, upload_id,
    },
    decoding::{admitted, decode, in_background},
    download::{ResponseStream, artifact_stream, bundle_stream},
    failures::{link_failed, read_failed, upload_failed},
    follow::run_stream,
    listing,
    queries::{Queries, Replica},
    readers::Readers,
    report,
    response_memory::{
        EXPORT_BYTES, artifact_list_bytes, parsed_bytes, response_under, response_with,
    },
    status::invalid,
    upload::{self, upload_message},
};
use crate::{
    batch::Batches,
    export::Engine,
    health::Health,
    proto::{self, export_service_server::ExportService, get_report_request::View},
};

/// The export service.
#[derive(Debug, Clone)]
pub struct ExportApi {
    queries: Queries,
    health: Health,
    readers: Readers,
    authenticator: Option<Arc<Authenticator>>,
    automation: Automation,
    batches: Batches,
}

/// What the service uses.
#[derive(Debug, Clone)]
pub struct ExportApiParts {
    /// Accepts requests.
    pub engine: Engine,
    /// Reads the stores.
    pub catalog: Catalog,
    /// The time and new ids.
    pub clock: Arc<dyn Clock>,
    /// The name of this server.
    pub replica: Replica,
    /// The health of this server.
    pub health: Health,
    /// The limits on the memory of responses.
    pub readers: Readers,
    /// The notifications and jobs.
    pub automation: Automation,
    /// The batches.
    pub batches: Batches,
}

impl ExportApi {
    /// Creates the service.
    pub fn new(parts: ExportApiParts) -> Self {
        let ExportApiParts {
            engine,
            catalog,
            clock,
            replica,
            health,
            readers,
            automation,
            batches,
        } = parts;
        Self {
            queries: Queries { engine, catalog, clock, replica },
            health,
            readers,
            authenticator: None,
            automation,
            batches,
        }
    }

    /// The same service, whose checks include the keys of this authenticator's issuer.
    #[must_use]
    pub fn with_authenticator(self, authenticator: Option<Arc<Authenticator>>) -> Self {
        Self { authenticator, ..self }
    }

    /// The service for events and targets.
    pub fn automation(&self) -> AutomationApi {
        let Queries { catalog, clock, .. } = &self.queries;
        let (api, readers) = (self.automation.clone(), self.readers.clone());
        AutomationApi::new(api, catalog.clone(), clock.clone(), readers)
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.queries.engine
    }

    /// The limits on the memory of responses.
    pub fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// The threads that compress archives.
    pub fn archives(&self) -> Pool {
        self.readers.archives()
    }
}

#[tonic::async_trait]
impl ExportService for ExportApi {
    type StartExportStream = ResponseStream<proto::ExportEvent>;
    type WatchExportStream = ResponseStream<proto::ExportEvent>;
    type WatchBatchStream = ResponseStream<proto::WatchBatchResponse>;
    type DownloadArtifactStream = ResponseStream<proto::DownloadArtifactResponse>;
    type DownloadBundleStream = ResponseStream<proto::DownloadBundleResponse>;

    async fn preview_export(
        &self,
        request: Request<proto::PreviewExportRequest>,
    ) -> Result<Response<proto::PreviewExportResponse>, Status> {
        let AdmittedReview { message, permit } = admitted(&request)?;
        let accepted_time = AcceptedTime::new(self.queries.clock.now());
        let (planned, warnings) = in_background(&self.queries.engine, permit.bytes(), move || {
            let PreviewRequest { review, documents } = preview_request(decode(message)?)?;
            let warnings = warnings(&review, !documents.is_empty());
            Ok((preview(&review, &documents, accepted_time), warnings))
        })
        .await?;
        let mut message =
            preview_message(planned, warnings, self.queries.engine.default_destination());
        message.accepts_notify_emails = !self.automation.allowed_recipients().is_empty();
        Ok(Response::new(message))
    }

    async fn start_export(
        &self,
        request: Request<proto::StartExportRequest>,
    ) -> Result<Response<Self::StartExportStream>, Status> {
        let AdmittedReview { message, mut permit } = admitted(&request)?;
        let caller = caller(&request);
        let message_bytes = message.len() as u64;
        let allowed = self.automation.allowed_recipients();
        let convert = move || start_request(decode(message)?, &allowed);
        let converting = in_background(&self.queries.engine, permit.bytes(), convert);
        let StartRequest { request_id, content } = converting.await?;
        // Inline documents share the message's buffer, and keep all of it in memory.
        let inline_bytes = content.inline_bytes();
        if inline_bytes > 0 {
            permit.reserve_extra(message_bytes.saturating_sub(inline_bytes));
        }
        let requested_by = caller.to_string();
        let subscription =
            self.queries.engine.start(request_id, content, requested_by, permit).await?;
        record_access(&format!("exports/{}", subscription.run().export_id()), "");
        Ok(Response::new(run_stream(subscription, self.queries.replica.clone())))
    }

    async fn watch_export(
        &self,
        request: Request<proto::WatchExportRequest>,
    ) -> Result<Response<Self::WatchExportStream>, Status> {
        let request = request.into_inner();
        record_access(&request.name, "");
        let export_id = export_id(&request.name)?;
        let Ok(after_sequence) = u64::try_from(request.after_sequence) else {
            return Err(invalid("after_sequence", "must be 0 or greater"));
        };
        let run_id = request.run_id.parse().ok();
        self.queries.engine.load_pending(export_id).await;
        let stream = match self.queries.engine.watch(export_id, run_id, after_sequence) {
            Some(subscription) => run_stream(subscription, self.queries.replica.clone()),
            None => self.queries.watch(export_id).await?,
        };
        Ok(Response::new(stream))
    }

    async fn get_export(
        &self,
        request: Request<proto::GetExportRequest>,
    ) -> Result<Response<proto::GetExportResponse>, Status> {
        let key = caller_key(&request);
        let name = request.into_inner().name;
        record_access(&name, "");
        let export_id = export_id(&name)?;
        let mut permit = self.readers.reserve_response(&key, EXPORT_BYTES).await?;
        let export = self.queries.export(export_id).await?;
        permit.grow_to(artifact_list_bytes(&export)).await?;
        let export = Some(export_message(&export, &self.queries.replica, true));
        Ok(response_with(permit, proto::GetExportResponse { export }))
    }

    async fn list_exports(
        &self,
        request: Request<proto::ListExportsRequest>,
    ) -> Result<Response<proto::ListExportsResponse>, Status> {
        let key = caller_key(&request);
        let request = request.into_inner();
        record_access("", "");
        let page_size = page_size(request.page_size)?;
        listing::page(&self.queries, &self.readers, &key, &request, page_size).await
    }

    async fn get_report(
        &self,
        request: Request<proto::GetReportRequest>,
    ) -> Result<Response<proto::GetReportResponse>, Status> {
        let key = caller_key(&request);
        let request = request.into_inner();
        record_access(&request.name, "");
        let view = View::try_from(request.view).map_err(|_| {
            invalid("view", "must be VIEW_STRUCTURED, VIEW_JSON, VIEW_TEXT or unspecified")
        })?;
        let permit = self.readers.reserve_response(&key, EXPORT_BYTES).await?;
        let bundle = self.queries.bundle(&request.name).await?;
        report::read(&self.queries.catalog, &bundle, view, permit).await
    }

    async fn download_artifact(
        &self,
        request: Request<proto::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let key = caller_key(&request);
        let request = request.into_inner();
        record_access(&request.name, &request.path);
        let path = artifact_path(&request.path)?;
        let permit = self.readers.reserve_download(&key).await?;
        let artifact = self
            .queries
            .fresh_bundle(&request.name)
            .await?
            .open(&path)
            .await
            .map_err(read_failed)?;
        Ok(response_under(permit, artifact_stream(artifact, request.offset)?))
    }

    async fn download_bundle(
        &self,
        request: Request<proto::DownloadBundleRequest>,
    ) -> Result<Response<Self::DownloadBundleStream>, Status> {
        let key = caller_key(&request);
        let name = request.into_inner().name;
        record_access(&name, "");
        let mut permit = self.readers.reserve_download(&key).await?;
        let bundle = self.queries.fresh_bundle(&name).await?;
        // The manifest stays in memory until the archive ends, and the names in the archive, which are not
        // longer than the manifest.
        let manifest_bytes = bundle.manifest_artifact().size_bytes;
        permit.grow_by(parsed_bytes(manifest_bytes).saturating_add(manifest_bytes)).await?;
        Ok(response_under(permit, bundle_stream(bundle, self.readers.archives()).await?))
    }

    async fn check_storage(
        &self,
        request: Request<proto::CheckStorageRequest>,
    ) -> Result<Response<proto::CheckStorageResponse>, Status> {
        let permit =
            self.readers.reserve_response(&caller_key(&request), checks::CHECKS_BYTES).await?;
        record_access("", "");
        let keys = self.authenticator.as_ref().and_then(|callers| callers.keys_state());
        let checks =
            checks::run(&self.queries, &self.health, keys, &self.automation, &self.batches).await;
        Ok(response_with(permit, proto::CheckStorageResponse { checks }))
    }

    async fn create_upload(
        &self,
        request: Request<proto::CreateUploadRequest>,
    ) -> Result<Response<proto::CreateUploadResponse>, Status> {
        let key = caller_key(&request);
        self.queries.engine.refresh_store_id().await;
        let status =
            upload::create(self.queries.engine.uploads(), &key, request.into_inner()).await?;
        record_access(&format!("uploads/{}", status.upload_id), "");
        let upload = Some(upload_message(&status, &self.queries.replica));
        Ok(Response::new(proto::CreateUploadResponse { upload }))
    }

    async fn get_upload(
        &self,
        request: Request<proto::GetUploadRequest>,
    ) -> Result<Response<proto::GetUploadResponse>, Status> {
        let name = request.into_inner().name;
        record_access(&name, "");
        let upload_id = upload_id(&name)?;
        let status =
            self.queries.engine.uploads().status(upload_id).await.map_err(upload_failed)?;
        let upload = Some(upload_message(&status, &self.queries.replica));
        Ok(Response::new(proto::GetUploadResponse { upload }))
    }

    async fn upload_document(
        &self,
        request: Request<Streaming<proto::UploadDocumentRequest>>,
    ) -> Result<Response<proto::UploadDocumentResponse>, Status> {
        let status = upload::receive_stream(self.queries.engine.uploads().clone(), request).await?;
        record_access(&format!("uploads/{}", status.upload_id), "");
        let upload = Some(upload_message(&status, &self.queries.replica));
        Ok(Response::new(proto::UploadDocumentResponse { upload }))
    }

    async fn upload_chunk(
        &self,
        request: Request<proto::UploadChunkRequest>,
    ) -> Result<Response<proto::UploadChunkResponse>, Status> {
        let status = upload::receive_chunk(self.queries.engine.uploads().clone(), request).await?;
        // Only the last of possibly hundreds of chunks.
        if status.finished.is_some() {
            record_access(&format!("uploads/{}", status.upload_id), "");
        }
        let upload = Some(upload_message(&status, &self.queries.replica));
        Ok(Response::new(proto::UploadChunkResponse { upload }))
    }

    async fn create_download_link(
        &self,
        request: Request<proto::CreateDownloadLinkRequest>,
    ) -> Result<Response<proto::CreateDownloadLinkResponse>, Status> {
        let request = request.into_inner();
        let time_to_live = time_to_live(request.time_to_live)?;
        record_access(&request.name, &request.path);
        let path = artifact_path(&request.path)?;
        let link = self
            .queries
            .bundle(&request.name)
            .await?
            .link(&path, time_to_live)
            .await
            .map_err(link_failed)?;
        Ok(Response::new(proto::CreateDownloadLinkResponse {
            uri: link.uri,
            expire_time: Some(timestamp(link.expire_time)),
        }))
    }

    async fn batch_start_exports(
        &self,
        request: Request<proto::BatchStartExportsRequest>,
    ) -> Result<Response<proto::BatchStartExportsResponse>, Status> {
        let allowed = self.automation.allowed_recipients();
        let new_id = self.queries.clock.new_id();
        batch::start(&self.queries.engine, &self.batches, allowed, new_id, request).await
    }

    async fn watch_batch(
        &self,
        request: Request<proto::WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        batch::watch(&self.batches, &self.readers, request).await
    }

    async fn get_batch(
        &self,
        request: Request<proto::GetBatchRequest>,
    ) -> Result<Response<proto::GetBatchResponse>, Status> {
        batch::get(&self.batches, &self.readers, request).await
    }
}

/// The key under which limits count this call.
fn caller_key<T>(request: &Request<T>) -> CallerKey {
    caller::key(request.extensions())
}

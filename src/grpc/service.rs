//! The service's methods: each validates its request, calls the engine or the catalog, and converts the result.

use std::sync::Arc;

use tara_export_auth::Authenticator;
use tara_export_bundle::{AcceptedTime, preview, warnings};
use tara_export_catalog::Catalog;
use tara_export_clock::Clock;
use tara_export_limits::{CallerKey, Pool};
use tonic::{Request, Response, Status, Streaming};

use super::{
    admitted::AdmittedReview,
    authentication::{caller, log_access},
    caller, checks,
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
}

impl ExportApi {
    /// Creates the service.
    pub fn new(
        engine: Engine,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        replica: Replica,
        health: Health,
        readers: Readers,
    ) -> Self {
        Self {
            queries: Queries { engine, catalog, clock, replica },
            health,
            readers,
            authenticator: None,
        }
    }

    /// The same service, whose checks include the keys of this authenticator's issuer.
    #[must_use]
    pub fn with_authenticator(self, authenticator: Option<Arc<Authenticator>>) -> Self {
        Self { authenticator, ..self }
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
    type DownloadArtifactStream = ResponseStream<proto::DownloadArtifactResponse>;
    type DownloadBundleStream = ResponseStream<proto::DownloadBundleResponse>;

    async fn preview_export(
        &self,
        request: Request<proto::PreviewExportRequest>,
    ) -> Result<Response<proto::PreviewExportResponse>, Status> {
        let AdmittedReview { message, permit: _permit } = admitted(&request)?;
        let accepted_time = AcceptedTime::new(self.queries.clock.now());
        let (planned, warnings) = in_background(&self.queries.engine, move || {
            let PreviewRequest { review, documents } = preview_request(decode(message)?)?;
            let warnings = warnings(&review, !documents.is_empty());
            Ok((preview(&review, &documents, accepted_time), warnings))
        })
        .await?;
        Ok(Response::new(preview_message(
            planned,
            warnings,
            self.queries.engine.default_destination(),
        )))
    }

    async fn start_export(
        &self,
        request: Request<proto::StartExportRequest>,
    ) -> Result<Response<Self::StartExportStream>, Status> {
        let AdmittedReview { message, mut permit } = admitted(&request)?;
        let caller = caller(&request);
        let message_bytes = message.len() as u64;
        let converting =
            in_background(&self.queries.engine, move || start_request(decode(message)?));
        let StartRequest { request_id, content } = converting.await?;
        // Inline documents share the message's buffer, and keep all of it in memory.
        let inline_bytes = content.inline_bytes();
        if inline_bytes > 0 {
            permit.reserve_extra(message_bytes.saturating_sub(inline_bytes));
        }
        let requested_by = caller.to_string();
        let subscription =
            self.queries.engine.start(request_id, content, requested_by, permit).await?;
        log_access(
            &caller,
            "StartExport",
            &format!("exports/{}", subscription.run().export_id()),
            "",
        );
        Ok(Response::new(run_stream(subscription, self.queries.replica.clone())))
    }

    async fn watch_export(
        &self,
        request: Request<proto::WatchExportRequest>,
    ) -> Result<Response<Self::WatchExportStream>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let export_id = export_id(&request.name)?;
        log_access(&caller, "WatchExport", &request.name, "");
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
        let (caller, key) = (caller(&request), caller_key(&request));
        let name = request.into_inner().name;
        let export_id = export_id(&name)?;
        log_access(&caller, "GetExport", &name, "");
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
        let (caller, key) = (caller(&request), caller_key(&request));
        let request = request.into_inner();
        let page_size = page_size(request.page_size)?;
        log_access(&caller, "ListExports", "", "");
        listing::page(&self.queries, &self.readers, &key, &request, page_size).await
    }

    async fn get_report(
        &self,
        request: Request<proto::GetReportRequest>,
    ) -> Result<Response<proto::GetReportResponse>, Status> {
        let (caller, key) = (caller(&request), caller_key(&request));
        let request = request.into_inner();
        let view = View::try_from(request.view).map_err(|_| {
            invalid("view", "must be VIEW_STRUCTURED, VIEW_JSON, VIEW_TEXT or unspecified")
        })?;
        let permit = self.readers.reserve_response(&key, EXPORT_BYTES).await?;
        let bundle = self.queries.bundle(&request.name).await?;
        log_access(&caller, "GetReport", &request.name, "");
        report::read(&self.queries.catalog, &bundle, view, permit).await
    }

    async fn download_artifact(
        &self,
        request: Request<proto::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let (caller, key) = (caller(&request), caller_key(&request));
        let request = request.into_inner();
        let path = artifact_path(&request.path)?;
        let permit = self.readers.reserve_download(&key).await?;
        let artifact = self
            .queries
            .fresh_bundle(&request.name)
            .await?
            .open(&path)
            .await
            .map_err(read_failed)?;
        log_access(&caller, "DownloadArtifact", &request.name, path.as_str());
        Ok(response_under(permit, artifact_stream(artifact, request.offset)?))
    }

    async fn download_bundle(
        &self,
        request: Request<proto::DownloadBundleRequest>,
    ) -> Result<Response<Self::DownloadBundleStream>, Status> {
        let (caller, key) = (caller(&request), caller_key(&request));
        let name = request.into_inner().name;
        let mut permit = self.readers.reserve_download(&key).await?;
        let bundle = self.queries.fresh_bundle(&name).await?;
        // The manifest stays in memory until the archive ends, and the names in the archive, which are not
        // longer than the manifest.
        let manifest_bytes = bundle.manifest_artifact().size_bytes;
        permit.grow_by(parsed_bytes(manifest_bytes).saturating_add(manifest_bytes)).await?;
        log_access(&caller, "DownloadBundle", &name, "");
        Ok(response_under(permit, bundle_stream(bundle, self.readers.archives()).await?))
    }

    async fn check_storage(
        &self,
        request: Request<proto::CheckStorageRequest>,
    ) -> Result<Response<proto::CheckStorageResponse>, Status> {
        let permit =
            self.readers.reserve_response(&caller_key(&request), checks::CHECKS_BYTES).await?;
        log_access(&caller(&request), "CheckStorage", "", "");
        let keys = self.authenticator.as_ref().and_then(|callers| callers.keys_state());
        let checks = checks::run(&self.queries, &self.health, keys).await;
        Ok(response_with(permit, proto::CheckStorageResponse { checks }))
    }

    async fn create_upload(
        &self,
        request: Request<proto::CreateUploadRequest>,
    ) -> Result<Response<proto::CreateUploadResponse>, Status> {
        let (caller, key) = (caller(&request), caller_key(&request));
        self.queries.engine.refresh_store_id().await;
        let status =
            upload::create(self.queries.engine.uploads(), &key, request.into_inner()).await?;
        log_access(&caller, "CreateUpload", &format!("uploads/{}", status.upload_id), "");
        let upload = Some(upload_message(&status, &self.queries.replica));
        Ok(Response::new(proto::CreateUploadResponse { upload }))
    }

    async fn get_upload(
        &self,
        request: Request<proto::GetUploadRequest>,
    ) -> Result<Response<proto::GetUploadResponse>, Status> {
        let caller = caller(&request);
        let upload_id = upload_id(&request.into_inner().name)?;
        log_access(&caller, "GetUpload", &format!("uploads/{upload_id}"), "");
        let status =
            self.queries.engine.uploads().status(upload_id).await.map_err(upload_failed)?;
        let upload = Some(upload_message(&status, &self.queries.replica));
        Ok(Response::new(proto::GetUploadResponse { upload }))
    }

    async fn upload_document(
        &self,
        request: Request<Streaming<proto::UploadDocumentRequest>>,
    ) -> Result<Response<proto::UploadDocumentResponse>, Status> {
        let caller = caller(&request);
        let status = upload::receive_stream(self.queries.engine.uploads().clone(), request).await?;
        log_access(&caller, "UploadDocument", &format!("uploads/{}", status.upload_id), "");
        let upload = Some(upload_message(&status, &self.queries.replica));
        Ok(Response::new(proto::UploadDocumentResponse { upload }))
    }

    async fn upload_chunk(
        &self,
        request: Request<proto::UploadChunkRequest>,
    ) -> Result<Response<proto::UploadChunkResponse>, Status> {
        let caller = caller(&request);
        let status = upload::receive_chunk(self.queries.engine.uploads().clone(), request).await?;
        // Only the last of possibly hundreds of chunks.
        if status.finished.is_some() {
            log_access(&caller, "UploadChunk", &format!("uploads/{}", status.upload_id), "");
        }
        let upload = Some(upload_message(&status, &self.queries.replica));
        Ok(Response::new(proto::UploadChunkResponse { upload }))
    }

    async fn create_download_link(
        &self,
        request: Request<proto::CreateDownloadLinkRequest>,
    ) -> Result<Response<proto::CreateDownloadLinkResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let time_to_live = time_to_live(request.time_to_live)?;
        let path = artifact_path(&request.path)?;
        let link = self
            .queries
            .bundle(&request.name)
            .await?
            .link(&path, time_to_live)
            .await
            .map_err(link_failed)?;
        log_access(&caller, "CreateDownloadLink", &request.name, path.as_str());
        Ok(Response::new(proto::CreateDownloadLinkResponse {
            uri: link.uri,
            expire_time: Some(timestamp(link.expire_time)),
        }))
    }
}

/// The key under which limits count this call.
fn caller_key<T>(request: &Request<T>) -> CallerKey {
    caller::key(request.extensions())
}

//! The service's methods: each checks its request, asks the engine or the catalog, and converts.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use prost::Message as _;
use tokio::time;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    admission::{AdmittedReview, undecodable},
    admitted::Admitted,
    authentication::{caller, log_access},
    caller,
    caller::key,
    convert::{
        PreviewRequest, StartRequest, artifact_path, check_message, completed_event, export_id,
        export_message, page_size, preview_request, report_message, start_request, time_to_live,
        timestamp, upload_id,
    },
    download::{ResponseStream, artifact_stream, bundle_stream},
    follow::{StoreFollower, ended_stream, failed_stream, run_stream},
    readers::{ReadPermit, Readers},
    status::{export_not_found, internal_fault, invalid, status},
    upload::{self, upload_message},
    vitals, waiting,
};
use crate::{
    bundle::{AcceptedTime, ArtifactPath, Destination, ExportId, preview, warnings},
    catalog::{
        Catalog, Export, ExportState, Filter, ListQuery, PagePosition, ReadError, StoredBundle,
    },
    clock::Clock,
    export::Engine,
    health::Health,
    limits::{CallerKey, Pool},
    proto::{
        self, export_option, export_service_server::ExportService, get_report_request::View,
        get_report_response,
    },
    store::{ProbeResult, ProbeStatus, StoreError, StoreKind},
};

/// A unary answer's size: clients accept 4 MiB by default, and some of it is framing.
const UNARY_LIMIT_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;
/// What is reserved for one export before it is read: its manifest, and what is made of it.
const EXPORT_BYTES: u64 = 128 * 1024;
/// The same for one of a page, which has no files in the answer.
const LISTED_BYTES: u64 = 16 * 1024;
/// The same for the checks of the stores.
const CHECKS_BYTES: u64 = 256 * 1024;
/// What a manifest or a report becomes in memory, as a multiple of its size.
const PARSED_FACTOR: u64 = 4;
/// What each object in a report's JSON becomes in memory beyond that.
const OBJECT_BYTES: u64 = 512;

/// This server's name in answers.
pub type Replica = Arc<str>;

/// The export service over an engine and a catalog.
#[derive(Debug, Clone)]
pub struct ExportApi {
    engine: Engine,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    replica: Replica,
    health: Health,
    readers: Readers,
}

impl ExportApi {
    /// The service of this server.
    pub fn new(
        engine: Engine,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        replica: Replica,
        health: Health,
        readers: Readers,
    ) -> Self {
        Self { engine, catalog, clock, replica, health, readers }
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The threads that compress archives.
    pub fn archives(&self) -> Pool {
        self.readers.archives()
    }

    /// The bundle of an export, perhaps as it was read lately.
    async fn bundle(&self, name: &str) -> Result<Arc<StoredBundle>, Status> {
        let export_id = export_id(name)?;
        let found = self.catalog.find(export_id).await?;
        found.ok_or_else(|| self.without_bundle(export_id))
    }

    /// The same as the store has it now: a download proves what is there.
    async fn bundle_now(&self, name: &str) -> Result<Arc<StoredBundle>, Status> {
        let export_id = export_id(name)?;
        let found = self.catalog.find_now(export_id).await?;
        found.ok_or_else(|| self.without_bundle(export_id))
    }

    fn without_bundle(&self, export_id: ExportId) -> Status {
        if self.engine.get(export_id).is_some() {
            let message = format!(
                "exports/{export_id} has no bundle yet, or ended without one: GetExport says how far it is"
            );
            status(Code::FailedPrecondition, "EXPORT_NOT_COMMITTED", message)
        } else {
            export_not_found(export_id)
        }
    }

    /// The export as this process, the journal or the stores know it.
    async fn export(&self, export_id: ExportId) -> Result<Export, Status> {
        let known = match self.engine.get(export_id) {
            Some(export) if matches!(export.state, ExportState::Running | ExportState::Pending) => {
                return Ok(export);
            }
            Some(ended) if ended.state != ExportState::Failed => Some(ended),
            failed_lately => match self.engine.failure(export_id).await {
                // The id names other content elsewhere, and this is what was accepted here.
                Some(failed) if failed.kept().is_some() => return Ok(failed.export().clone()),
                failed => failed_lately.or(failed.map(|failed| failed.export().clone())),
            },
        };
        // The stores know better how an export ended: another replica may have committed what
        // failed here, and what fell back may be in S3.
        let Some(known) = known else {
            let bundle = self.catalog.find(export_id).await?;
            return Ok(self.described(bundle.ok_or_else(|| export_not_found(export_id))?.export()));
        };
        // A store that does not answer keeps nobody waiting for what is known here.
        let found = self.catalog.find(export_id);
        match time::timeout(self.engine.accept_timeout(), found).await {
            Ok(Ok(Some(bundle))) => Ok(self.described(bundle.export())),
            Ok(Err(error)) if error.is_data_loss() => Err(error.into()),
            _ => Ok(known),
        }
    }

    /// A bundle with the reason why it is not in S3 yet.
    fn described(&self, mut export: Export) -> Export {
        if export.state == ExportState::FellBack
            && let Some(reason) = self.engine.setback(export.export_id)
        {
            export.state_reason = reason.to_string();
        }
        export
    }

    /// Why a page can't be had, and what can.
    fn unlisted(&self, error: ReadError) -> Status {
        match error {
            ReadError::Store(error) if self.catalog.store(StoreKind::S3).is_some() => {
                let message = format!(
                    "{error}; meanwhile the filter `stored_in = DESTINATION_LOCAL` lists what is on this server's disk"
                );
                StoreError::new(error.kind(), message).into()
            }
            error => error.into(),
        }
    }

    fn export_message(&self, export: &Export) -> proto::Export {
        export_message(export, &self.replica, true)
    }

    fn options(&self) -> Vec<proto::ExportOption> {
        use export_option::Kind;

        let has_s3 = self.engine.default_destination() == Destination::S3;
        let option =
            |kind: Kind, recommended, label: &str, explanation: &str| proto::ExportOption {
                kind: kind.into(),
                recommended,
                available: true,
                unavailable_reason: String::new(),
                label: label.to_owned(),
                explanation: explanation.to_owned(),
            };
        let mut s3 = option(
            Kind::S3,
            has_s3,
            "Save to S3",
            "The bundle is stored in the S3 bucket, where everybody with access finds it. If S3 can't take it, it \
             is kept on the server's disk, and you are told.",
        );
        if !has_s3 {
            s3.available = false;
            s3.unavailable_reason = "This server has no S3 bucket.".to_owned();
        }
        let local = option(
            Kind::Local,
            !has_s3,
            "Save on the server only",
            "The bundle is stored on the server's own disk. It is as safe as that disk, and can be downloaded.",
        );
        let cancel = option(
            Kind::Cancel,
            false,
            "Cancel",
            "Nothing is exported; the review stays as it is.",
        );
        vec![s3, local, cancel]
    }

    async fn watch(
        &self,
        export_id: ExportId,
    ) -> Result<ResponseStream<proto::ExportEvent>, Status> {
        // What was accepted here under this id ended here, whatever other content the id has elsewhere.
        if let Some(failed) = self.engine.failure(export_id).await {
            return Ok(failed_stream(&failed, &self.replica));
        }
        if let Some(bundle) = self.catalog.find(export_id).await? {
            let event = completed_event(&bundle.export(), self.clock.now(), &self.replica);
            return Ok(ended_stream(event));
        }
        if !self.catalog.is_recorded(export_id).await? {
            let message = format!(
                "exports/{export_id} is not here: to be sure it is made, send StartExport again with its request_id"
            );
            return Err(status(Code::NotFound, "EXPORT_NOT_HERE", message));
        }
        let (catalog, engine) = (self.catalog.clone(), self.engine.clone());
        let (clock, replica) = (self.clock.clone(), self.replica.clone());
        Ok(StoreFollower { export_id, catalog, engine, clock, replica }.stream())
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
        let accepted_time = AcceptedTime::new(self.clock.now());
        let (planned, warnings) = in_background(&self.engine, move || {
            let PreviewRequest { review, documents } = preview_request(decode(message)?)?;
            let warnings = warnings(&review, !documents.is_empty());
            Ok((preview(&review, &documents, accepted_time), warnings))
        })
        .await?;
        let artifacts: Vec<proto::Artifact> = planned
            .into_iter()
            .map(|artifact| proto::Artifact {
                path: artifact.path.to_string(),
                size_bytes: i64::try_from(artifact.size_bytes).unwrap_or(i64::MAX),
                sha256: String::new(),
                media_type: artifact.media_type,
            })
            .collect();
        Ok(Response::new(proto::PreviewExportResponse {
            size_bytes: artifacts
                .iter()
                .map(|artifact| artifact.size_bytes)
                .fold(0, i64::saturating_add),
            artifacts,
            options: self.options(),
            warnings: warnings
                .into_iter()
                .map(|warning| proto::Warning {
                    reason: warning.reason.as_str().to_owned(),
                    message: warning.message,
                })
                .collect(),
        }))
    }

    async fn start_export(
        &self,
        request: Request<proto::StartExportRequest>,
    ) -> Result<Response<Self::StartExportStream>, Status> {
        let AdmittedReview { message, mut permit } = admitted(&request)?;
        let caller = caller(&request);
        let message_bytes = message.len() as u64;
        let converting = in_background(&self.engine, move || start_request(decode(message)?));
        let StartRequest { request_id, content } = converting.await?;
        // Inline documents are parts of the message, and keep the whole of it.
        let inline_bytes = content.inline_bytes();
        if inline_bytes > 0 {
            permit.keep_beside(message_bytes.saturating_sub(inline_bytes));
        }
        let requested_by = caller.to_string();
        let subscription = self.engine.start(request_id, content, requested_by, permit).await?;
        log_access(
            &caller,
            "StartExport",
            &format!("exports/{}", subscription.run().export_id()),
            "",
        );
        Ok(Response::new(run_stream(subscription, self.replica.clone())))
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
            return Err(invalid("after_sequence", "0 or more"));
        };
        let run_id = request.run_id.parse().ok();
        let stream = match self.engine.watch(export_id, run_id, after_sequence) {
            Some(subscription) => run_stream(subscription, self.replica.clone()),
            None => self.watch(export_id).await?,
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
        let mut permit = self.readers.answer(&key, EXPORT_BYTES).await?;
        let export = self.export(export_id).await?;
        let files: u64 = export.artifacts.iter().map(|file| file.path.len() as u64 + 128).sum();
        permit.grow_to(PARSED_FACTOR * files).await?;
        let export = Some(self.export_message(&export));
        Ok(read_with(permit, proto::GetExportResponse { export }))
    }

    async fn list_exports(
        &self,
        request: Request<proto::ListExportsRequest>,
    ) -> Result<Response<proto::ListExportsResponse>, Status> {
        let (caller, key) = (caller(&request), caller_key(&request));
        let request = request.into_inner();
        let page_size = page_size(request.page_size)?;
        log_access(&caller, "ListExports", "", "");
        let filter =
            Filter::parse(&request.filter).map_err(|error| invalid("filter", error.to_string()))?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(
                PagePosition::from_token(token, &request.filter)
                    .map_err(|error| invalid("page_token", error.to_string()))?,
            ),
        };
        let permit = self.readers.answer(&key, page_size as u64 * LISTED_BYTES).await?;
        let page = self
            .catalog
            .list(&ListQuery { filter, after, page_size }, self.engine.without_bundle().await)
            .await
            .map_err(|error| self.unlisted(error))?;
        let mut response = proto::ListExportsResponse::default();
        let mut next = page.next;
        let mut size_bytes = 0;
        for export in &page.exports {
            let message = export_message(export, &self.replica, false);
            size_bytes += message.encoded_len() + 8;
            if size_bytes > UNARY_LIMIT_BYTES {
                break;
            }
            response.exports.push(message);
        }
        if response.exports.len() < page.exports.len() {
            // The page ends early: what did not fit comes first on the next.
            next = response
                .exports
                .len()
                .checked_sub(1)
                .map(|last| PagePosition::of(&page.exports[last]));
        }
        response.next_page_token =
            next.map(|position| position.to_token(&request.filter)).unwrap_or_default();
        Ok(read_with(permit, response))
    }

    async fn get_report(
        &self,
        request: Request<proto::GetReportRequest>,
    ) -> Result<Response<proto::GetReportResponse>, Status> {
        use get_report_response::Report;

        let (caller, key) = (caller(&request), caller_key(&request));
        let request = request.into_inner();
        let view = View::try_from(request.view)
            .map_err(|_| invalid("view", "VIEW_STRUCTURED, VIEW_JSON, VIEW_TEXT or unspecified"))?;
        let mut permit = self.readers.answer(&key, EXPORT_BYTES).await?;
        let bundle = self.bundle(&request.name).await?;
        log_access(&caller, "GetReport", &request.name, "");
        let path = match view {
            View::Unspecified | View::Structured | View::Json => {
                ArtifactPath::comprehensive_report()
            }
            View::Text => ArtifactPath::readable_report(),
        };
        let too_large = || {
            let message =
                format!("{path} is too large for one message: DownloadArtifact has no such limit");
            status(Code::FailedPrecondition, "REPORT_TOO_LARGE", message)
        };
        let size_bytes = bundle.artifact(&path)?.size_bytes;
        if size_bytes > UNARY_LIMIT_BYTES as u64 {
            return Err(too_large());
        }
        // While it waits for the report's room, it holds the manifest only.
        permit.shrink_to(PARSED_FACTOR * bundle.manifest_artifact().size_bytes);
        permit.grow_to(EXPORT_BYTES + PARSED_FACTOR * size_bytes).await?;
        let (artifact, bytes) = self.catalog.read_file(&bundle, &path).await?;
        if matches!(view, View::Unspecified | View::Structured) {
            let objects = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() as u64;
            let parsed = PARSED_FACTOR * size_bytes + OBJECT_BYTES * objects;
            permit.grow_to(EXPORT_BYTES + parsed).await?;
        }
        let sha256 = artifact.sha256.to_string();
        let unreadable = |error: String| {
            if bundle.manifest().adopted {
                let message = format!(
                    "{path} was not written by this service, and is not in its form ({error}): VIEW_JSON and \
                     DownloadArtifact give it byte for byte"
                );
                return status(Code::FailedPrecondition, "REPORT_UNREADABLE", message);
            }
            tracing::error!(
                name = request.name,
                error,
                "a report that matches its manifest can't be read"
            );
            internal_fault()
        };
        let report = match view {
            View::Json => Report::Json(bytes),
            View::Text => Report::Text(
                String::from_utf8(bytes.into()).map_err(|error| unreadable(error.to_string()))?,
            ),
            View::Unspecified | View::Structured => Report::Structured(
                report_message(&bytes).map_err(|error| unreadable(error.to_string()))?,
            ),
        };
        let response = proto::GetReportResponse { sha256, report: Some(report) };
        if response.encoded_len() > UNARY_LIMIT_BYTES {
            return Err(too_large());
        }
        Ok(read_with(permit, response))
    }

    async fn download_artifact(
        &self,
        request: Request<proto::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let (caller, key) = (caller(&request), caller_key(&request));
        let request = request.into_inner();
        let path = artifact_path(&request.path)?;
        let permit = self.readers.download(&key).await?;
        let artifact = self.bundle_now(&request.name).await?.open(&path).await?;
        log_access(&caller, "DownloadArtifact", &request.name, path.as_str());
        Ok(read_under(permit, artifact_stream(artifact, request.offset)?))
    }

    async fn download_bundle(
        &self,
        request: Request<proto::DownloadBundleRequest>,
    ) -> Result<Response<Self::DownloadBundleStream>, Status> {
        let (caller, key) = (caller(&request), caller_key(&request));
        let name = request.into_inner().name;
        let mut permit = self.readers.download(&key).await?;
        let bundle = self.bundle_now(&name).await?;
        // The manifest is in memory to the archive's end.
        let manifest_bytes = PARSED_FACTOR * bundle.manifest_artifact().size_bytes;
        permit.grow_by(manifest_bytes).await?;
        log_access(&caller, "DownloadBundle", &name, "");
        Ok(read_under(permit, bundle_stream(bundle, self.readers.archives())))
    }

    async fn check_storage(
        &self,
        request: Request<proto::CheckStorageRequest>,
    ) -> Result<Response<proto::CheckStorageResponse>, Status> {
        let permit = self.readers.answer(&caller_key(&request), CHECKS_BYTES).await?;
        log_access(&caller(&request), "CheckStorage", "", "");
        let mut results = Vec::new();
        if self.catalog.store(StoreKind::S3).is_none() {
            results.push(ProbeResult {
                check: "s3.configured",
                status: ProbeStatus::Warning,
                message: "no S3 bucket is set: bundles stay on this server's disk".to_owned(),
                hint: "set S3_BUCKET_NAME, and AWS_REGION, to store bundles in S3".to_owned(),
                duration: Duration::ZERO,
            });
        }
        let probes = join_all(self.catalog.stores().iter().map(|store| store.probe())).await;
        results.extend(probes.into_iter().flatten());
        if let Some(status) = self.engine.status().await {
            results.extend(waiting::rows(&status));
            results.extend(vitals::rows(&self.health));
        }
        let checks = results.into_iter().map(check_message).collect();
        Ok(read_with(permit, proto::CheckStorageResponse { checks }))
    }

    async fn create_upload(
        &self,
        request: Request<proto::CreateUploadRequest>,
    ) -> Result<Response<proto::CreateUploadResponse>, Status> {
        let (caller, key) = (caller(&request), key(request.extensions()));
        let status = upload::create(self.engine.uploads(), &key, request.into_inner()).await?;
        log_access(&caller, "CreateUpload", &format!("uploads/{}", status.upload_id), "");
        let upload = Some(upload_message(&status, &self.replica));
        Ok(Response::new(proto::CreateUploadResponse { upload }))
    }

    async fn get_upload(
        &self,
        request: Request<proto::GetUploadRequest>,
    ) -> Result<Response<proto::GetUploadResponse>, Status> {
        let caller = caller(&request);
        let upload_id = upload_id(&request.into_inner().name)?;
        log_access(&caller, "GetUpload", &format!("uploads/{upload_id}"), "");
        let status = self.engine.uploads().status(upload_id).await?;
        let upload = Some(upload_message(&status, &self.replica));
        Ok(Response::new(proto::GetUploadResponse { upload }))
    }

    async fn upload_document(
        &self,
        request: Request<Streaming<proto::UploadDocumentRequest>>,
    ) -> Result<Response<proto::UploadDocumentResponse>, Status> {
        let caller = caller(&request);
        let status = upload::receive_stream(self.engine.uploads().clone(), request).await?;
        log_access(&caller, "UploadDocument", &format!("uploads/{}", status.upload_id), "");
        let upload = Some(upload_message(&status, &self.replica));
        Ok(Response::new(proto::UploadDocumentResponse { upload }))
    }

    async fn upload_chunk(
        &self,
        request: Request<proto::UploadChunkRequest>,
    ) -> Result<Response<proto::UploadChunkResponse>, Status> {
        let caller = caller(&request);
        let status = upload::receive_chunk(self.engine.uploads().clone(), request).await?;
        // Not each of hundreds.
        if status.finished.is_some() {
            log_access(&caller, "UploadChunk", &format!("uploads/{}", status.upload_id), "");
        }
        let upload = Some(upload_message(&status, &self.replica));
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
        let link = self.bundle(&request.name).await?.link(&path, time_to_live).await?;
        log_access(&caller, "CreateDownloadLink", &request.name, path.as_str());
        Ok(Response::new(proto::CreateDownloadLinkResponse {
            uri: link.uri,
            expire_time: Some(timestamp(link.expire_time)),
        }))
    }
}

/// What the admission layer read and took for this request.
fn admitted<T>(request: &Request<T>) -> Result<AdmittedReview, Status> {
    Admitted::take(request).ok_or_else(|| {
        tracing::error!("a request came past the admission layer");
        internal_fault()
    })
}

/// Decodes a message that the admission layer scanned. Its documents share its bytes.
fn decode<T: prost::Message + Default>(message: Bytes) -> Result<T, Status> {
    T::decode(message).map_err(|_| undecodable())
}

/// Who the limits count this call for.
fn caller_key<T>(request: &Request<T>) -> CallerKey {
    caller::key(request.extensions())
}

/// An answer that keeps as much room as it needs while it is read: the message, and its encoding.
fn read_with<T: prost::Message>(mut permit: ReadPermit, message: T) -> Response<T> {
    permit.shrink_to(2 * message.encoded_len() as u64);
    read_under(permit, message)
}

/// An answer that keeps its room until it has been read.
fn read_under<T>(permit: ReadPermit, answer: T) -> Response<T> {
    let mut response = Response::new(answer);
    response.extensions_mut().insert(Admitted::new(permit));
    response
}

/// Does work that takes a while for large requests where it holds up no other.
pub(super) async fn in_background<T: Send + 'static>(
    engine: &Engine,
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    engine.computing().run(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "converting a request panicked");
        Err(internal_fault())
    })
}

//! A server with scripted responses, over real HTTP/2 on loopback.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{Stream, StreamExt as _, stream};
use prost::Message;
use tara_export::proto::{
    self as wire,
    automation_service_server::{AutomationService, AutomationServiceServer},
    export_service_server::{ExportService, ExportServiceServer},
};
use tara_export_client::{
    Client, FollowPolicy,
    proto::{
        self, CheckStorageResponse, DownloadArtifactResponse, DownloadBundleResponse, Export,
        ExportEvent, GetExportResponse, GetReportResponse, ListEventsResponse, ListExportsResponse,
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A StartExport or WatchExport call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Start { request_id: String },
    Watch { name: String, run_id: String, after_sequence: i64 },
}

/// The response to a StartExport or WatchExport call.
pub(crate) enum ScriptedResponse {
    Refuse(Status),
    Stream(Vec<ExportEvent>, End),
}

/// How a stream continues after its events.
pub(crate) enum End {
    Ok,
    Status(Status),
    /// The stream stays open and silent.
    Silence,
}

/// The data that the server returns, and the calls it has received.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) responses: VecDeque<ScriptedResponse>,
    pub(crate) calls: Vec<Call>,
    /// The paths and reasons of the last request's replacements.
    pub(crate) replacements: Vec<(String, String)>,
    pub(crate) exports: Vec<Export>,
    pub(crate) page_sizes: Vec<i32>,
    pub(crate) report: Option<Result<GetReportResponse, Status>>,
    pub(crate) artifact: Vec<DownloadArtifactResponse>,
    pub(crate) bundle: Vec<DownloadBundleResponse>,
    pub(crate) checks: CheckStorageResponse,
    pub(crate) link: Option<Result<proto::CreateDownloadLinkResponse, Status>>,
    pub(crate) link_requests: Vec<proto::CreateDownloadLinkRequest>,
    pub(crate) forged: ForgedResponses,
}

/// Responses that ignore the request.
#[derive(Default)]
pub(crate) struct ForgedResponses {
    pub(crate) get: Option<GetExportResponse>,
    pub(crate) list: Option<ListExportsResponse>,
    pub(crate) events: Option<ListEventsResponse>,
    pub(crate) upload: Option<proto::Upload>,
}

/// The server, reached through a relay that can drop all connections.
#[derive(Clone)]
pub(crate) struct FakeServer {
    script: Arc<Mutex<Script>>,
    connections: Arc<Mutex<JoinSet<()>>>,
    address: SocketAddr,
}

impl FakeServer {
    pub(crate) async fn start(script: Script) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend_address = backend.local_addr().unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            script: Arc::new(Mutex::new(script)),
            connections: Arc::default(),
            address: relay.local_addr().unwrap(),
        };
        let service = ExportServiceServer::new(server.clone());
        let automation = AutomationServiceServer::new(server.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .add_service(automation)
                .serve_with_incoming(TcpListenerStream::new(backend)),
        );
        let connections = server.connections.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = relay.accept().await {
                connections.lock().unwrap().spawn(async move {
                    let mut server = TcpStream::connect(backend_address).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        server
    }

    pub(crate) async fn client(&self, policy: FollowPolicy) -> Client {
        Client::connect(&format!("http://{}", self.address))
            .await
            .unwrap()
            .with_follow_policy(policy)
    }

    /// Drops every connection without a message.
    pub(crate) fn drop_connections(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn respond(&self, call: Call) -> Result<Response<Events<wire::ExportEvent>>, Status> {
        let mut script = self.script();
        script.calls.push(call);
        match script.responses.pop_front() {
            None => Err(Status::unavailable("the script has no more responses")),
            Some(ScriptedResponse::Refuse(status)) => Err(status),
            Some(ScriptedResponse::Stream(events, end)) => {
                let events = stream::iter(events.into_iter().map(|event| Ok(transcode(&event))));
                Ok(Response::new(match end {
                    End::Ok => events.boxed(),
                    End::Status(status) => events.chain(stream::iter([Err(status)])).boxed(),
                    End::Silence => events.chain(stream::pending()).boxed(),
                }))
            }
        }
    }
}

/// A status with the details that the real server adds.
pub(crate) fn status(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "tara.export.v1", []);
    Status::with_error_details(code, message, details)
}

/// Gives an event the name of the requested export, as a correct server does.
fn rename(event: &mut ExportEvent, request_id: &str) {
    event.name = format!("exports/{request_id}");
    if let Some(proto::export_event::Event::Completed(completed)) = &mut event.event
        && let Some(export) = &mut completed.export
    {
        export.name.clone_from(&event.name);
    }
}

/// Converts a message between the generated code of server and client.
fn transcode<T: Message + Default>(message: &impl Message) -> T {
    T::decode(message.encode_to_vec().as_slice()).unwrap()
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AutomationService for FakeServer {
    async fn list_events(
        &self,
        _: Request<wire::ListEventsRequest>,
    ) -> Result<Response<wire::ListEventsResponse>, Status> {
        let events = self.script().forged.events.clone().unwrap_or_default();
        Ok(Response::new(transcode(&events)))
    }

    async fn retry_events(
        &self,
        _: Request<wire::RetryEventsRequest>,
    ) -> Result<Response<wire::RetryEventsResponse>, Status> {
        Err(Status::unimplemented("RetryEvents"))
    }

    async fn list_targets(
        &self,
        _: Request<wire::ListTargetsRequest>,
    ) -> Result<Response<wire::ListTargetsResponse>, Status> {
        Err(Status::unimplemented("ListTargets"))
    }

    async fn test_target(
        &self,
        _: Request<wire::TestTargetRequest>,
    ) -> Result<Response<wire::TestTargetResponse>, Status> {
        Err(Status::unimplemented("TestTarget"))
    }

    async fn list_jobs(
        &self,
        _: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsResponse>, Status> {
        Err(Status::unimplemented("ListJobs"))
    }

    async fn run_job(
        &self,
        _: Request<wire::RunJobRequest>,
    ) -> Result<Response<wire::RunJobResponse>, Status> {
        Err(Status::unimplemented("RunJob"))
    }
}

#[tonic::async_trait]
impl ExportService for FakeServer {
    type StartExportStream = Events<wire::ExportEvent>;
    type WatchExportStream = Events<wire::ExportEvent>;
    type WatchBatchStream = Events<wire::WatchBatchResponse>;
    type DownloadArtifactStream = Events<wire::DownloadArtifactResponse>;
    type DownloadBundleStream = Events<wire::DownloadBundleResponse>;

    async fn start_export(
        &self,
        request: Request<wire::StartExportRequest>,
    ) -> Result<Response<Self::StartExportStream>, Status> {
        let wire::StartExportRequest { request_id, review, .. } = request.into_inner();
        let replacements = review.unwrap_or_default().replacements.into_iter();
        self.script().replacements = replacements.map(|entry| (entry.path, entry.reason)).collect();
        if let Some(ScriptedResponse::Stream(events, _)) = self.script().responses.front_mut() {
            events.iter_mut().for_each(|event| rename(event, &request_id));
        }
        self.respond(Call::Start { request_id })
    }

    async fn watch_export(
        &self,
        request: Request<wire::WatchExportRequest>,
    ) -> Result<Response<Self::WatchExportStream>, Status> {
        let wire::WatchExportRequest { name, run_id, after_sequence } = request.into_inner();
        self.respond(Call::Watch { name, run_id, after_sequence })
    }

    async fn preview_export(
        &self,
        _: Request<wire::PreviewExportRequest>,
    ) -> Result<Response<wire::PreviewExportResponse>, Status> {
        let mut details = ErrorDetails::with_error_info("INVALID_REVIEW", "tara.export.v1", []);
        details.add_bad_request_violation("review.document_name", "must not be empty");
        details.add_bad_request_violation("documents[1].kind", "appears twice");
        Err(Status::with_error_details(Code::InvalidArgument, "the request is wrong", details))
    }

    async fn get_export(
        &self,
        request: Request<wire::GetExportRequest>,
    ) -> Result<Response<wire::GetExportResponse>, Status> {
        if let Some(forged) = self.script().forged.get.clone() {
            return Ok(Response::new(transcode(&forged)));
        }
        let name = request.into_inner().name;
        let export = self.script().exports.iter().find(|export| export.name == name).cloned();
        let missing = || status(Code::NotFound, "EXPORT_NOT_HERE", "no such export");
        export
            .map(|export| {
                Response::new(wire::GetExportResponse { export: Some(transcode(&export)) })
            })
            .ok_or_else(missing)
    }

    /// Pages of two exports, or of one if requested. The token is the index of the next export.
    async fn list_exports(
        &self,
        request: Request<wire::ListExportsRequest>,
    ) -> Result<Response<wire::ListExportsResponse>, Status> {
        let request = request.into_inner();
        let mut script = self.script();
        script.page_sizes.push(request.page_size);
        if let Some(forged) = script.forged.list.clone() {
            return Ok(Response::new(transcode(&forged)));
        }
        let start = request.page_token.parse().unwrap_or(0);
        let limit = if request.page_size == 1 { 1 } else { 2 };
        let matching: Vec<_> = script
            .exports
            .iter()
            .filter(|export| export.document_name.contains(&request.filter))
            .collect();
        let end = (start + limit).min(matching.len());
        let next_page_token = if end < matching.len() { end.to_string() } else { String::new() };
        let exports = matching[start..end].iter().map(|export| transcode(*export)).collect();
        Ok(Response::new(wire::ListExportsResponse { exports, next_page_token }))
    }

    async fn get_report(
        &self,
        _: Request<wire::GetReportRequest>,
    ) -> Result<Response<wire::GetReportResponse>, Status> {
        self.script().report.clone().unwrap().map(|report| Response::new(transcode(&report)))
    }

    async fn download_artifact(
        &self,
        _: Request<wire::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let parts = self.script().artifact.clone();
        Ok(Response::new(stream::iter(parts.into_iter().map(|part| Ok(transcode(&part)))).boxed()))
    }

    async fn download_bundle(
        &self,
        _: Request<wire::DownloadBundleRequest>,
    ) -> Result<Response<Self::DownloadBundleStream>, Status> {
        let parts = self.script().bundle.clone();
        Ok(Response::new(stream::iter(parts.into_iter().map(|part| Ok(transcode(&part)))).boxed()))
    }

    async fn check_storage(
        &self,
        _: Request<wire::CheckStorageRequest>,
    ) -> Result<Response<wire::CheckStorageResponse>, Status> {
        Ok(Response::new(transcode(&self.script().checks)))
    }

    // Tests of most of these calls use the real server.

    async fn create_upload(
        &self,
        _request: Request<wire::CreateUploadRequest>,
    ) -> Result<Response<wire::CreateUploadResponse>, Status> {
        match self.script().forged.upload.clone() {
            Some(upload) => {
                Ok(Response::new(wire::CreateUploadResponse { upload: Some(transcode(&upload)) }))
            }
            None => Err(Status::unimplemented("")),
        }
    }

    async fn get_upload(
        &self,
        _request: Request<wire::GetUploadRequest>,
    ) -> Result<Response<wire::GetUploadResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn upload_document(
        &self,
        _request: Request<tonic::Streaming<wire::UploadDocumentRequest>>,
    ) -> Result<Response<wire::UploadDocumentResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn upload_chunk(
        &self,
        _request: Request<wire::UploadChunkRequest>,
    ) -> Result<Response<wire::UploadChunkResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn create_download_link(
        &self,
        request: Request<wire::CreateDownloadLinkRequest>,
    ) -> Result<Response<wire::CreateDownloadLinkResponse>, Status> {
        let mut script = self.script();
        script.link_requests.push(transcode(&request.into_inner()));
        script.link.clone().unwrap().map(|link| Response::new(transcode(&link)))
    }

    async fn batch_start_exports(
        &self,
        _request: Request<wire::BatchStartExportsRequest>,
    ) -> Result<Response<wire::BatchStartExportsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch_batch(
        &self,
        _request: Request<wire::WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_batch(
        &self,
        _request: Request<wire::GetBatchRequest>,
    ) -> Result<Response<wire::GetBatchResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

//! A server that says what a test wants to hear, over real HTTP/2 on loopback.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{Stream, StreamExt as _, stream};
use tara_export::{
    client::{Client, FollowPolicy},
    proto::{
        self, CheckStorageRequest, CheckStorageResponse, DownloadArtifactRequest,
        DownloadArtifactResponse, DownloadBundleRequest, DownloadBundleResponse, Export,
        ExportEvent, GetExportRequest, GetExportResponse, GetReportRequest, GetReportResponse,
        ListExportsRequest, ListExportsResponse, PreviewExportRequest, PreviewExportResponse,
        StartExportRequest, WatchExportRequest,
        export_service_server::{ExportService, ExportServiceServer},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A call that concerns one export.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Start { request_id: String },
    Watch { name: String, run_id: String, after_sequence: i64 },
}

/// What the next such call gets.
pub enum Answer {
    Refuse(Status),
    Stream(Vec<ExportEvent>, End),
}

/// How a stream goes on after its events.
pub enum End {
    Ok,
    Status(Status),
    /// Not at all.
    Silence,
}

/// What the server knows. A test fills in what it needs.
#[derive(Default)]
pub struct Script {
    pub answers: VecDeque<Answer>,
    pub calls: Vec<Call>,
    pub exports: Vec<Export>,
    pub page_sizes: Vec<i32>,
    pub report: Option<Result<GetReportResponse, Status>>,
    pub artifact: Vec<DownloadArtifactResponse>,
    pub bundle: Vec<DownloadBundleResponse>,
    pub checks: CheckStorageResponse,
    pub link: Option<Result<proto::CreateDownloadLinkResponse, Status>>,
    pub link_requests: Vec<proto::CreateDownloadLinkRequest>,
    pub lies: Lies,
}

/// Answers whatever is requested.
#[derive(Default)]
pub struct Lies {
    pub get: Option<GetExportResponse>,
    pub list: Option<ListExportsResponse>,
    pub upload: Option<proto::Upload>,
}

/// The server, reached through a relay that can cut all connections.
#[derive(Clone)]
pub struct FakeServer {
    script: Arc<Mutex<Script>>,
    connections: Arc<Mutex<JoinSet<()>>>,
    address: SocketAddr,
}

impl FakeServer {
    pub async fn start(script: Script) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend_address = backend.local_addr().unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            script: Arc::new(Mutex::new(script)),
            connections: Arc::default(),
            address: relay.local_addr().unwrap(),
        };
        let service = ExportServiceServer::new(server.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
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

    pub async fn client(&self, policy: FollowPolicy) -> Client {
        Client::connect(&format!("http://{}", self.address))
            .await
            .unwrap()
            .with_follow_policy(policy)
    }

    /// Cuts every connection without a word.
    pub fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn answer(&self, call: Call) -> Result<Response<Events<ExportEvent>>, Status> {
        let mut script = self.script();
        script.calls.push(call);
        match script.answers.pop_front() {
            None => Err(Status::unavailable("the script is at its end")),
            Some(Answer::Refuse(status)) => Err(status),
            Some(Answer::Stream(events, end)) => {
                let events = stream::iter(events.into_iter().map(Ok));
                Ok(Response::new(match end {
                    End::Ok => events.boxed(),
                    End::Status(status) => events.chain(stream::iter([Err(status)])).boxed(),
                    End::Silence => events.chain(stream::pending()).boxed(),
                }))
            }
        }
    }
}

/// A status as the real server makes it.
pub fn status(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "tara.export.v1", []);
    Status::with_error_details(code, message, details)
}

/// The event of the requested export, as a right server names it.
fn rename(event: &mut ExportEvent, request_id: &str) {
    event.name = format!("exports/{request_id}");
    if let Some(proto::export_event::Event::Completed(completed)) = &mut event.event
        && let Some(export) = &mut completed.export
    {
        export.name.clone_from(&event.name);
    }
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ExportService for FakeServer {
    type StartExportStream = Events<ExportEvent>;
    type WatchExportStream = Events<ExportEvent>;
    type DownloadArtifactStream = Events<DownloadArtifactResponse>;
    type DownloadBundleStream = Events<DownloadBundleResponse>;

    async fn start_export(
        &self,
        request: Request<StartExportRequest>,
    ) -> Result<Response<Self::StartExportStream>, Status> {
        let request_id = request.into_inner().request_id;
        if let Some(Answer::Stream(events, _)) = self.script().answers.front_mut() {
            events.iter_mut().for_each(|event| rename(event, &request_id));
        }
        self.answer(Call::Start { request_id })
    }

    async fn watch_export(
        &self,
        request: Request<WatchExportRequest>,
    ) -> Result<Response<Self::WatchExportStream>, Status> {
        let WatchExportRequest { name, run_id, after_sequence } = request.into_inner();
        self.answer(Call::Watch { name, run_id, after_sequence })
    }

    async fn preview_export(
        &self,
        _: Request<PreviewExportRequest>,
    ) -> Result<Response<PreviewExportResponse>, Status> {
        let mut details = ErrorDetails::with_error_info("INVALID_REVIEW", "tara.export.v1", []);
        details.add_bad_request_violation("review.document_name", "must not be empty");
        details.add_bad_request_violation("documents[1].kind", "stands twice");
        Err(Status::with_error_details(Code::InvalidArgument, "the request is wrong", details))
    }

    async fn get_export(
        &self,
        request: Request<GetExportRequest>,
    ) -> Result<Response<GetExportResponse>, Status> {
        if let Some(lie) = self.script().lies.get.clone() {
            return Ok(Response::new(lie));
        }
        let name = request.into_inner().name;
        let export = self.script().exports.iter().find(|export| export.name == name).cloned();
        let missing = || status(Code::NotFound, "EXPORT_NOT_HERE", "no such export");
        export
            .map(|export| Response::new(GetExportResponse { export: Some(export) }))
            .ok_or_else(missing)
    }

    /// Pages of two, or shorter when asked for less; the token is the next export's index.
    async fn list_exports(
        &self,
        request: Request<ListExportsRequest>,
    ) -> Result<Response<ListExportsResponse>, Status> {
        let request = request.into_inner();
        let mut script = self.script();
        script.page_sizes.push(request.page_size);
        if let Some(lie) = script.lies.list.clone() {
            return Ok(Response::new(lie));
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
        let exports = matching[start..end].iter().copied().cloned().collect();
        Ok(Response::new(ListExportsResponse { exports, next_page_token }))
    }

    async fn get_report(
        &self,
        _: Request<GetReportRequest>,
    ) -> Result<Response<GetReportResponse>, Status> {
        self.script().report.clone().unwrap().map(Response::new)
    }

    async fn download_artifact(
        &self,
        _: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let parts = self.script().artifact.clone();
        Ok(Response::new(stream::iter(parts.into_iter().map(Ok)).boxed()))
    }

    async fn download_bundle(
        &self,
        _: Request<DownloadBundleRequest>,
    ) -> Result<Response<Self::DownloadBundleStream>, Status> {
        let parts = self.script().bundle.clone();
        Ok(Response::new(stream::iter(parts.into_iter().map(Ok)).boxed()))
    }

    async fn check_storage(
        &self,
        _: Request<CheckStorageRequest>,
    ) -> Result<Response<CheckStorageResponse>, Status> {
        Ok(Response::new(self.script().checks.clone()))
    }

    // No test of this server's clients makes these calls: they speak to the real server.

    async fn create_upload(
        &self,
        _request: Request<proto::CreateUploadRequest>,
    ) -> Result<Response<proto::CreateUploadResponse>, Status> {
        match self.script().lies.upload.clone() {
            Some(upload) => Ok(Response::new(proto::CreateUploadResponse { upload: Some(upload) })),
            None => Err(Status::unimplemented("")),
        }
    }

    async fn get_upload(
        &self,
        _request: Request<proto::GetUploadRequest>,
    ) -> Result<Response<proto::GetUploadResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn upload_document(
        &self,
        _request: Request<tonic::Streaming<proto::UploadDocumentRequest>>,
    ) -> Result<Response<proto::UploadDocumentResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn upload_chunk(
        &self,
        _request: Request<proto::UploadChunkRequest>,
    ) -> Result<Response<proto::UploadChunkResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn create_download_link(
        &self,
        request: Request<proto::CreateDownloadLinkRequest>,
    ) -> Result<Response<proto::CreateDownloadLinkResponse>, Status> {
        let mut script = self.script();
        script.link_requests.push(request.into_inner());
        script.link.clone().unwrap().map(Response::new)
    }
}

//! Client of a tara-export server, with retries, resumable streams and uploads, and verified downloads.
//!
//! Has its own generated messages. Does not depend on the server, the AWS SDK, or the command line, which uses it
//! like any other caller.
//!
//! ```no_run
//! # use futures::TryStreamExt as _;
//! # use tara_export_client::{Client, ClientError, session};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:8080").await?;
//! let mut loaded = session::read_folder("examples/sample-review".as_ref())?;
//! for document in std::mem::take(&mut loaded.large_documents) {
//!     let uploaded = client.upload_file(&document.path, |_| {}).await?;
//!     loaded.set_uploaded(&document, &uploaded);
//! }
//! let mut events = client.export(loaded.request);
//! while let Some(event) = events.try_next().await? {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod advice;
mod batch;
mod connect;
mod document_file;
mod download;
mod error;
mod exact_json;
mod file_pieces;
mod follow;
mod health;
mod http_status;
mod jobs;
mod json;
mod names;
mod notifications;
mod paging;
mod probe;
#[allow(clippy::all, missing_docs, unreachable_pub)]
pub mod proto;
mod replaced;
mod service;
pub mod session;
mod token;
mod unary;
mod upload;
mod web;

use std::sync::{Arc, atomic::AtomicBool};

use futures::Stream;
use http::Uri;
use tonic::{Status, transport::Channel};

use connect::{ApiClient, endpoint, grpc_transport};
use service::Service;

pub use batch::BatchStream;
pub use connect::{ClientIdentity, ConnectOptions, Protocol};
pub use download::{ArtifactDownload, BundleDownload};
pub use error::{ClientError, FieldViolation, Rejection};
pub use exact_json::JsonError;
pub use follow::{EventStream, FollowPolicy, Reconnect};
pub use health::is_serving;
pub use json::{ApiMessage, request_from_json, to_json, to_json_pretty};
pub use names::{file_name_violation, is_unprintable, printable};
pub use token::Token;
pub use upload::UploadedFile;

use crate::proto::{
    CheckStorageRequest, CheckStorageResponse, Export, GetExportRequest, GetReportRequest,
    GetReportResponse, ListExportsRequest, ListExportsResponse, PreviewExportRequest,
    PreviewExportResponse, StartExportRequest, get_report_request::View,
};

/// The largest message that the client sends, in bytes. Servers have lower limits.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// The largest message that the client accepts. Servers send at most 4 MiB. A response of tiny parts
/// takes up to a hundred times its size in memory.
const MAX_RESPONSE_BYTES: usize = 5 * 1024 * 1024;

/// A connection to a tara-export server. Reconnects automatically. Cloning is cheap and shares the
/// connection.
#[derive(Debug, Clone)]
pub struct Client {
    service: Service,
    protocol: Protocol,
    follow_policy: FollowPolicy,
    observer: follow::Observer,
    /// Whether a proxy refused a large request, so that documents are uploaded in the smallest chunks.
    sends_small_chunks: Arc<AtomicBool>,
}

impl paging::PageRequest for ListExportsRequest {
    fn set_page_token(&mut self, token: String) {
        self.page_token = token;
    }
}

impl Client {
    /// Connects to a server: `http://127.0.0.1:8080`, `https://export.example.com`, `host:port` (without TLS),
    /// `dns:///host:port`, or `unix:/path` of a socket. Hosts can have underscores, or be IPv6 addresses in brackets.
    /// gRPC-Web supports URLs with a path.
    ///
    /// # Errors
    /// [`ClientError::Url`] and [`ClientError::Connect`].
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        Self::connect_with(url, ConnectOptions::default()).await
    }

    /// Connects to a server with options such as TLS, a client certificate or a token.
    ///
    /// # Errors
    /// As [`Client::connect`]; also [`ClientError::Url`] if the certificates are not usable.
    pub async fn connect_with(url: &str, options: ConnectOptions) -> Result<Self, ClientError> {
        let mut probe = None;
        let (transport, origin) = match options.protocol {
            Protocol::GrpcWeb => web::connect(url, &options).await?,
            Protocol::Grpc => {
                let endpoint = endpoint(url, &options)?;
                probe = web::probe(url, &options, endpoint.uri());
                let channel = endpoint.connect().await.map_err(|source| ClientError::Connect {
                    url: url.to_owned(),
                    source: source.into(),
                })?;
                // The channel already has an origin.
                (grpc_transport(channel), Uri::default())
            }
        };
        let service = Service::new(transport, origin, options.token, probe);
        Ok(Self::new(service, options.protocol))
    }

    /// Creates a client on a channel that the caller created. It sends no token.
    pub fn from_channel(channel: Channel) -> Self {
        let service = Service::new(grpc_transport(channel), Uri::default(), None, None);
        Self::new(service, Protocol::Grpc)
    }

    fn new(service: Service, protocol: Protocol) -> Self {
        let follow_policy = FollowPolicy::default();
        Self {
            service,
            protocol,
            follow_policy,
            observer: follow::Observer::default(),
            sends_small_chunks: Arc::default(),
        }
    }

    /// Sets the timeouts and retry delays for lost streams.
    pub fn with_follow_policy(mut self, policy: FollowPolicy) -> Self {
        self.follow_policy = policy;
        self
    }

    /// Calls `observe` whenever a stream of [`Client::export`] or [`Client::watch`] is lost, before the pause and the
    /// next attempt. It must not block.
    pub fn on_reconnect(mut self, observe: impl Fn(Reconnect) + Send + Sync + 'static) -> Self {
        self.observer = follow::Observer(Some(Arc::new(observe)));
        self
    }

    /// Exports a review and follows the export until it ends. Generates the request id if it is empty.
    ///
    /// The stream survives lost connections and server restarts: it reconnects and never yields an
    /// event of a run twice. Its last item is `completed`, `failed` or an error. The export continues
    /// if the stream is dropped.
    pub fn export(&self, request: StartExportRequest) -> EventStream {
        EventStream::start(self.service.clone(), self.follow_policy, self.observer.clone(), request)
    }

    /// Follows an export that was started earlier: `name` is exports/{export_id}. The stream is like
    /// that of [`Client::export`].
    pub fn watch(&self, name: impl Into<String>) -> EventStream {
        EventStream::watch(
            self.service.clone(),
            self.follow_policy,
            self.observer.clone(),
            name.into(),
        )
    }

    /// Returns the files that an export would write, without writing anything.
    ///
    /// # Errors
    /// The server's rejection, such as INVALID_ARGUMENT with every violated field.
    pub async fn preview(
        &self,
        request: PreviewExportRequest,
    ) -> Result<PreviewExportResponse, ClientError> {
        self.call(request, |mut service: ApiClient, request| async move {
            service.preview_export(request).await
        })
        .await
    }

    /// Reads one export with its artifacts.
    ///
    /// # Errors
    /// The server's rejection, such as NOT_FOUND.
    pub async fn get_export(&self, name: impl Into<String>) -> Result<Export, ClientError> {
        let name = name.into();
        let request = GetExportRequest { name: name.clone() };
        let call =
            |mut service: ApiClient, request| async move { service.get_export(request).await };
        let response = self.call(request, call).await?;
        let missing = ClientError::Protocol("GetExport response without an export");
        let export = response.export.ok_or(missing)?;
        names::check_export(&export, &name)?;
        Ok(export)
    }

    /// Reads one page of exports, newest first.
    ///
    /// # Errors
    /// The server's rejection, such as INVALID_ARGUMENT for an invalid filter.
    pub async fn list_page(
        &self,
        request: ListExportsRequest,
    ) -> Result<ListExportsResponse, ClientError> {
        let call =
            |mut service: ApiClient, request| async move { service.list_exports(request).await };
        let page: ListExportsResponse = self.call(request, call).await?;
        page.exports.iter().try_for_each(names::check_listed)?;
        Ok(page)
    }

    /// Lists all exports that match the request, newest first. Pages are fetched on demand. The stream
    /// ends after its first error.
    pub fn list_exports(
        &self,
        request: ListExportsRequest,
    ) -> impl Stream<Item = Result<Export, ClientError>> + Send + Unpin + 'static {
        let client = self.clone();
        paging::items(request, move |request| {
            let client = client.clone();
            async move {
                let page = client.list_page(request).await?;
                Ok((page.exports, page.next_page_token))
            }
        })
    }

    /// Reads a bundle's report.
    ///
    /// # Errors
    /// The server's rejection: NOT_FOUND; DATA_LOSS if the report does not match the manifest;
    /// REPORT_TOO_LARGE if the report can only be downloaded.
    pub async fn get_report(
        &self,
        name: impl Into<String>,
        view: View,
    ) -> Result<GetReportResponse, ClientError> {
        let request = GetReportRequest { name: name.into(), view: view.into() };
        self.call(request, |mut service: ApiClient, request| async move {
            service.get_report(request).await
        })
        .await
    }

    /// Checks the server's stores.
    ///
    /// # Errors
    /// The server's rejection. A failed check is not an error, but a row of the response.
    pub async fn check_storage(&self) -> Result<CheckStorageResponse, ClientError> {
        let request = CheckStorageRequest {};
        self.call(request, |mut service: ApiClient, request| async move {
            service.check_storage(request).await
        })
        .await
    }
}

/// Compiles the README's programs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Rejects a request that is too large for any server, before it is sent.
fn check_size(request: &StartExportRequest) -> Result<(), ClientError> {
    let size_bytes = prost::Message::encoded_len(request);
    if size_bytes > MAX_MESSAGE_BYTES {
        return Err(ClientError::RequestTooLarge { size_bytes, limit_bytes: MAX_MESSAGE_BYTES });
    }
    Ok(())
}

impl From<Status> for Box<Rejection> {
    fn from(status: Status) -> Self {
        Box::new(status.into())
    }
}

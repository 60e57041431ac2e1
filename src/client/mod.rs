//! The client: calls to a tara-export server, with what a caller would otherwise have to write.
//!
//! ```no_run
//! # use futures::TryStreamExt as _;
//! # use tara_export::client::{Client, ClientError, session};
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

mod connect;
mod download;
mod error;
mod exact_json;
mod file_pieces;
mod follow;
mod health;
mod json;
mod names;
pub mod session;
mod unary;
mod upload;
mod web;

use futures::{Stream, stream};
use http::Uri;
use tonic::{Status, service::interceptor::InterceptedService, transport::Channel};

use connect::{ApiClient, Authorization, Transport, endpoint, native};

pub use connect::{ClientIdentity, ConnectOptions, Protocol, Token};
pub use download::{ArtifactDownload, BundleDownload};
pub use error::{ClientError, FieldViolation, Rejection};
pub use exact_json::JsonError;
pub use follow::{EventStream, FollowPolicy};
pub use health::is_serving;
pub(crate) use names::is_unprintable;

pub use json::{ApiMessage, request_from_json, to_json, to_json_pretty};
pub use names::{file_name_violation, printable};
pub use upload::UploadedFile;

use crate::proto::{
    CheckStorageRequest, CheckStorageResponse, Export, GetExportRequest, GetReportRequest,
    GetReportResponse, ListExportsRequest, ListExportsResponse, PreviewExportRequest,
    PreviewExportResponse, StartExportRequest, export_service_client::ExportServiceClient,
    get_report_request::View,
};

/// The largest message that is sent, in bytes. Servers have lower limits of their own.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// The largest message that is taken. Servers send at most 4 MiB; of tiny parts, an answer takes up
/// to a hundred times its bytes in memory.
const MAX_ANSWER_BYTES: usize = 5 * 1024 * 1024;

/// A connection to a tara-export server. Cloning it is cheap and shares the connection, which is
/// made again by itself when it was lost.
#[derive(Debug, Clone)]
pub struct Client {
    service: ApiClient,
    protocol: Protocol,
    follow_policy: FollowPolicy,
}

impl Client {
    /// Connects to a server, such as `http://127.0.0.1:8080`. Without a scheme, `http://` is meant.
    ///
    /// # Errors
    /// [`ClientError::Url`] and [`ClientError::Connect`].
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        Self::connect_with(url, ConnectOptions::default()).await
    }

    /// Connects to a server that wants TLS, a certificate or a token.
    ///
    /// # Errors
    /// As [`Client::connect`]; [`ClientError::Url`] too where the certificates can't be used.
    pub async fn connect_with(url: &str, options: ConnectOptions) -> Result<Self, ClientError> {
        let (transport, origin) = match options.protocol {
            Protocol::GrpcWeb => web::connect(url, &options).await?,
            Protocol::Grpc => {
                let channel = endpoint(url, &options)?.connect().await.map_err(|source| {
                    ClientError::Connect { url: url.to_owned(), source: source.into() }
                })?;
                // The channel has its origin already.
                (native(channel), Uri::default())
            }
        };
        Ok(Self::on(transport, origin, options.protocol, options.token))
    }

    /// A client on a channel of the caller's making, which sends no token.
    pub fn from_channel(channel: Channel) -> Self {
        Self::on(native(channel), Uri::default(), Protocol::Grpc, None)
    }

    fn on(transport: Transport, origin: Uri, protocol: Protocol, token: Option<Token>) -> Self {
        let service = InterceptedService::new(transport, Authorization(token));
        let service = ExportServiceClient::with_origin(service, origin)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_ANSWER_BYTES);
        Self { service, protocol, follow_policy: FollowPolicy::default() }
    }

    /// The same client with other patience for lost streams.
    pub fn with_follow_policy(mut self, policy: FollowPolicy) -> Self {
        self.follow_policy = policy;
        self
    }

    /// Exports a review and follows it to its end. Makes the request's id when it has none.
    ///
    /// The stream survives lost connections and restarted servers: it attaches again and never
    /// yields an event of one run twice. Its last item is `completed`, `failed` or an error. The
    /// export goes on when the stream is dropped.
    pub fn export(&self, request: StartExportRequest) -> EventStream {
        EventStream::start(self.service.clone(), self.follow_policy, request)
    }

    /// Follows an export that was started before: `name` is exports/{export_id}. The stream is as
    /// that of [`Client::export`].
    pub fn watch(&self, name: impl Into<String>) -> EventStream {
        EventStream::watch(self.service.clone(), self.follow_policy, name.into())
    }

    /// Says what an export would write, and writes nothing.
    ///
    /// # Errors
    /// The server's refusal, such as INVALID_ARGUMENT with every violated field.
    pub async fn preview(
        &self,
        request: PreviewExportRequest,
    ) -> Result<PreviewExportResponse, ClientError> {
        self.call(
            request,
            |mut service, request| async move { service.preview_export(request).await },
        )
        .await
    }

    /// Reads one export with its artifacts.
    ///
    /// # Errors
    /// The server's refusal, such as NOT_FOUND.
    pub async fn get_export(&self, name: impl Into<String>) -> Result<Export, ClientError> {
        let name = name.into();
        let request = GetExportRequest { name: name.clone() };
        let call =
            |mut service: ApiClient, request| async move { service.get_export(request).await };
        let response = self.call(request, call).await?;
        let missing = ClientError::Protocol("an answer to GetExport without an export");
        let export = response.export.ok_or(missing)?;
        names::check_export(&export, &name)?;
        Ok(export)
    }

    /// Reads one page of exports, newest first.
    ///
    /// # Errors
    /// The server's refusal, such as INVALID_ARGUMENT for a filter that it can't read.
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

    /// Lists all exports that match the request, newest first, fetching pages as they are needed. The
    /// stream ends after its first error.
    pub fn list_exports(
        &self,
        request: ListExportsRequest,
    ) -> impl Stream<Item = Result<Export, ClientError>> + Send + Unpin + 'static {
        let client = self.clone();
        let pages = stream::try_unfold(Some(request), move |request| {
            let client = client.clone();
            async move {
                let Some(mut request) = request else {
                    return Ok(None);
                };
                let page = client.list_page(request.clone()).await?;
                request.page_token = page.next_page_token;
                let next = (!request.page_token.is_empty()).then_some(request);
                Ok::<_, ClientError>(Some((stream::iter(page.exports.into_iter().map(Ok)), next)))
            }
        });
        Box::pin(futures::TryStreamExt::try_flatten(pages))
    }

    /// Reads a bundle's report.
    ///
    /// # Errors
    /// The server's refusal: NOT_FOUND, DATA_LOSS where the report is not what the manifest says,
    /// REPORT_TOO_LARGE where only a download can carry it.
    pub async fn get_report(
        &self,
        name: impl Into<String>,
        view: View,
    ) -> Result<GetReportResponse, ClientError> {
        let request = GetReportRequest { name: name.into(), view: view.into() };
        self.call(request, |mut service, request| async move { service.get_report(request).await })
            .await
    }

    /// Checks the server's stores.
    ///
    /// # Errors
    /// The server's refusal; a check that fails is none, but a row of the answer.
    pub async fn check_storage(&self) -> Result<CheckStorageResponse, ClientError> {
        let request = CheckStorageRequest {};
        self.call(
            request,
            |mut service, request| async move { service.check_storage(request).await },
        )
        .await
    }
}

/// Refuses before it is sent what no server takes.
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

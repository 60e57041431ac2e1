//! Requests to a checked URL: a new connection for each, HTTP/1.1, no redirects, and limits for whatever is received.

use std::{convert::Infallible, error::Error, fmt, future, io};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};
use tokio_rustls::rustls;
use tower::Service as _;

use super::{
    CheckedUrl, Resolve,
    connector::{CheckedConnector, Denied, Unresolved},
};
use crate::{Authorities, Proxies};

/// Maximum size of a response's headers.
const HEADERS_LIMIT_BYTES: usize = 64 * 1024;
/// Maximum number of a response's headers.
const HEADERS_LIMIT: usize = 100;

type Connector = HttpsConnector<CheckedConnector>;
type Stream = MaybeHttpsStream<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// Sends requests to one URL.
#[derive(Clone)]
pub struct CheckedClient {
    url: CheckedUrl,
    connector: Connector,
}

// Without the URL, which may be a credential.
impl fmt::Debug for CheckedClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CheckedClient").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why there is no response. Contains nothing of the response, and no host that is a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The time was over.
    #[error("no response in time")]
    TimedOut,
    /// The body is larger than the limit.
    #[error("the response has more than {0} bytes")]
    TooLarge(usize),
    /// The connection failed, or what was received is not HTTP.
    #[error("{0}")]
    Failed(String),
}

impl CheckedClient {
    /// A client of this URL.
    ///
    /// # Errors
    /// A human-readable message if TLS cannot be configured.
    pub fn new(
        url: CheckedUrl,
        resolver: std::sync::Arc<dyn Resolve>,
        proxies: &Proxies,
        authorities: &Authorities,
    ) -> Result<Self, String> {
        let connector = CheckedConnector::new(url.reach(), resolver, proxies, authorities)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(authorities.client_config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self { url, connector })
    }

    /// The URL, which is shown as its host, or not at all if the host is a secret.
    pub fn url(&self) -> &CheckedUrl {
        &self.url
    }

    /// Connects, and sends nothing.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn check(&self, deadline: Instant) -> Result<(), ExchangeError> {
        in_time(deadline, self.connect()).await.map(drop)
    }

    /// Sends a request, and reads the whole response within the time.
    ///
    /// # Errors
    /// If there is no whole response, or its body is larger than the limit.
    pub async fn fetch(
        &self,
        request: Request<Full<Bytes>>,
        limit_bytes: usize,
        deadline: Instant,
    ) -> Result<Response<Bytes>, ExchangeError> {
        let reading = |response: Response<Incoming>| async move {
            let (parts, body) = response.into_parts();
            let body = in_time(deadline, read_up_to(body, limit_bytes)).await?;
            Ok(Response::from_parts(parts, body))
        };
        self.exchange(request, deadline, reading).await?
    }

    /// Sends a request whose URI is a path. Its `Host` is set. `read` reads the response; it must end by itself.
    ///
    /// # Errors
    /// If there is no status within the time.
    pub async fn exchange<T, F: Future<Output = T>>(
        &self,
        mut request: Request<Full<Bytes>>,
        deadline: Instant,
        read: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, ExchangeError> {
        let host = self.url.uri().authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host)
            .map_err(|_| ExchangeError::Failed("cannot create the request".to_owned()))?;
        request.headers_mut().insert(header::HOST, host);
        let lost = |error: hyper::Error| ExchangeError::Failed(request_failure(&error));
        let connecting = async {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(HEADERS_LIMIT_BYTES).max_headers(HEADERS_LIMIT);
            builder.handshake(self.connect().await?).await.map_err(lost)
        };
        let (mut requests, connection) = in_time(deadline, connecting).await?;
        let exchange = async {
            let answering = async { requests.send_request(request).await.map_err(lost) };
            let response = in_time(deadline, answering).await?;
            Ok(read(response).await)
        };
        // In this task, so that nothing is left of the connection when the exchange ends.
        let connection = async {
            // The exchange gets the error.
            drop(connection.await);
            future::pending::<Infallible>().await
        };
        tokio::select! {
            result = exchange => result,
            never = connection => match never {},
        }
    }

    async fn connect(&self) -> Result<Stream, ExchangeError> {
        let connecting = self.connector.clone().call(self.url.uri().clone());
        connecting.await.map_err(|error| ExchangeError::Failed(self.connection_failure(&*error)))
    }

    /// Why a connection failed. If the host is a secret, without names and addresses, which these errors contain.
    fn connection_failure(&self, error: &(dyn Error + 'static)) -> String {
        let is_host_secret = self.url.is_host_secret();
        if let Some(denied) = find::<Denied>(error) {
            return match is_host_secret {
                true => format!("the host's address is {}", denied.class),
                false => format!("the host's address {denied}"),
            };
        }
        if let Some(unresolved) = find::<Unresolved>(error) {
            return match is_host_secret {
                true => "cannot resolve the host".to_owned(),
                false => unresolved.to_string(),
            };
        }
        if let Some(failure) = find::<rustls::Error>(error) {
            return match (is_host_secret, failure) {
                (true, rustls::Error::InvalidCertificate(_)) => {
                    "the certificate is not valid".to_owned()
                }
                (true, _) => "TLS failed".to_owned(),
                (false, failure) => format!("TLS failed: {failure}"),
            };
        }
        match find::<io::Error>(error) {
            Some(error) => format!("cannot connect: {}", error.kind()),
            None => "cannot connect".to_owned(),
        }
    }
}

/// The work, unless it takes longer than until the deadline.
async fn in_time<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, ExchangeError>>,
) -> Result<T, ExchangeError> {
    time::timeout_at(deadline, work).await.unwrap_or(Err(ExchangeError::TimedOut))
}

async fn read_up_to(mut body: Incoming, limit_bytes: usize) -> Result<Bytes, ExchangeError> {
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ExchangeError::Failed(request_failure(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if content.len() + data.len() > limit_bytes {
            return Err(ExchangeError::TooLarge(limit_bytes));
        }
        content.extend_from_slice(&data);
    }
    Ok(content.freeze())
}

/// Why an exchange failed, in words that contain nothing of the response.
fn request_failure(error: &hyper::Error) -> String {
    let kind = find::<io::Error>(error).map(|error| error.kind());
    match kind {
        _ if error.is_parse_too_large() => "the response's headers are too large".to_owned(),
        _ if error.is_parse() => "the response is not HTTP".to_owned(),
        Some(kind) => format!("the connection was lost: {kind}"),
        None => "the connection was lost".to_owned(),
    }
}

/// The first error of this type among an error and its sources.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    if let Some(found) = error.downcast_ref::<E>() {
        return Some(found);
    }
    // An I/O error is not the source of what it carries.
    let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match carried {
        Some(carried) => find(carried as &(dyn Error + 'static)),
        None => find(error.source()?),
    }
}

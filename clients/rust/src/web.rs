//! gRPC-Web over HTTP/1.1, for platforms without HTTP/2.

use std::{path::PathBuf, sync::Arc};

use http::Uri;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::UnixStream;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tonic::body::Body;
use tonic_web::GrpcWebClientLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, util::BoxCloneSyncService};

use super::{
    ClientError, ClientIdentity, ConnectOptions,
    connect::{CONNECT_TIMEOUT, Transport, TransportError, UNIX_ORIGIN, full_url, socket_path},
    http_status::explained,
    probe::TlsProbe,
};

/// Creates a transport to the server at this URL, and returns it with the URL's origin. Opens a connection, to
/// report an unreachable server immediately.
///
/// # Errors
/// [`ClientError::Url`] and [`ClientError::Connect`].
pub(super) async fn connect(
    url: &str,
    options: &ConnectOptions,
) -> Result<(Transport, Uri), ClientError> {
    let invalid = |message: String| ClientError::Url { url: url.to_owned(), message };
    let full = full_url(url, options)?;
    if let Some(path) = socket_path(url) {
        let path = PathBuf::from(path);
        let connected = UnixStream::connect(&path).await;
        connected.map_err(|source| ClientError::Connect {
            url: url.to_owned(),
            source: source.into(),
        })?;
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
        });
        return Ok((transport(connector), Uri::from_static(UNIX_ORIGIN)));
    }
    let uri: Uri = full
        .parse()
        .map_err(|_| invalid("not a URL such as https://export.example.com".to_owned()))?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let tls = tls(options).map_err(|error| {
        invalid(format!("cannot use the certificates: {}", super::error::root_cause(&*error)))
    })?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let connection = connector.clone().oneshot(uri.clone()).await;
    connection.map_err(|source| ClientError::Connect { url: url.to_owned(), source })?;
    Ok((transport(connector), uri))
}

/// Sends gRPC-Web over the connector's connections.
fn transport<C: Connect + Clone + Send + Sync + 'static>(connector: C) -> Transport {
    let http = Client::builder(TokioExecutor::new()).build(connector);
    // Below the layer of gRPC-Web, which decodes the body.
    let http = http
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .map_err(TransportError::new)
        .and_then(|response| async { Ok::<_, TransportError>(explained(response).await) });
    let service = ServiceBuilder::new()
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .layer(GrpcWebClientLayer::new())
        .service(http);
    BoxCloneSyncService::new(service)
}

/// A probe of the server at this URL, with the client's certificates. `None` without TLS.
pub(super) fn probe(url: &str, options: &ConnectOptions, full: &Uri) -> Option<TlsProbe> {
    TlsProbe::new(url, full, tls(options).ok()?)
}

fn tls(options: &ConnectOptions) -> Result<ClientConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    match &options.authorities_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate?)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &options.identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { certificates_pem, key_pem }) => {
            let certificates =
                CertificateDer::pem_slice_iter(certificates_pem).collect::<Result<_, _>>()?;
            builder.with_client_auth_cert(certificates, PrivateKeyDer::from_pem_slice(key_pem)?)?
        }
    })
}

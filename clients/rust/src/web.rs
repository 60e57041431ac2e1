//! gRPC-Web over HTTP/1.1, for platforms without HTTP/2.

use std::sync::Arc;

use http::Uri;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
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
    connect::{CONNECT_TIMEOUT, Transport, TransportError, full_url},
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
    let uri: Uri = full_url(url, options)?
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
    let http = Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .map_err(TransportError::new)
        .layer(GrpcWebClientLayer::new())
        .service(http);
    Ok((BoxCloneSyncService::new(service), uri))
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

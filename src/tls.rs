//! TLS of the server: reads the files, reloads them when they change, and does handshakes.

mod plain;

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use tara_export_disk::small_file;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tracing::field::display;
use webpki::{EndEntityCert, KeyUsage};

/// Time limit of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest file that is read.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// The configured files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate chain in PEM (`TLS_CERT_FILE`).
    pub certificates: PathBuf,
    /// Its private key in PEM (`TLS_KEY_FILE`).
    pub key: PathBuf,
    /// Certificate authorities of clients in PEM (`TLS_CLIENT_CA_FILE`). `None` if clients need no certificate.
    pub client_authorities: Option<PathBuf>,
}

/// TLS cannot be configured. Names the setting, the file and the error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// The TLS configuration of the server.
#[derive(Debug)]
pub struct TlsServer {
    files: TlsFiles,
    loaded: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    contents: FileContents,
    config: Arc<ServerConfig>,
}

/// Contents of the files. Secret: must not be logged.
#[derive(PartialEq, Eq)]
struct FileContents {
    certificates: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

impl std::fmt::Debug for FileContents {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FileContents").finish_non_exhaustive()
    }
}

impl TlsServer {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = FileContents::read(&files)?;
        let config = Arc::new(server_config(&files, &contents)?);
        Ok(Self { files, loaded: RwLock::new(Loaded { contents, config }) })
    }

    /// Reads the files again. Keeps the previous configuration while the files are invalid, for example when the
    /// certificate was replaced and the key was not yet.
    pub fn refresh(&self) {
        let renewed = FileContents::read(&self.files).and_then(|contents| {
            let is_same =
                self.loaded.read().unwrap_or_else(PoisonError::into_inner).contents == contents;
            if is_same {
                return Ok(None);
            }
            let config = Arc::new(server_config(&self.files, &contents)?);
            Ok(Some(Loaded { contents, config }))
        });
        match renewed {
            Ok(None) => {}
            Ok(Some(renewed)) => {
                tracing::info!(certificates = %self.files.certificates.display(), "TLS files reloaded");
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = renewed;
            }
            Err(error) => {
                tracing::error!(%error, "cannot reload TLS files: the previous ones stay in use");
            }
        }
    }

    /// Returns connections after their handshake, each with its permit. Drops connections whose handshake fails or
    /// takes too long, and those that must close. A slow handshake does not delay others.
    pub fn accept<P: CloseSignal>(
        self: Arc<Self>,
        connections: impl Stream<Item = (TcpStream, P)> + Send + 'static,
    ) -> impl Stream<Item = (TlsStream<TcpStream>, P)> + Send + 'static {
        connections
            .map(move |(connection, permit)| {
                let config =
                    self.loaded.read().unwrap_or_else(PoisonError::into_inner).config.clone();
                // In a separate task: each handshake takes milliseconds of processor time.
                tokio::spawn(async move {
                    let stream = tokio::select! {
                        stream = handshake(connection, config) => stream?,
                        () = permit.closing() => return None,
                    };
                    Some((stream, permit))
                })
            })
            // The number of permits is the limit: a stalled handshake does not delay others.
            .buffer_unordered(usize::MAX)
            .filter_map(async |handshake| match handshake {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::error!(%error, "a handshake panicked");
                    None
                }
            })
    }
}

/// Signals that a connection must close.
pub trait CloseSignal: Send + Sync + 'static {
    /// Completes when the connection must close.
    fn closing(&self) -> impl Future<Output = ()> + Send;
}

async fn handshake(
    connection: TcpStream,
    config: Arc<ServerConfig>,
) -> Option<TlsStream<TcpStream>> {
    let peer = connection.peer_addr().ok().map(display);
    let log_failure = |error: &dyn std::fmt::Display| {
        tracing::warn!(peer, %error, "TLS handshake failed");
    };
    let accept = async {
        let mut connection = connection;
        match plain::answer(&mut connection).await? {
            None => TlsAcceptor::from(config).accept(connection).await.map(Some),
            Some(protocol) => {
                tracing::warn!(
                    peer,
                    protocol,
                    "a client sent plain HTTP to the port with TLS: it must use https://"
                );
                Ok(None)
            }
        }
    };
    match timeout(HANDSHAKE_TIMEOUT, accept).await {
        Ok(Ok(stream)) => stream,
        // Load balancers connect and close to check the port.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Ok(Err(error)) => {
            log_failure(&error);
            None
        }
        Err(_) => {
            log_failure(&"timed out");
            None
        }
    }
}

impl FileContents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            certificates: read("TLS_CERT_FILE", &files.certificates)?,
            key: read("TLS_KEY_FILE", &files.key)?,
            client_authorities: match &files.client_authorities {
                Some(path) => Some(read("TLS_CLIENT_CA_FILE", path)?),
                None => None,
            },
        })
    }
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes = small_file::read(path, LIMIT_BYTES);
    bytes.map_err(|error| file_error(setting, path, format!("cannot read the file: {error}")))
}

fn file_error(setting: &str, path: &Path, reason: impl std::fmt::Display) -> TlsError {
    TlsError(format!("{setting} {}: {reason}", path.display()))
}

fn server_config(files: &TlsFiles, contents: &FileContents) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates("TLS_CERT_FILE", &files.certificates, &contents.certificates)?;
    if let Some(warning) = chain.first().and_then(|certificate| warning(certificate)) {
        tracing::warn!("{}", file_error("TLS_CERT_FILE", &files.certificates, warning));
    }
    let key_error = |reason: String| file_error("TLS_KEY_FILE", &files.key, reason);
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| key_error("no private key in PEM (BEGIN PRIVATE KEY)".to_owned()))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?;
    let builder = match (&files.client_authorities, &contents.client_authorities) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("TLS_CLIENT_CA_FILE", path, pem)? {
                roots
                    .add(certificate)
                    .map_err(|error| file_error("TLS_CLIENT_CA_FILE", path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| file_error("TLS_CLIENT_CA_FILE", path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        key_error(format!("does not match TLS_CERT_FILE {}: {error}", files.certificates.display()))
    })?;
    // HTTP/2 for gRPC; HTTP/1.1 for gRPC-Web and /healthz.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A property of the server's certificate that some clients reject.
fn warning(certificate: &CertificateDer<'_>) -> Option<&'static str> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let (algorithms, usage) = (webpki::ALL_VERIFICATION_ALGS, KeyUsage::server_auth());
    // Without a root, verification fails in any case, and checks the certificate itself first.
    let verified = certificate
        .verify_for_usage(algorithms, &[], &[], UnixTime::now(), usage, None, None)
        .map(|_| ());
    match verified {
        Err(webpki::Error::CaUsedAsEndEntity) => Some(
            "the first certificate is a CA certificate (CA:TRUE), which many clients reject as a server's \
             certificate: use one that the CA issued for this server, see docs/security.md, section TLS",
        ),
        Err(webpki::Error::CertExpired { .. }) => {
            Some("the first certificate has expired: clients reject it")
        }
        Err(webpki::Error::CertNotValidYet { .. }) => {
            Some("the first certificate is not valid yet: clients reject it")
        }
        _ => None,
    }
}

fn certificates(
    setting: &str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(file_error(setting, path, "no certificate in PEM (BEGIN CERTIFICATE)")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn certificates_that_clients_reject_have_a_warning() {
        let warning = |change: fn(&mut CertificateParams)| {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            change(&mut params);
            let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            warning(signed.der())
        };
        assert_eq!(warning(|_| {}), None);
        let of_ca = warning(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        assert!(of_ca.unwrap().contains("CA:TRUE"));
        let expired = warning(|params| params.not_after = date_time_ymd(2020, 1, 1));
        assert!(expired.unwrap().contains("expired"));
        let future = warning(|params| params.not_before = date_time_ymd(2100, 1, 1));
        assert!(future.unwrap().contains("not valid yet"));
    }

    #[test]
    fn error_names_setting_and_path_of_invalid_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let signed = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (signed(), signed());
        let certificates = file("cert.pem", &one.cert.pem());
        let key = file("key.pem", &one.signing_key.serialize_pem());
        let other_key = file("other.pem", &other.signing_key.serialize_pem());
        let missing = folder.path().join("missing.pem");
        let files = |certificates: &PathBuf,
                     key: &PathBuf,
                     client_authorities: Option<&PathBuf>| TlsFiles {
            certificates: certificates.clone(),
            key: key.clone(),
            client_authorities: client_authorities.cloned(),
        };
        for (files, setting, path) in [
            (files(&missing, &key, None), "TLS_CERT_FILE", "missing.pem"),
            (files(&key, &key, None), "TLS_CERT_FILE", "key.pem"),
            (files(&certificates, &missing, None), "TLS_KEY_FILE", "missing.pem"),
            (files(&certificates, &certificates, None), "TLS_KEY_FILE", "cert.pem"),
            (files(&certificates, &other_key, None), "TLS_KEY_FILE", "other.pem"),
            (files(&certificates, &key, Some(&missing)), "TLS_CLIENT_CA_FILE", "missing.pem"),
            (files(&certificates, &key, Some(&key)), "TLS_CLIENT_CA_FILE", "key.pem"),
        ] {
            let message = TlsServer::open(files).unwrap_err().to_string();
            assert!(message.starts_with(setting) && message.contains(path), "{message}");
            assert!(!message.contains("BEGIN PRIVATE KEY-"), "{message}");
        }
        TlsServer::open(files(&certificates, &key, Some(&certificates))).unwrap();
    }
}

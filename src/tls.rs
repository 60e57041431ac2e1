//! TLS of the listener: files to a configuration, read again when they change, and handshakes.

use std::{
    fs::File,
    future::Future,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tracing::field::display;

/// How long a client may take for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// More is no file of certificates.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// The files that settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those between it and its authority, PEM (`TLS_CERT_FILE`).
    pub certificates: PathBuf,
    /// Its private key, PEM (`TLS_KEY_FILE`).
    pub key: PathBuf,
    /// Authorities of clients' certificates, PEM; none: clients need no certificate (`TLS_CLIENT_CA_FILE`).
    pub client_authorities: Option<PathBuf>,
}

/// Why there can be no TLS: the setting, the file, and what is wrong with it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// The server's side of TLS.
#[derive(Debug)]
pub struct TlsServer {
    files: TlsFiles,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    read: FileContents,
    config: Arc<ServerConfig>,
}

/// What the files said. Not to be logged.
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
        let read = FileContents::read(&files)?;
        let config = Arc::new(configuration(&files, &read)?);
        Ok(Self { files, current: RwLock::new(Current { read, config }) })
    }

    /// Reads the files again. What they said before holds as long as they can't be used, as in the moment
    /// in which a new certificate lies there beside the old key.
    pub fn refresh(&self) {
        let renewed = FileContents::read(&self.files).and_then(|read| {
            let is_same = self.current.read().unwrap_or_else(PoisonError::into_inner).read == read;
            if is_same {
                return Ok(None);
            }
            let config = Arc::new(configuration(&self.files, &read)?);
            Ok(Some(Current { read, config }))
        });
        match renewed {
            Ok(None) => {}
            Ok(Some(renewed)) => {
                tracing::info!(certificates = %self.files.certificates.display(), "TLS files read again");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
            }
            Err(error) => tracing::error!(%error, "the TLS files read before hold on"),
        }
    }

    /// Connections whose handshake is done, each with its place among all connections. Those that fail, take
    /// too long, or must close for others are dropped, and do not delay others.
    pub fn accept<P: Place>(
        self: Arc<Self>,
        connections: impl Stream<Item = (TcpStream, P)> + Send + 'static,
    ) -> impl Stream<Item = (TlsStream<TcpStream>, P)> + Send + 'static {
        connections
            .map(move |(connection, place)| {
                let config =
                    self.current.read().unwrap_or_else(PoisonError::into_inner).config.clone();
                // A task of its own: handshakes take milliseconds of a processor each.
                tokio::spawn(async move {
                    let stream = tokio::select! {
                        stream = handshake(connection, config) => stream?,
                        () = place.closing() => return None,
                    };
                    Some((stream, place))
                })
            })
            // As many as there are places: a handshake that stands still does not delay others.
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

/// What a connection needs to stay open.
pub trait Place: Send + Sync + 'static {
    /// Waits until the connection must close.
    fn closing(&self) -> impl Future<Output = ()> + Send;
}

async fn handshake(
    connection: TcpStream,
    config: Arc<ServerConfig>,
) -> Option<TlsStream<TcpStream>> {
    let peer = connection.peer_addr().ok().map(display);
    let refused = |error: &dyn std::fmt::Display| {
        tracing::warn!(peer, %error, "refused: no TLS connection");
    };
    match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(connection)).await {
        Ok(Ok(stream)) => Some(stream),
        // Load balancers look whether the port is open, and go.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Ok(Err(error)) => {
            refused(&error);
            None
        }
        Err(_) => {
            refused(&"no handshake in time");
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
    let read = || {
        let mut bytes = Vec::new();
        // What the system reports as the size is none of a pipe's or a device's.
        File::open(path)?.take(LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LIMIT_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 4 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|error| fault(setting, path, format!("can't be read: {error}")))
}

fn fault(setting: &str, path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError(format!("{setting} {}: {why}", path.display()))
}

fn configuration(files: &TlsFiles, read: &FileContents) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates("TLS_CERT_FILE", &files.certificates, &read.certificates)?;
    let key_fault = |why: String| fault("TLS_KEY_FILE", &files.key, why);
    let key = PrivateKeyDer::from_pem_slice(&read.key)
        .map_err(|_| key_fault("has no private key in PEM (BEGIN PRIVATE KEY)".to_owned()))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?;
    let builder = match (&files.client_authorities, &read.client_authorities) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("TLS_CLIENT_CA_FILE", path, pem)? {
                roots.add(certificate).map_err(|error| fault("TLS_CLIENT_CA_FILE", path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| fault("TLS_CLIENT_CA_FILE", path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        key_fault(format!(
            "does not go with TLS_CERT_FILE {}: {error}",
            files.certificates.display()
        ))
    })?;
    // gRPC, and what else HTTP/1.1 carries: gRPC-Web and /healthz.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(
    setting: &str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(fault(setting, path, "has no certificate in PEM (BEGIN CERTIFICATE)")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_that_can_not_be_used_are_told_with_their_settings() {
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

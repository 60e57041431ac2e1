//! Access to the server that publishes an issuer's keys: proxies, certificate authorities and a bearer token.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderValue, Uri};
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tara_export_disk::small_file;
use tara_export_limits::Pool;
use tara_export_outbound::{Authorities, Environment, Proxies, ProxyConnector};
use tokio::sync::Mutex;

use super::AuthSetupError;

/// Larger files have no bearer token.
const TOKEN_LIMIT_BYTES: u64 = 64 * 1024;

type HttpsClient = Client<HttpsConnector<ProxyConnector>, Empty<Bytes>>;

/// The files that access depends on. They can change at any time: Kubernetes replaces the token of a pod every hour.
#[derive(Debug)]
pub(super) struct AccessFiles {
    authorities: Option<PathBuf>,
    token: Option<PathBuf>,
    proxies: Proxies,
    reader: Pool,
    /// Locked while the files are read: a disk that hangs has one read waiting, not one for each fetch.
    reading: Arc<Mutex<()>>,
}

/// A client and the token that it sends.
pub(super) struct Access {
    client: HttpsClient,
    has_authorities: bool,
    authorization: Option<HeaderValue>,
}

impl AccessFiles {
    /// Reads no file yet. Uses the machine's proxies except for loopback hosts: only those may publish keys without
    /// TLS, which a proxy could replace.
    pub(super) fn new(
        authorities: Option<PathBuf>,
        token: Option<PathBuf>,
    ) -> Result<Self, AuthSetupError> {
        let proxies = Proxies::of(&Environment::of_process());
        for warning in proxies.warnings() {
            tracing::warn!("{warning}");
        }
        let reader = Pool::new("issuer-files", 1)
            .map_err(|error| AuthSetupError(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            authorities,
            token,
            proxies: proxies.except_loopback(),
            reader,
            reading: Arc::default(),
        })
    }

    /// Reads the files.
    ///
    /// # Errors
    /// A message with the setting and the file.
    pub(super) async fn read(&self) -> Result<Access, String> {
        let (authorities, token) = (self.authorities.clone(), self.token.clone());
        let proxies = self.proxies.clone();
        let lock = self.reading.clone().lock_owned().await;
        let reading = self.reader.run(move || {
            let _lock = lock;
            let authorities = match authorities {
                None => Authorities::of_system(),
                Some(path) => Authorities::read(&path)
                    .map_err(|error| format!("JWT_JWKS_CA_FILE: {error}"))?,
            };
            let authorization = token.map(|path| bearer(&path)).transpose()?;
            let client = client(&authorities, &proxies)?;
            Ok(Access { client, has_authorities: !authorities.is_empty(), authorization })
        });
        reading.await.map_err(|error| error.to_string())?
    }
}

impl Access {
    /// Checks whether the server of this URL can be verified.
    pub(super) fn check(&self, uri: &Uri) -> Result<(), String> {
        if uri.scheme_str() == Some("https") && !self.has_authorities {
            return Err("this machine has no certificate authorities to verify it with \
                        (JWT_JWKS_CA_FILE, SSL_CERT_FILE)"
                .to_owned());
        }
        Ok(())
    }

    pub(super) fn client(&self) -> &HttpsClient {
        &self.client
    }

    /// The `authorization` header.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

/// The header with the token in a file. Errors do not contain the token.
fn bearer(path: &Path) -> Result<HeaderValue, String> {
    let invalid = |reason: &str| format!("JWT_JWKS_TOKEN_FILE {}: {reason}", path.display());
    let bytes = small_file::read(path, TOKEN_LIMIT_BYTES)
        .map_err(|error| invalid(&format!("cannot be read: {error}")))?;
    let token = bytes.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(invalid("is not one token in ASCII characters"));
    }
    let mut header = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
        .map_err(|_| invalid("is not one token in ASCII characters"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn client(authorities: &Authorities, proxies: &Proxies) -> Result<HttpsClient, String> {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(authorities.client_config()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(ProxyConnector::new(proxies, authorities)?);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn files_are_read_each_time_and_errors_have_the_setting_and_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let files = AccessFiles::new(None, Some(path.clone())).unwrap();
        for (content, expected) in [
            (None, Err("JWT_JWKS_TOKEN_FILE")),
            (Some("first\n"), Ok("Bearer first")),
            (Some("  second"), Ok("Bearer second")),
            (Some(""), Err("is not one token")),
            (Some("hunter2 hunter2"), Err("is not one token")),
            (Some("hunter2\nhost: evil"), Err("is not one token")),
        ] {
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let read = files.read().await;
            assert_eq!(read.is_ok(), expected.is_ok(), "{content:?}");
            match expected {
                Ok(header) => {
                    let access = read.ok().unwrap();
                    assert_eq!(access.authorization().unwrap().to_str().unwrap(), header);
                    assert!(access.authorization().unwrap().is_sensitive());
                }
                Err(part) => {
                    let error = read.err().unwrap();
                    assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
                }
            }
        }
        let files = AccessFiles::new(Some(path.clone()), None).unwrap();
        let error = files.read().await.err().unwrap();
        assert!(error.contains("JWT_JWKS_CA_FILE") && error.contains("token"), "{error}");
    }
}

//! The certificate authorities that outgoing connections trust.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::Path,
    sync::{Arc, LazyLock},
};

use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// The maximum size of a file with authorities. The system's has about 220 KiB.
const BUNDLE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// Certificates of authorities. Each was parsed.
#[derive(Clone)]
pub struct Authorities {
    certificates: Arc<[CertificateDer<'static>]>,
    is_native: bool,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Authorities").field(&self.certificates.len()).finish()
    }
}

/// A file with certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAuthorities {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The file is too large.
    #[error("{path} has more than {} MiB", BUNDLE_LIMIT_BYTES / 1024 / 1024)]
    TooLarge {
        /// The file.
        path: String,
    },
    /// The file has no certificate that can be parsed.
    #[error("{path} has no certificate of an authority in PEM format")]
    Empty {
        /// The file.
        path: String,
    },
}

/// Loaded once: reading the system's store takes many milliseconds.
static OF_SYSTEM: LazyLock<Authorities> = LazyLock::new(|| {
    let (CertificateResult { certs, errors, .. }, is_native) = of_system();
    for error in errors {
        tracing::warn!(%error, "cannot read a certificate authority of this machine (SSL_CERT_FILE, SSL_CERT_DIR)");
    }
    let authorities = Authorities { is_native, ..Authorities::parsable(certs) };
    if authorities.is_empty() {
        tracing::warn!(
            "this machine has no certificate authorities (SSL_CERT_FILE, SSL_CERT_DIR): TLS connections fail"
        );
    }
    authorities
});

/// The system's authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and whether `load_native_certs` returns
/// the same.
fn of_system() -> (CertificateResult, bool) {
    let is_empty = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    if !is_empty("SSL_CERT_FILE")
        || !is_empty("SSL_CERT_DIR")
        || std::env::var_os("SSL_CERT_FILE").is_none()
    {
        return (load_native_certs(), true);
    }
    // `load_native_certs` reads an empty variable as the path of a file.
    let found = openssl_probe::probe();
    let mut all = load_certs_from_paths(found.cert_file.as_deref(), None);
    for folder in &found.cert_dir {
        all.certs.extend(load_certs_from_paths(None, Some(folder)).certs);
    }
    (all, false)
}

impl Authorities {
    /// The authorities of this machine: of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or the system's.
    pub fn of_system() -> Self {
        OF_SYSTEM.clone()
    }

    /// The authorities in a PEM file. Skips certificates that cannot be parsed.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate that can be parsed.
    pub fn read(path: &Path) -> Result<Self, InvalidAuthorities> {
        let shown = || path.display().to_string();
        let unreadable = |source| InvalidAuthorities::Unreadable { path: shown(), source };
        // A named pipe would block forever.
        let file_type = fs::metadata(path).map_err(unreadable)?.file_type();
        if !file_type.is_file() {
            return Err(unreadable(io::Error::other("it is not a file")));
        }
        let mut pem = Vec::new();
        let file = fs::File::open(path).map_err(unreadable)?;
        file.take(BUNDLE_LIMIT_BYTES + 1).read_to_end(&mut pem).map_err(unreadable)?;
        if pem.len() as u64 > BUNDLE_LIMIT_BYTES {
            return Err(InvalidAuthorities::TooLarge { path: shown() });
        }
        let authorities = Self::parsable(CertificateDer::pem_slice_iter(&pem).flatten().collect());
        if authorities.is_empty() {
            return Err(InvalidAuthorities::Empty { path: shown() });
        }
        Ok(authorities)
    }

    fn parsable(certificates: Vec<CertificateDer<'static>>) -> Self {
        let is_parsable = |certificate: &CertificateDer<'_>| {
            webpki::anchor_from_trusted_cert(certificate).is_ok()
        };
        let certificates = certificates.into_iter().filter(is_parsable).collect();
        Self { certificates, is_native: false }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// Whether these are exactly what `rustls_native_certs::load_native_certs` returns.
    pub fn is_native(&self) -> bool {
        self.is_native
    }

    /// The certificates in DER.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// A TLS configuration that trusts these authorities.
    ///
    /// # Errors
    /// A human-readable message.
    pub fn client_config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates.iter().cloned());
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn certificates_that_cannot_be_parsed_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(&path, format!("a comment\n{}{damaged}{}", certificate(), certificate()))
            .unwrap();
        assert_eq!(Authorities::read(&path).unwrap().certificates().len(), 2);
    }

    #[test]
    fn file_without_authorities_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, missing) = (folder.path().join("empty.pem"), folder.path().join("missing.pem"));
        fs::write(&empty, "-----BEGIN CERTIFICATE-----\nnot base64!\n").unwrap();
        for (path, text) in [
            (empty.as_path(), "has no certificate of an authority in PEM format"),
            (missing.as_path(), "No such file"),
            (folder.path(), "it is not a file"),
        ] {
            let error = Authorities::read(path).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}

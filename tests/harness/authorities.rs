//! Certificate authorities and the certificates they sign.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use tara_export_client::{ClientIdentity, ConnectOptions};

/// A certificate authority made for one test.
pub(crate) struct Authority {
    key: String,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, both PEM.
pub(crate) struct Signed {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { key: key.serialize_pem(), issuer: Issuer::new(params, key), pem }
    }

    /// A server certificate for this machine.
    pub(crate) fn server(&self) -> Signed {
        let params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]);
        self.sign(params.unwrap(), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A server certificate for this machine that has expired.
    pub(crate) fn expired_server(&self) -> Signed {
        let mut params =
            CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A server certificate for another host.
    pub(crate) fn server_for(&self, host: &str) -> Signed {
        let params = CertificateParams::new([host.to_owned()]);
        self.sign(params.unwrap(), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The authority's own certificate, for a server that uses it by mistake.
    pub(crate) fn as_server(&self) -> Signed {
        Signed { certificate: self.pem.clone(), key: self.key.clone() }
    }

    /// A client certificate with a URI as its subject alternative name, as SPIFFE uses it.
    pub(crate) fn client(&self, uri: &str) -> Signed {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Signed {
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    /// Options of a client that trusts only this authority.
    pub(crate) fn trust(&self) -> ConnectOptions {
        let authorities_pem = Some(self.pem.clone().into_bytes());
        ConnectOptions { authorities_pem, ..ConnectOptions::default() }
    }
}

impl Signed {
    pub(crate) fn identity(&self) -> ClientIdentity {
        ClientIdentity {
            certificates_pem: self.certificate.clone().into_bytes(),
            key_pem: self.key.clone().into_bytes(),
        }
    }

    /// Writes both files. Returns the server flags that use them.
    pub(crate) fn flags(&self, folder: &Path) -> Vec<String> {
        self.write(folder);
        vec![
            format!("--tls-cert-file={}", folder.join("cert.pem").display()),
            format!("--tls-key-file={}", folder.join("key.pem").display()),
        ]
    }

    pub(crate) fn write(&self, folder: &Path) {
        file(folder, "cert.pem", &self.certificate);
        file(folder, "key.pem", &self.key);
    }
}

pub(crate) fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path
}

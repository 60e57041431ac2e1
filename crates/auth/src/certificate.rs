//! Names of callers that authenticate with a certificate.

use tara_export_digest::Sha256;
use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::is_name;

/// The name of a certificate: its first URI (as in SPIFFE), else its first DNS name, else its digest. The
/// listener has verified the certificate.
pub(super) fn name(der: &[u8]) -> String {
    let certificate = CertificateDer::from(der);
    let parsed = EndEntityCert::try_from(&certificate);
    let named = parsed.ok().and_then(|parsed| {
        let mut names = parsed.valid_uri_names().chain(parsed.valid_dns_names());
        names.find(|name| is_name(name)).map(str::to_owned)
    });
    named.unwrap_or_else(|| format!("certificate sha256:{}", Sha256::of(der)))
}

//! What to do about a failed connection, from its cause.

use std::{error::Error, io};

use tokio_rustls::rustls::{self, CertificateError};

/// The text of webpki's error, which rustls passes on without a type.
const CA_USED_AS_END_ENTITY: &str = "CaUsedAsEndEntity";
/// The text of h2 for a response that is not HTTP/2, such as a TLS alert or a response over HTTP/1.1.
const INVALID_FRAME: &str = "frame with invalid size";
/// In the response of a tara-export server to plain HTTP on its port with TLS.
const TLS_REQUIRED: &str = "this port requires TLS";

/// What to do about a known cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advice {
    pub text: &'static str,
    /// Whether a retry may help regardless.
    pub is_transient: bool,
}

/// What to do, if the cause is known.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<Advice> {
    let needed = |text| Some(Advice { text, is_transient: false });
    let mut next = Some(error);
    while let Some(cause) = next {
        let tls = innermost(cause).downcast_ref::<rustls::Error>();
        if let Some(text) = tls.and_then(of_tls) {
            return needed(text);
        }
        let text = cause.to_string();
        if text.contains(TLS_REQUIRED) {
            return needed("the server requires TLS: use https:// instead of http://");
        }
        if text.contains(INVALID_FRAME) {
            let text = "the server does not respond with HTTP/2 without TLS: use https:// if it has TLS, or gRPC-Web \
                        if a proxy supports only HTTP/1.1";
            return Some(Advice { text, is_transient: true });
        }
        next = cause.source();
    }
    None
}

/// The error in an I/O error, which is not its source, and may be an I/O error again.
fn innermost<'a>(mut cause: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        cause = inner;
    }
    cause
}

fn of_tls(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::InvalidCertificate(invalid) => match invalid {
            CertificateError::Other(other) if other.to_string().contains(CA_USED_AS_END_ENTITY) => {
                Some(
                    "the server's certificate is a CA certificate (CA:TRUE): the server must use one that the CA \
                     issued for it",
                )
            }
            CertificateError::UnknownIssuer => Some(
                "the issuer of the server's certificate is not trusted: trust the CA that issued it (--tls-ca-file)",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some(
                    "the server's certificate is for another host: use a host of the certificate's subject alternative \
                     names (SAN)",
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Some("the server's certificate has expired: the server needs a new one")
            }
            _ => None,
        },
        // Such as a response over HTTP/1.1.
        rustls::Error::InvalidMessage(_) => {
            Some("the server does not use TLS at this address: use http:// instead of https://")
        }
        _ => None,
    }
}

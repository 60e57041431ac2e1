//! What to do about a failed connection, from its cause.

use std::{error::Error, io};

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// The text of webpki's error, which rustls passes on without a type.
const CA_USED_AS_END_ENTITY: &str = "CaUsedAsEndEntity";
/// The text of h2 for a response that is not HTTP/2, such as a TLS alert or a response over HTTP/1.1.
const INVALID_FRAME: &str = "frame with invalid size";
/// In the response of a tara-export server to plain HTTP on its port with TLS.
pub(super) const TLS_REQUIRED: &str = "this port requires TLS";

/// The name server's answer for a host that does not exist, or a failure to ask it.
const LOOKUP: &str = "failed to lookup address information";
/// In the text of a lookup that may succeed later.
const TEMPORARY: &str = "temporary failure";
/// The text of h2 for a stream that it ends because the response breaks the protocol or a limit. A stream that the
/// server ends is "received" instead.
const DETECTED: &str = "error detected: ";

/// What to do about a known cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advice {
    pub text: &'static str,
    /// Whether a retry may help regardless.
    pub is_transient: bool,
    /// The reason of an error that a retry cannot fix (clients/README.md).
    pub reason: &'static str,
}

/// The reason of a connection that fails because of TLS (clients/README.md).
pub(super) const TLS_FAILED: &str = "TLS_FAILED";

/// What to do, if the cause is known.
pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<Advice> {
    let needed = |text| Some(Advice { text, is_transient: false, reason: TLS_FAILED });
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
            return Some(Advice { text, is_transient: true, reason: TLS_FAILED });
        }
        if text.contains(LOOKUP) {
            let is_transient = text.to_ascii_lowercase().contains(TEMPORARY);
            let text = "check the host in the server's address";
            return Some(Advice { text, is_transient, reason: "HOST_NOT_FOUND" });
        }
        if text.contains(DETECTED) {
            let text = "the response headers or trailers are beyond the limit of 64 KiB, or break the protocol: remove \
                        headers that a proxy adds";
            return Some(Advice { text, is_transient: false, reason: "RESPONSE_TOO_LARGE" });
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

/// A certificate of another authority with the same name has a wrong signature: `DecryptError`.
fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::NoCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
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
            _ => Some("check the server's certificate"),
        },
        rustls::Error::AlertReceived(alert) if is_about_certificate(*alert) => Some(
            "the server requires a client certificate of an authority that it trusts: set one \
             (--tls-client-cert-file)",
        ),
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) => {
            Some("check the certificates and the TLS versions of the server and of this client")
        }
        // Such as a response over HTTP/1.1.
        rustls::Error::InvalidMessage(_) => {
            Some("the server does not use TLS at this address: use http:// instead of https://")
        }
        _ => None,
    }
}

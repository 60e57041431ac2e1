//! The metadata of an issuer (OpenID Connect Discovery 1.0), which name the URL of its keys.

use std::net::IpAddr;

use http::Uri;
use serde::Deserialize;

use super::shown::quoted;

/// Whether keys may be fetched from this URL: `https://`, so that they cannot be replaced on the network, or `http://`
/// of a loopback host.
pub fn is_issuer_url(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| is_protected(&uri))
}

fn is_protected(uri: &Uri) -> bool {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => {
            let host = host.trim_matches(['[', ']']);
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        _ => false,
    }
}

/// The URL of an issuer's metadata (section 4.1): a slash at the end of the issuer is removed first.
pub(super) fn metadata_uri(issuer: &str) -> Option<Uri> {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let uri: Uri = issuer.parse().ok()?;
    // A query would contain the path of the metadata.
    if !is_protected(&uri) || issuer.contains(['?', '#']) {
        return None;
    }
    format!("{base}/.well-known/openid-configuration").parse().ok()
}

/// Metadata cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DiscoveryError {
    /// They are not metadata with the URL of keys.
    #[error("{0}")]
    Malformed(&'static str),
    /// They are those of another issuer.
    #[error(
        "has the metadata of the issuer {0}, but JWT_ISSUER must be exactly the issuer in the metadata; or set \
         JWT_JWKS_URL"
    )]
    OtherIssuer(String),
}

/// The URL of the keys in the metadata of this issuer. The issuer must be the same (section 4.3), or another one could
/// sign tokens in its name.
pub(super) fn keys_uri(metadata: &[u8], issuer: &str) -> Result<Uri, DiscoveryError> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(|_| {
        DiscoveryError::Malformed("is not the metadata of an issuer (issuer, jwks_uri)")
    })?;
    if metadata.issuer != issuer {
        return Err(DiscoveryError::OtherIssuer(quoted(&metadata.issuer)));
    }
    metadata.jwks_uri.parse().ok().filter(is_protected).ok_or(DiscoveryError::Malformed(
        "has a jwks_uri that is neither an https:// URL nor an http:// URL of a loopback host",
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_below_the_issuer() {
        let uri = |issuer: &str| metadata_uri(issuer).map(|uri| uri.to_string());
        let known = "/.well-known/openid-configuration";
        for (issuer, base) in [
            ("https://accounts.google.com", "https://accounts.google.com"),
            ("https://example.eu.auth0.com/", "https://example.eu.auth0.com"),
            ("https://id.example.com/realms/tara", "https://id.example.com/realms/tara"),
            ("https://login.example.com/x/v2.0/", "https://login.example.com/x/v2.0"),
            ("http://127.0.0.1:8080/realms/x", "http://127.0.0.1:8080/realms/x"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(uri(issuer), Some(format!("{base}{known}")), "{issuer}");
        }
        for issuer in [
            "accounts.google.com",
            "http://id.example.com",
            "https://a/?x=",
            "https://a/#b",
            "x",
            "/",
        ] {
            assert_eq!(uri(issuer), None, "{issuer}");
        }
    }

    #[test]
    fn keys_belong_to_the_same_issuer_and_are_protected() {
        let keys = |issuer: &str, uri: &str| {
            let metadata = serde_json::json!({"issuer": issuer, "jwks_uri": uri, "more": [1]});
            keys_uri(metadata.to_string().as_bytes(), "https://a.example/x")
        };
        let good = keys("https://a.example/x", "https://keys.example/jwks").unwrap();
        assert_eq!(good, "https://keys.example/jwks");
        for issuer in [
            "https://a.example/x/",
            "https://a.example",
            "https://A.example/x",
            "https://a.example/{tenantid}",
        ] {
            let error = keys(issuer, "https://a.example/jwks").unwrap_err();
            assert!(error.to_string().contains(issuer), "{error}");
        }
        for uri in ["http://keys.example/jwks", "/jwks", "file:///jwks", "ftp://a/b", ""] {
            let error = keys("https://a.example/x", uri).unwrap_err();
            assert!(matches!(error, DiscoveryError::Malformed(_)), "{uri}");
        }
        for metadata in ["", "[]", "{}", r#"{"issuer": ["https://a.example/x"], "jwks_uri": "x"}"#]
        {
            let error = keys_uri(metadata.as_bytes(), "https://a.example/x").unwrap_err();
            assert!(matches!(error, DiscoveryError::Malformed(_)), "{metadata}");
        }
    }
}

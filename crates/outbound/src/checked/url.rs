//! A URL of an operator, which may be a credential.

use std::{fmt, net::IpAddr};

use http::Uri;
use url::{Host, Url};

use super::address::Reach;

/// Maximum length of a URL.
pub const URL_LIMIT_BYTES: usize = 2048;

/// A URL whose host is one of the allowed ones as far as it is an address.
///
/// Shown as its host, or as `the receiver` if the whole URL is a secret.
#[derive(Clone)]
pub struct CheckedUrl {
    uri: Uri,
    reach: Reach,
    /// The host for messages; `None` if the whole URL is a secret.
    shown_host: Option<String>,
}

// Without the URL: its path and query may be credentials.
impl fmt::Debug for CheckedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for CheckedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.shown_host.as_deref().unwrap_or("the receiver"))
    }
}

/// Whether messages may contain the host of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostNames {
    /// The URL is in a file of settings.
    Shown,
    /// The URL is in a file of secrets.
    Hidden,
}

impl CheckedUrl {
    /// Parses a URL as browsers do (WHATWG), so that every spelling of an address becomes that address.
    ///
    /// # Errors
    /// What is not allowed, without the URL.
    pub fn parse(
        text: &str,
        is_private_network: bool,
        host_names: HostNames,
    ) -> Result<Self, String> {
        if text.len() > URL_LIMIT_BYTES {
            return Err(format!("has more than {URL_LIMIT_BYTES} bytes"));
        }
        // The parser skips line breaks and tabs within a URL.
        if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
            return Err("must be a URL without spaces and control characters".to_owned());
        }
        let url = Url::parse(text)
            .map_err(|error| format!("must be a URL such as https://example.com/hook: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user name or a password".to_owned());
        }
        let Some(host) = url.host() else { return Err("must be a URL with a host".to_owned()) };
        let address = match host {
            Host::Ipv4(address) => Some(IpAddr::from(address)),
            Host::Ipv6(address) => Some(IpAddr::from(address)),
            Host::Domain(_) => None,
        };
        let reach = match url.scheme() {
            "https" if is_private_network => Reach::Private,
            "https" => Reach::Public,
            "http" if !is_loopback(&host) => {
                return Err(
                    "must be an https:// URL; http:// is allowed to loopback addresses only"
                        .to_owned(),
                );
            }
            "http" if !is_private_network => {
                return Err(
                    "is an http:// URL of a loopback address, which needs \"private_network\": true"
                        .to_owned(),
                );
            }
            "http" => Reach::Loopback,
            _ => return Err("must be an https:// URL".to_owned()),
        };
        if let Some(Err(class)) = address.map(|address| reach.allows(address)) {
            return Err(format!("must not be the URL of {class}{}", advice(is_private_network)));
        }
        let shown_host = (host_names == HostNames::Shown).then(|| host.to_string());
        let uri = url.as_str().parse().map_err(|_| "contains characters that must be escaped")?;
        Ok(Self { uri, reach, shown_host })
    }

    /// The URL itself.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The addresses that its host may have.
    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether messages must not name the host, its addresses or the names of its certificate.
    pub fn is_host_secret(&self) -> bool {
        self.shown_host.is_none()
    }
}

/// The way to allow private addresses, if it is not used.
fn advice(is_private_network: bool) -> &'static str {
    if is_private_network { "" } else { "; private ones need \"private_network\": true" }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.to_canonical().is_loopback(),
        Host::Domain(name) => name.strip_suffix('.').unwrap_or(name) == "localhost",
    }
}

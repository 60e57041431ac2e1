//! Addresses of servers.

use std::net::IpAddr;

use http::Uri;

use super::connect::socket_path;

/// A parsed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    url: String,
    /// `None` for a Unix socket.
    uri: Option<Uri>,
}

impl Address {
    /// Parses a URL, a host with an optional port, `dns:///host:port`, or the path of a Unix socket. tonic itself accepts
    /// only URLs and sockets. `has_certificates` decides whether `dns:///` has TLS.
    pub(super) fn parse(text: &str, has_certificates: bool) -> Result<Self, String> {
        if let Some(path) = socket_path(text) {
            if path.is_empty() {
                return Err(
                    "not the path of a Unix socket such as unix:/run/tara-export.sock".to_owned()
                );
            }
            return Ok(Self { url: text.to_owned(), uri: None });
        }
        let url = match (text.split_once("://"), text.strip_prefix("dns:///")) {
            (_, Some(host)) if has_certificates => format!("https://{host}"),
            (_, Some(host)) => format!("http://{host}"),
            (None, None) => format!("http://{text}"),
            (Some((scheme, rest)), None) => match &*scheme.to_ascii_lowercase() {
                scheme @ ("http" | "https") => format!("{scheme}://{rest}"),
                _ => {
                    return Err("the scheme must be http://, https://, dns:/// or unix:".to_owned());
                }
            },
        };
        let uri: Uri = url.parse().map_err(|_| {
            "not a URL such as https://export.example.com or http://127.0.0.1:8080".to_owned()
        })?;
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it contains a user name: use a token".to_owned());
        }
        if uri.query().is_some() || url.contains('#') {
            return Err("it has a query or a fragment".to_owned());
        }
        if authority.host().is_empty() {
            return Err("it has no host".to_owned());
        }
        let has_port = authority.as_str().len() > authority.host().len();
        if has_port && authority.port_u16().is_none_or(|port| port == 0) {
            return Err("the port must be 1 to 65535".to_owned());
        }
        Ok(Self { url, uri: Some(uri) })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.uri.as_ref().and_then(Uri::scheme_str) == Some("https")
    }

    /// The host. `None` for a Unix socket.
    pub(super) fn host(&self) -> Option<&str> {
        self.uri.as_ref().and_then(Uri::host)
    }

    pub(super) fn has_path(&self) -> bool {
        self.uri.as_ref().is_some_and(|uri| !matches!(uri.path(), "" | "/"))
    }

    pub(super) fn into_url(self) -> String {
        self.url
    }
}

/// Whether the host is this machine by its name or address.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_urls() {
        for (address, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("HTTP://export.example.com/", "http://export.example.com/"),
            ("http://export_server:8080", "http://export_server:8080"),
            ("my_service.my_space.svc:80", "http://my_service.my_space.svc:80"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("dns:///export_server:8080", "http://export_server:8080"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(Address::parse(address, false).unwrap().into_url(), url, "{address}");
        }
        assert!(Address::parse("dns:///a:1", true).unwrap().is_tls());
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for address in [
            "",
            "http://",
            "http://:80",
            "http://x:0",
            "http://x:65536",
            "http://x:a",
            "http://x?a=b",
            "http://x#a",
            "http://user@x",
            "http://user:password@x",
            "http://a b",
            "http://[::1",
            "ftp://x",
            "dns:///",
            "unix:",
            "unix://",
        ] {
            assert!(Address::parse(address, false).is_err(), "{address}");
        }
    }

    #[test]
    fn loopback_hosts_are_known() {
        for host in ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "export.example.com",
            "10.0.0.7",
            "[::2]",
            "127.0.0.1.example.com",
            "localhost.example.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

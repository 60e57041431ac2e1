//! The mail server of a target: the setting `smtp`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::address::ascii_name;

/// The port of SMTP over TLS. Source: RFC 8314.
const TLS_PORT: u16 = 465;
/// The port of submission. Source: RFC 6409.
const SUBMISSION_PORT: u16 = 587;

/// How the conversation with a server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// TLS from the first byte: `smtps://`.
    Tls,
    /// TLS after STARTTLS, which the server must offer: `smtp://`.
    StartTls,
    /// Not encrypted: `smtp://` to this machine. Every address of the host must be a loopback address.
    Loopback,
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// A name in ASCII, or an IP address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
}

/// A text that is not the URL of a mail server. The message does not contain the text, which may have a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidServer {
    #[error("must not have credentials: set username and password_file")]
    Credentials,
    #[error("must be smtps://HOST, smtps://HOST:PORT, smtp://HOST or smtp://HOST:PORT")]
    Form,
}

impl Server {
    /// The server of a URL: `smtps://host` or `smtp://host`, with an optional port (default 465 or 587).
    ///
    /// # Errors
    /// If the text has another form, or has credentials.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidServer> {
        if url.contains('@') {
            return Err(InvalidServer::Credentials);
        }
        let (scheme, rest) = url.split_once("://").ok_or(InvalidServer::Form)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "smtps" => true,
            "smtp" => false,
            _ => return Err(InvalidServer::Form),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(authority).ok_or(InvalidServer::Form)?;
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let host = match ip {
            Some(ip) if ip.is_ipv6() == host.starts_with('[') => ip.to_string(),
            Some(_) => return Err(InvalidServer::Form),
            None => ascii_name(host).ok_or(InvalidServer::Form)?,
        };
        let is_loopback = ip.map_or(host == "localhost", |ip| ip.is_loopback());
        let security = match (is_tls, is_loopback) {
            (true, _) => Security::Tls,
            (false, true) => Security::Loopback,
            (false, false) => Security::StartTls,
        };
        let default_port = if is_tls { TLS_PORT } else { SUBMISSION_PORT };
        Ok(Self { host, port: port.unwrap_or(default_port), security })
    }

    /// The server's addresses, of which there may be none.
    ///
    /// # Errors
    /// A message: the name cannot be resolved, or has an address to which mail would be sent without encryption.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found = found.map_err(|error| format!("cannot resolve {}: {error}", self.host))?;
        let addresses: Vec<SocketAddr> = found.collect();
        let is_loopback = addresses.iter().all(|address| address.ip().is_loopback());
        match self.security == Security::Loopback && !is_loopback {
            false => Ok(addresses),
            true => Err(format!(
                "{} has an address that is not a loopback address: use smtps:// for another machine",
                self.host
            )),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "[{}]:{}", self.host, self.port),
            false => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

/// The host and the port. `None` if the port is not one.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let has_port = !authority.ends_with(']');
    match authority.rsplit_once(':').filter(|_| has_port) {
        None => Some((authority, None)),
        Some((host, port)) => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|&port| is_number && port != 0)?;
            Some((host, Some(port)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn url_decides_host_port_and_security() {
        for (url, host, port, security) in [
            ("smtps://mail.example.com", "mail.example.com", 465, Security::Tls),
            ("SMTPS://Mail.Example.com:1465/", "mail.example.com", 1465, Security::Tls),
            ("smtps://localhost", "localhost", 465, Security::Tls),
            ("smtps://[2001:db8::1]:466", "2001:db8::1", 466, Security::Tls),
            ("smtp://mail.example.com", "mail.example.com", 587, Security::StartTls),
            ("smtp://mailer:25", "mailer", 25, Security::StartTls),
            ("smtp://192.0.2.1:25", "192.0.2.1", 25, Security::StartTls),
            ("smtp://localhost.example.com", "localhost.example.com", 587, Security::StartTls),
            ("smtp://LOCALHOST:1025", "localhost", 1025, Security::Loopback),
            ("smtp://127.1.2.3:1025", "127.1.2.3", 1025, Security::Loopback),
            ("smtp://[::1]:1025", "::1", 1025, Security::Loopback),
        ] {
            let expected = Server { host: host.to_owned(), port, security };
            assert_eq!(Server::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn other_urls_are_errors_that_do_not_contain_them() {
        for url in [
            "",
            "mail.example.com",
            "https://mail.example.com",
            "smtp:mail.example.com",
            "smtp://",
            "smtp://:25",
            "smtp://mail.example.com:",
            "smtp://mail.example.com:0",
            "smtp://mail.example.com:+25",
            "smtp://mail.example.com:65536",
            "smtp://mail.example.com/path",
            "smtp://mail.example.com?tls=none",
            "smtp://mail.example.com\r\n",
            "smtp://2130706433",
            "smtp://127.1",
            "smtp://::1",
            "smtp://[127.0.0.1]",
        ] {
            assert_eq!(Server::parse(url), Err(InvalidServer::Form), "{url}");
        }
        let error = Server::parse("smtps://ada:secret@mail.example.com").unwrap_err();
        assert_eq!(error, InvalidServer::Credentials);
        assert!(error.to_string().contains("password_file"));
    }

    #[tokio::test]
    async fn name_of_this_machine_resolves_to_loopback_only() {
        let server = Server::parse("smtp://localhost:25").unwrap();
        assert!(!server.resolve().await.unwrap().is_empty());
        let elsewhere = Server { host: "192.0.2.1".to_owned(), ..server };
        assert!(elsewhere.resolve().await.unwrap_err().contains("not a loopback address"));
    }
}

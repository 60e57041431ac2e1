//! Hosts in requests, and patterns of allowed hosts.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The longest DNS name and label (RFC 1035, section 2.3.4).
const NAME_LIMIT_BYTES: usize = 253;
const LABEL_LIMIT_BYTES: usize = 63;
/// Ports that clients omit.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// The text is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host")]
pub struct InvalidHost;

/// A host with an optional port, as in `Host` and `:authority` (RFC 9110, section 7.2). Different spellings of one
/// host are equal: upper and lower case, a trailing dot, forms of an IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: HostName,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostName {
    Address(IpAddr),
    /// In lower case, without a trailing dot.
    Domain(String),
}

impl Host {
    /// The address, if the host is an IP literal.
    pub fn address(&self) -> Option<IpAddr> {
        match self.name {
            HostName::Address(address) => Some(address),
            HostName::Domain(_) => None,
        }
    }

    /// Whether the host is this machine regardless of DNS: a loopback address, or a name that RFC 6761
    /// (section 6.3) reserves for loopback.
    pub fn is_loopback(&self) -> bool {
        match &self.name {
            HostName::Address(address) => address.is_loopback(),
            HostName::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let (name, port) = match text.strip_prefix('[') {
            Some(text) => {
                let (address, port) = text.split_once(']').ok_or(InvalidHost)?;
                let address: Ipv6Addr = address.parse().map_err(|_| InvalidHost)?;
                let port = match port.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if port.is_empty() => None,
                    None => return Err(InvalidHost),
                };
                (HostName::Address(IpAddr::V6(address).to_canonical()), port)
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name.parse()?, Some(port)),
                None => (text.parse()?, None),
            },
        };
        Ok(Self { name, port: port.map_or(Ok(None), parse_port)? })
    }
}

/// A port that may be empty (RFC 3986, section 3.2.3).
fn parse_port(text: &str) -> Result<Option<u16>, InvalidHost> {
    if text.is_empty() {
        return Ok(None);
    }
    // Rust's number parser accepts a sign.
    let port = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
    port.flatten().map(Some).ok_or(InvalidHost)
}

impl FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let is_valid = name.len() <= NAME_LIMIT_BYTES && name.split('.').all(is_label);
        is_valid.then(|| Self::Domain(name.to_ascii_lowercase())).ok_or(InvalidHost)
    }
}

/// Host names consist of letters, digits and hyphens. Container names may also have underscores.
fn is_label(label: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=LABEL_LIMIT_BYTES).contains(&label.len()) && label.bytes().all(is_allowed)
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            HostName::Address(IpAddr::V4(address)) => address.fmt(formatter)?,
            HostName::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]")?,
            HostName::Domain(name) => formatter.write_str(name)?,
        }
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

/// A pattern of allowed hosts: `export.example.com`, `.example.com` (the domain and its subdomains), `192.0.2.7` or
/// `[2001:db8::7]`, each with an optional port; without one it matches all ports. `*` matches every host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    Host(Host),
    WithSubdomains(Host),
}

impl HostPattern {
    /// Whether the pattern matches this host.
    pub fn matches(&self, host: &Host) -> bool {
        let (allowed, name_matches) = match &self.0 {
            Pattern::Any => return true,
            Pattern::Host(allowed) => (allowed, allowed.name == host.name),
            Pattern::WithSubdomains(allowed) => (allowed, allowed.name.contains(&host.name)),
        };
        let port_matches = allowed.port.is_none_or(|port| match host.port {
            Some(requested) => requested == port,
            None => DEFAULT_PORTS.contains(&port),
        });
        name_matches && port_matches
    }
}

impl HostName {
    /// Whether `other` is this domain or one of its subdomains.
    fn contains(&self, other: &Self) -> bool {
        let (Self::Domain(domain), Self::Domain(name)) = (self, other) else { return false };
        name.strip_suffix(domain.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if text == "*" {
            return Ok(Self(Pattern::Any));
        }
        let Some(domain) = text.strip_prefix('.') else {
            return Ok(Self(Pattern::Host(text.parse()?)));
        };
        let domain: Host = domain.parse()?;
        match domain.name {
            HostName::Domain(_) => Ok(Self(Pattern::WithSubdomains(domain))),
            HostName::Address(_) => Err(InvalidHost),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_host_are_equal() {
        for (spelling, shown) in [
            ("localhost", "localhost"),
            ("LocalHost.", "localhost"),
            ("localhost:", "localhost"),
            ("Export.Example.COM.:8443", "export.example.com:8443"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("tara_export:8080", "tara_export:8080"),
            ("127.0.0.1.", "127.0.0.1"),
            ("192.0.2.7:08080", "192.0.2.7:8080"),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"),
            ("[2001:DB8::7]", "[2001:db8::7]"),
            ("[::ffff:192.0.2.7]:1", "192.0.2.7:1"),
        ] {
            assert_eq!(host(spelling), host(shown), "{spelling}");
            assert_eq!(host(spelling).to_string(), shown);
        }
    }

    #[test]
    fn invalid_hosts_are_rejected() {
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a..",
            "user@localhost",
            "localhost@evil.example",
            "localhost/",
            "localhost,evil.example",
            "localhost evil.example",
            "local\thost",
            "bücher.example",
            "localhost%00",
            "localhost:+80",
            "localhost:-1",
            "localhost:65536",
            "localhost:80:80",
            "localhost:http",
            "::1",
            "[::1",
            "[::1]80",
            "[::1].",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "[localhost]",
            "http://localhost",
            "*",
        ] {
            assert_eq!(text.parse::<Host>(), Err(InvalidHost), "{text}");
        }
        let label = "a".repeat(LABEL_LIMIT_BYTES);
        host(&label);
        assert!(format!("{label}a").parse::<Host>().is_err());
        assert!([label.as_str(); 5].join(".").parse::<Host>().is_err());
    }

    #[test]
    fn loopback_does_not_depend_on_dns() {
        for text in [
            "localhost:8080",
            "a.localhost",
            "127.0.0.1",
            "127.8.8.8",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(host(text).is_loopback(), "{text}");
        }
        for text in [
            "localhost.example",
            "notlocalhost",
            "127.0.0.1.example",
            "127.1",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
        ] {
            assert!(!host(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn patterns_match_their_hosts_only() {
        for (pattern, matching, other) in [
            ("*", &["evil.example", "192.0.2.7:1"][..], &[][..]),
            (
                "Export.Example.com.",
                &["export.example.com", "EXPORT.example.com.:8080"],
                &["example.com", "a.export.example.com", "export.example.com.evil.example"],
            ),
            (
                ".example.com",
                &["example.com", "a.b.example.com:8080"],
                &["notexample.com", "example.com.evil.example", "com", "192.0.2.7"],
            ),
            (
                "export.example.com:8443",
                &["export.example.com:8443"],
                &["export.example.com", "export.example.com:443", "export.example.com:8444"],
            ),
            (".example.com:443", &["example.com", "a.example.com:443"], &["example.com:80"]),
            (
                "192.0.2.7",
                &["192.0.2.7:9", "[::ffff:192.0.2.7]"],
                &["192.0.2.70", "192.0.2.7.example"],
            ),
            ("[2001:db8::7]:80", &["[2001:db8:0::7]", "[2001:db8::7]:80"], &["[2001:db8::7]:81"]),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            for text in matching {
                assert!(pattern.matches(&host(text)), "{pattern:?} {text}");
            }
            for text in other {
                assert!(!pattern.matches(&host(text)), "{pattern:?} {text}");
            }
        }
        for text in [
            "",
            ".",
            "*.example.com",
            "..example.com",
            ".192.0.2.7",
            ".[::1]",
            "a.*.b",
            "*:80",
            "2001:db8::7",
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(InvalidHost), "{text}");
        }
    }
}

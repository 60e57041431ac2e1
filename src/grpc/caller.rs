//! The client's network address, and the key under which limits count the caller.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{Extensions, HeaderMap};
use ipnet::IpNet;
use tara_export_limits::CallerKey;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tracing::field::{DisplayValue, display};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Proxies that report the addresses of their clients (`TRUSTED_PROXIES`).
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// The client's address, in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAddress {
    /// The connection has no address.
    Unknown,
    /// The peer's address, if the client is connected directly.
    Peer(SocketAddr),
    /// The client's address, as reported by a trusted proxy.
    Forwarded(IpAddr),
}

/// A layer for [`axum::middleware::from_fn_with_state`]: puts the client's address and its [`CallerKey`] into the
/// request's extensions. Authentication replaces the key with the caller's name.
pub async fn identify_client(
    State(proxies): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = match peer_address(request.extensions()) {
        Some(peer) => proxies.client(peer, request.headers()),
        None => ClientAddress::Unknown,
    };
    let key = address.ip().map_or_else(CallerKey::server, CallerKey::address);
    request.extensions_mut().insert(address);
    request.extensions_mut().insert(key);
    next.run(request).await
}

/// The key under which limits count the caller. The key of the server itself if there is no caller.
pub(super) fn key(extensions: &Extensions) -> CallerKey {
    extensions.get::<CallerKey>().cloned().unwrap_or_else(CallerKey::server)
}

impl ClientAddress {
    /// The client's address for the log, from a request's extensions. `None` if it is unknown.
    pub(super) fn for_log(extensions: &Extensions) -> Option<DisplayValue<Self>> {
        let address = extensions.get::<Self>().copied();
        address.filter(|address| *address != Self::Unknown).map(display)
    }

    fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Unknown => None,
            Self::Peer(peer) => Some(peer.ip()),
            Self::Forwarded(address) => Some(address),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => formatter.write_str("unknown"),
            Self::Peer(peer) => peer.fmt(formatter),
            Self::Forwarded(address) => address.fmt(formatter),
        }
    }
}

/// The address at the other end of the connection.
fn peer_address(extensions: &Extensions) -> Option<SocketAddr> {
    match extensions.get::<TlsConnectInfo<TcpConnectInfo>>() {
        Some(tls) => tls.get_ref().remote_addr(),
        None => extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr),
    }
}

impl TrustedProxies {
    /// Trusts proxies in these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> ClientAddress {
        let client = self.client_address(peer.ip(), headers);
        if client == peer.ip().to_canonical() {
            ClientAddress::Peer(peer)
        } else {
            ClientAddress::Forwarded(client)
        }
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the client's address. Each proxy appends the address of its own peer to `X-Forwarded-For`, so the
    /// header is read from its end, until an address is not that of a trusted proxy. The client can forge the
    /// entries to the left.
    ///
    /// An entry that is not an address ends the search, and the last address found counts. Empty entries are
    /// skipped.
    fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        // The values of several header lines are one list (RFC 9110, section 5.3).
        let lines: Vec<&[u8]> =
            headers.get_all(FORWARDED_FOR).iter().map(|line| line.as_bytes()).collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
            if !self.contain(client) {
                break;
            }
            match parse_entry(entry) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

/// An address as proxies write it: `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:443`.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = text.parse::<IpAddr>().ok();
    let address = address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(bracketed)?;
    Some(address.to_canonical())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(proxies: &[&str], peer: &str, lines: &[&[u8]]) -> String {
        let networks: Vec<IpNet> = proxies.iter().map(|text| text.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, http::HeaderValue::from_bytes(line).unwrap());
        }
        TrustedProxies::new(&networks).client_address(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn header_of_untrusted_peer_is_ignored() {
        assert_eq!(client(&[], "192.0.2.1", &[b"10.0.0.1"]), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1", &[b"10.0.0.1"]), "192.0.2.1");
    }

    #[test]
    fn first_untrusted_address_from_the_right_is_the_client() {
        let proxies = ["10.0.0.0/8", "192.0.2.7/32"];
        for (lines, expected) in [
            (&[&b"203.0.113.5"[..]][..], "203.0.113.5"),
            // The client's own entries are to the left of the proxy's.
            (&[b"198.51.100.1, 10.9.9.9, 203.0.113.5"], "203.0.113.5"),
            (&[b"198.51.100.1, 203.0.113.5, 192.0.2.7, 10.1.1.1"], "203.0.113.5"),
            // Several lines are one list.
            (&[b"198.51.100.1", b"203.0.113.5", b"10.1.1.1"], "203.0.113.5"),
            (&[b"203.0.113.5,,", b" , "], "203.0.113.5"),
            (&[b"\t203.0.113.5 \t"], "203.0.113.5"),
            // Only proxies: the first of them.
            (&[b"10.7.7.7, 10.1.1.1"], "10.7.7.7"),
            // No header, or an empty one.
            (&[], "10.0.0.1"),
            (&[b""], "10.0.0.1"),
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn entry_that_is_not_an_address_ends_the_search() {
        for line in [
            &b"203.0.113.5, unknown"[..],
            b"203.0.113.5, _hidden",
            b"203.0.113.5, 1.2.3",
            b"203.0.113.5, 192.0.2.1:port",
            b"203.0.113.5, 192.0.2.1:99999",
            b"203.0.113.5, [192.0.2.1]",
            b"203.0.113.5, [2001:db8::1",
            b"203.0.113.5, 2001:db8::1]",
            b"203.0.113.5, fe80::1%eth0",
            b"203.0.113.5, \xff",
            b"203.0.113.5, for=192.0.2.1",
        ] {
            let text = String::from_utf8_lossy(line);
            assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[line]), "10.0.0.1", "{text}");
        }
        let line = b"203.0.113.5, unknown, 10.2.2.2";
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[line]), "10.2.2.2");
    }

    #[test]
    fn addresses_with_ports_and_ipv6_are_parsed() {
        for (line, expected) in [
            (&b"203.0.113.5:61234"[..], "203.0.113.5"),
            (b"2001:db8::5", "2001:db8::5"),
            (b"[2001:db8::5]", "2001:db8::5"),
            (b"[2001:db8::5]:443", "2001:db8::5"),
            (b"::ffff:203.0.113.5", "203.0.113.5"),
            (b"203.0.113.5, ::ffff:10.1.1.1", "203.0.113.5"),
        ] {
            assert_eq!(client(&["10.0.0.0/8"], "::ffff:10.0.0.1", &[line]), expected);
        }
        assert_eq!(client(&["fd00::/8"], "fd00::1", &[b"2001:db8::5, fd00::2"]), "2001:db8::5");
    }

    proptest! {
        /// The proxy's own entry decides, regardless of what the client sends.
        #[test]
        fn forged_entries_do_not_change_the_client(forged in proptest::collection::vec("[ -~]{0,40}", 0..4)) {
            let mut lines: Vec<Vec<u8>> = forged.into_iter().map(String::into_bytes).collect();
            lines.push(b"203.0.113.5".to_vec());
            let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &lines), "203.0.113.5");
        }
    }
}

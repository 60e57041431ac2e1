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
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
use tracing::field::{DisplayValue, display};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Proxies that report the addresses of their clients (`TRUSTED_PROXIES`).
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    /// Whether every peer of the Unix socket is a trusted proxy.
    unix: bool,
}

/// The client's address, in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAddress {
    /// The connection has no address.
    Unknown,
    /// The peer's address, if the client is connected directly.
    Peer(SocketAddr),
    /// The client's address, as reported by a trusted proxy.
    Forwarded(IpAddr),
    /// The user whose process is connected over the Unix socket.
    UnixUser(u32),
}

/// The other end of the connection.
enum Peer {
    Address(SocketAddr),
    UnixUser(u32),
}

/// A layer for [`axum::middleware::from_fn_with_state`]: puts the client's address and its [`CallerKey`] into the
/// request's extensions. Authentication replaces the key with the caller's name.
pub async fn identify_client(
    State(proxies): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = match peer(request.extensions()) {
        Some(peer) => proxies.client(peer, request.headers()),
        None => ClientAddress::Unknown,
    };
    let key = address.key();
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

    fn key(self) -> CallerKey {
        match self {
            Self::Unknown => CallerKey::server(),
            Self::Peer(peer) => CallerKey::address(peer.ip()),
            Self::Forwarded(address) => CallerKey::address(address),
            Self::UnixUser(user_id) => CallerKey::unix_user(user_id),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => formatter.write_str("unknown"),
            Self::Peer(peer) => peer.fmt(formatter),
            Self::Forwarded(address) => address.fmt(formatter),
            Self::UnixUser(user_id) => write!(formatter, "unix:user={user_id}"),
        }
    }
}

fn peer(extensions: &Extensions) -> Option<Peer> {
    if let Some(unix) = extensions.get::<UdsConnectInfo>() {
        return unix.peer_cred.map(|credentials| Peer::UnixUser(credentials.uid()));
    }
    let address = match extensions.get::<TlsConnectInfo<TcpConnectInfo>>() {
        Some(tls) => tls.get_ref().remote_addr(),
        None => extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr),
    };
    address.map(Peer::Address)
}

impl TrustedProxies {
    /// Trusts proxies in these networks, and with `unix` all peers of the Unix socket.
    pub fn new(networks: &[IpNet], unix: bool) -> Self {
        Self { networks: networks.into(), unix }
    }

    fn client(&self, peer: Peer, headers: &HeaderMap) -> ClientAddress {
        match peer {
            Peer::Address(peer) => match self.client_address(Some(peer.ip()), headers) {
                Some(client) if client != peer.ip().to_canonical() => {
                    ClientAddress::Forwarded(client)
                }
                _ => ClientAddress::Peer(peer),
            },
            Peer::UnixUser(user_id) => {
                let client = self.unix.then(|| self.client_address(None, headers)).flatten();
                client.map_or(ClientAddress::UnixUser(user_id), ClientAddress::Forwarded)
            }
        }
    }

    /// Whether it is the address of a trusted proxy. `None` is a trusted proxy without an address.
    fn contain(&self, address: Option<IpAddr>) -> bool {
        address.is_none_or(|address| self.networks.iter().any(|network| network.contains(&address)))
    }

    /// Returns the client's address. Each proxy appends the address of its own peer to `X-Forwarded-For`, so the
    /// header is read from its end, until an address is not that of a trusted proxy. The client can forge the
    /// entries to the left.
    ///
    /// An entry that is not an address ends the search, and the last address found counts. Empty entries are
    /// skipped.
    fn client_address(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer.map(|peer| peer.to_canonical());
        // The values of several header lines are one list (RFC 9110, section 5.3).
        let lines: Vec<&[u8]> =
            headers.get_all(FORWARDED_FOR).iter().map(|line| line.as_bytes()).collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
            if !self.contain(client) {
                break;
            }
            match parse_entry(entry) {
                Some(address) => client = Some(address),
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
        let peer = Some(peer.parse().unwrap());
        let client = TrustedProxies::new(&networks, false).client_address(peer, &headers);
        client.unwrap().to_string()
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
    fn header_over_the_unix_socket_needs_trust() {
        let client = |unix, line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED_FOR, http::HeaderValue::from_static(line));
            let proxies = TrustedProxies::new(&["10.0.0.0/8".parse().unwrap()], unix);
            proxies.client(Peer::UnixUser(7), &headers).to_string()
        };
        assert_eq!(client(false, "203.0.113.5"), "unix:user=7");
        assert_eq!(client(true, "198.51.100.1, 203.0.113.5"), "203.0.113.5");
        assert_eq!(client(true, "203.0.113.5, 10.1.1.1"), "203.0.113.5");
        for invalid in ["", "unknown", "203.0.113.5, unix:"] {
            assert_eq!(client(true, invalid), "unix:user=7", "{invalid}");
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

//! The caller that a limit applies to.

use std::{fmt, net::IpAddr, sync::Arc};

/// A caller for the purpose of limits: an authenticated name, or a network address if callers are
/// anonymous. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallerKey(Arc<str>);

impl CallerKey {
    /// The caller with this authenticated name.
    pub fn named(name: &str) -> Self {
        Self(format!("name {name}").into())
    }

    /// An anonymous caller with this address. All IPv6 addresses of a /64 network are one caller, because a
    /// single machine usually has that many. An IPv4-mapped IPv6 address is treated as the IPv4 address.
    pub fn address(address: IpAddr) -> Self {
        let text = match address.to_canonical() {
            IpAddr::V4(address) => format!("address {address}"),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("network {a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        };
        Self(text.into())
    }

    /// An anonymous caller of this machine: a user's processes, connected over a Unix socket.
    pub fn unix_user(user_id: u32) -> Self {
        Self(format!("user {user_id}").into())
    }

    /// Whether the caller authenticated.
    pub fn is_named(&self) -> bool {
        self.0.starts_with("name ")
    }

    /// The server itself: the backlog, takeovers, and calls whose peer has no address.
    pub fn server() -> Self {
        Self("server".into())
    }
}

impl fmt::Display for CallerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(address: &str) -> CallerKey {
        CallerKey::address(address.parse().unwrap())
    }

    #[test]
    fn addresses_of_one_machine_are_one_caller() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn name_equal_to_an_address_is_another_caller() {
        assert_ne!(CallerKey::named("192.0.2.1"), of("192.0.2.1"));
        assert_ne!(CallerKey::named("server"), CallerKey::server());
        assert_ne!(CallerKey::named("7"), CallerKey::unix_user(7));
        assert!(CallerKey::named("192.0.2.1").is_named() && !of("192.0.2.1").is_named());
        assert!(!CallerKey::server().is_named());
    }
}

//! Which addresses a request to a URL of an operator may connect to.
//!
//! The table names the ranges that are not ordinary hosts of the internet. `std`'s `is_global` is unstable, and crates
//! with the same purpose know neither embedded IPv4 addresses nor metadata services.
//!
//! Sources: the IANA special-purpose address registries of IPv4 and IPv6 (RFC 6890), and the documents in the table.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use ipnet::IpNet;

/// What an address is, from the most to the least reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// A host of the internet.
    Public,
    /// A host of a private network, or a range for documentation and measurement.
    Private,
    /// This machine.
    Loopback,
    /// No host of a URL: metadata services, link-local, multicast, reserved, deprecated.
    Forbidden,
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Public => "a public address",
            Self::Private => "a private address",
            Self::Loopback => "a loopback address",
            Self::Forbidden => {
                "an address that is never allowed (link-local, metadata service, multicast or reserved)"
            }
        })
    }
}

/// The addresses that a URL may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Public ones.
    Public,
    /// Public and private ones, and this machine.
    Private,
    /// This machine only: requests without TLS.
    Loopback,
}

impl Reach {
    /// Whether this address may be connected to.
    ///
    /// # Errors
    /// What the address is.
    pub(super) fn allows(self, address: IpAddr) -> Result<(), Class> {
        let class = class_of(address);
        let is_allowed = match self {
            Self::Public => class == Class::Public,
            Self::Private => class != Class::Forbidden,
            Self::Loopback => class == Class::Loopback,
        };
        if is_allowed { Ok(()) } else { Err(class) }
    }
}

/// Ranges, the more specific ones first, each with its source.
const RANGES: [(&str, Class, &str); 46] = [
    // Metadata services and platform addresses outside of the link-local range.
    ("100.100.100.200/32", Class::Forbidden, "Alibaba Cloud, instance metadata"),
    ("168.63.129.16/32", Class::Forbidden, "Azure, platform channel of virtual machines"),
    ("192.0.0.192/32", Class::Forbidden, "Oracle Cloud, instance metadata"),
    ("fd00:ec2::/32", Class::Forbidden, "AWS, instance and container metadata over IPv6"),
    ("fd20:ce::254/128", Class::Forbidden, "Google Cloud, instance metadata over IPv6"),
    ("fd00:42::42/128", Class::Forbidden, "Scaleway, instance metadata over IPv6"),
    // IPv4.
    ("0.0.0.0/8", Class::Forbidden, "RFC 791, this network; Linux connects to this machine"),
    ("10.0.0.0/8", Class::Private, "RFC 1918"),
    ("100.64.0.0/10", Class::Private, "RFC 6598, carrier-grade NAT"),
    ("127.0.0.0/8", Class::Loopback, "RFC 1122"),
    ("169.254.0.0/16", Class::Forbidden, "RFC 3927, link-local; metadata services"),
    ("172.16.0.0/12", Class::Private, "RFC 1918"),
    ("192.0.0.0/24", Class::Private, "RFC 6890, IETF protocol assignments"),
    ("192.0.2.0/24", Class::Private, "RFC 5737, documentation"),
    ("192.31.196.0/24", Class::Private, "RFC 7535, AS112"),
    ("192.52.193.0/24", Class::Private, "RFC 7450, AMT"),
    ("192.88.99.0/24", Class::Private, "RFC 7526, former 6to4 relays"),
    ("192.168.0.0/16", Class::Private, "RFC 1918"),
    ("192.175.48.0/24", Class::Private, "RFC 7534, AS112"),
    ("198.18.0.0/15", Class::Private, "RFC 2544, benchmarks"),
    ("198.51.100.0/24", Class::Private, "RFC 5737, documentation"),
    ("203.0.113.0/24", Class::Private, "RFC 5737, documentation"),
    ("224.0.0.0/4", Class::Forbidden, "RFC 5771, multicast"),
    ("240.0.0.0/4", Class::Forbidden, "RFC 1112, reserved; RFC 919, broadcast"),
    ("0.0.0.0/0", Class::Public, "all others"),
    // IPv6.
    ("::/128", Class::Forbidden, "RFC 4291, unspecified"),
    ("::1/128", Class::Loopback, "RFC 4291"),
    ("64:ff9b::/96", Class::Public, "RFC 6052, NAT64: as the embedded address"),
    ("64:ff9b:1::/48", Class::Private, "RFC 8215, local NAT64"),
    ("100::/64", Class::Private, "RFC 6666, discarded"),
    ("2001::/32", Class::Forbidden, "RFC 4380, Teredo"),
    ("2001:10::/28", Class::Forbidden, "RFC 4843, deprecated ORCHID"),
    ("2001:20::/28", Class::Forbidden, "RFC 7343, ORCHIDv2: no addresses of hosts"),
    ("2001::/23", Class::Private, "RFC 2928, IETF protocol assignments; RFC 5180, benchmarks"),
    ("2001:db8::/32", Class::Private, "RFC 3849, documentation"),
    ("2002::/16", Class::Forbidden, "RFC 7526, deprecated 6to4"),
    ("2620:4f:8000::/48", Class::Private, "RFC 7534, AS112"),
    ("3ffe::/16", Class::Forbidden, "RFC 3701, former 6bone"),
    ("3fff::/20", Class::Private, "RFC 9637, documentation"),
    ("2000::/3", Class::Public, "RFC 4291, global unicast"),
    ("5f00::/16", Class::Private, "RFC 9602, segment routing"),
    ("fc00::/7", Class::Private, "RFC 4193, unique local"),
    ("fe80::/10", Class::Forbidden, "RFC 4291, link-local"),
    ("fec0::/10", Class::Forbidden, "RFC 3879, deprecated site-local"),
    ("ff00::/8", Class::Forbidden, "RFC 4291, multicast"),
    ("::/0", Class::Forbidden, "RFC 4291: not assigned, or deprecated IPv4-compatible"),
];

static NETWORKS: LazyLock<Vec<(IpNet, Class)>> = LazyLock::new(|| {
    let parsed = RANGES.iter().map(|(range, class, _)| Some((range.parse().ok()?, *class)));
    parsed.flatten().collect()
});

/// What an address is. An address that embeds an IPv4 address is at most as reachable as that.
pub(super) fn class_of(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(_) => listed(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => listed(mapped.into()),
            None => listed(address.into()).max(embedded(address)),
        },
    }
}

/// The class of the first range that contains the address.
fn listed(address: IpAddr) -> Class {
    let found = NETWORKS.iter().find(|(network, _)| network.contains(&address));
    found.map_or(Class::Forbidden, |(_, class)| *class)
}

/// The class of the IPv4 address that NAT64 connects to.
fn embedded(address: Ipv6Addr) -> Class {
    match address.segments() {
        [0x64, 0xff9b, 0 | 1, .., high, low] => {
            listed(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into())
        }
        _ => Class::Public,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_parsed_and_none_is_hidden_by_an_earlier_one() {
        assert_eq!(NETWORKS.len(), RANGES.len());
        for (number, (network, _)) in NETWORKS.iter().enumerate() {
            let hidden = NETWORKS[..number].iter().find(|(earlier, _)| earlier.contains(network));
            assert_eq!(hidden, None, "{network}");
        }
    }

    #[test]
    fn first_and_last_address_of_every_range_have_its_class() {
        for (network, class) in NETWORKS.iter() {
            if network.prefix_len() == 0 || *network == "64:ff9b::/96".parse::<IpNet>().unwrap() {
                continue;
            }
            for address in [network.network(), network.broadcast()] {
                assert!(class_of(address) >= *class, "{address} of {network}");
            }
        }
    }

    #[test]
    fn embedded_addresses_count() {
        for (text, class) in [
            ("::ffff:127.0.0.1", Class::Loopback),
            ("::ffff:169.254.169.254", Class::Forbidden),
            ("::ffff:93.184.216.34", Class::Public),
            ("::127.0.0.1", Class::Forbidden),
            ("64:ff9b::a9fe:a9fe", Class::Forbidden),
            ("64:ff9b::7f00:1", Class::Loopback),
            ("64:ff9b::10.0.0.1", Class::Private),
            ("64:ff9b::93.184.216.34", Class::Public),
            ("64:ff9b:1::93.184.216.34", Class::Private),
            ("64:ff9b:1::169.254.169.254", Class::Forbidden),
        ] {
            assert_eq!(class_of(text.parse().unwrap()), class, "{text}");
        }
    }

    #[test]
    fn reach_decides() {
        let verdicts = |text: &str| {
            [Reach::Public, Reach::Private, Reach::Loopback]
                .map(|reach| reach.allows(text.parse().unwrap()).is_ok())
        };
        assert_eq!(verdicts("93.184.216.34"), [true, true, false]);
        assert_eq!(verdicts("10.0.0.1"), [false, true, false]);
        assert_eq!(verdicts("127.0.0.1"), [false, true, true]);
        assert_eq!(verdicts("::1"), [false, true, true]);
        assert_eq!(verdicts("169.254.169.254"), [false, false, false]);
        assert_eq!(verdicts("255.255.255.255"), [false, false, false]);
    }
}

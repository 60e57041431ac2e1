//! The addresses that requests may name: the setting `NOTIFY_RECIPIENTS`.

use super::address::{EmailAddress, ascii_domain};

/// Maximum number of domains.
const MAX_DOMAINS: usize = 100;

/// The domains of addresses that requests may name. Empty by default: no address is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedRecipients {
    domains: Vec<Domain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Domain {
    Exactly(String),
    /// With the dot before it: `.example.com`.
    Below(String),
}

/// A text that is not a list of domains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAllowedRecipients {
    /// A part that is not a domain.
    #[error("{0:?} is not a domain such as example.com or *.example.com")]
    NotADomain(String),
    /// Too many domains.
    #[error("{0} domains are too many; at most {MAX_DOMAINS} are allowed")]
    TooMany(usize),
}

impl AllowedRecipients {
    /// The domains of a list such as `example.com, *.example.com`. `example.com` allows addresses of exactly this
    /// domain, `*.example.com` those of all domains below it.
    ///
    /// # Errors
    /// A part of the list is not a domain, or there are more than 100.
    pub fn parse(list: &str) -> Result<Self, InvalidAllowedRecipients> {
        let parts: Vec<&str> =
            list.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.len() > MAX_DOMAINS {
            return Err(InvalidAllowedRecipients::TooMany(parts.len()));
        }
        let domain = |part: &str| match part.strip_prefix("*.") {
            Some(parent) => ascii_domain(parent).map(|parent| Domain::Below(format!(".{parent}"))),
            None => ascii_domain(part).map(Domain::Exactly),
        };
        let invalid =
            |part: &str| InvalidAllowedRecipients::NotADomain(part.chars().take(80).collect());
        let domains = parts.iter().map(|part| domain(part).ok_or_else(|| invalid(part)));
        Ok(Self { domains: domains.collect::<Result<_, _>>()? })
    }

    /// Whether no address is allowed.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Whether requests may name this address.
    pub fn allow(&self, address: &EmailAddress) -> bool {
        self.domains.iter().any(|domain| match domain {
            Domain::Exactly(domain) => address.domain() == domain,
            Domain::Below(parent) => address.domain().ends_with(parent.as_str()),
        })
    }
}

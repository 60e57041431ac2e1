//! An e-mail address.

use std::fmt;

use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};
use lettre::Address;

use super::line::is_unprintable;

/// Maximum length of an address. Source: RFC 5321, section 4.5.3.1.3, without the angle brackets.
const ADDRESS_LIMIT_BYTES: usize = 254;
/// Maximum length of the part before the `@`. Source: RFC 5321, section 4.5.3.1.1.
const LOCAL_PART_LIMIT_BYTES: usize = 64;

/// An address that mail can be sent to: `local@domain`, with a domain in ASCII, in lower case and without a final dot.
///
/// Accepts less than RFC 5321. Quoted local parts, comments, address literals and source routes (`@a:b@c`, `b%c@a`,
/// `a!b@c`) are refused, because mail servers read them in different ways. Domains in other scripts are accepted, and
/// become ASCII by UTS 46.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailAddress {
    text: String,
    domain_start: usize,
}

/// A text that is not an address that mail can be sent to. The message does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Too long.
    #[error("an e-mail address has at most {ADDRESS_LIMIT_BYTES} bytes")]
    TooLong,
    /// A line break, or a character that is invisible.
    #[error("an e-mail address has no control characters and no invisible characters")]
    Unprintable,
    /// Not one `@`.
    #[error("an e-mail address has the form name@example.com")]
    Form,
    /// The part before the `@`.
    #[error(
        "the part before the @ of an e-mail address must have 1 to {LOCAL_PART_LIMIT_BYTES} letters of a to z, digits, \
         and any of .#$&'*+-=?^_{{}}~, without a dot at its ends or two in sequence, and must not \
         start with -"
    )]
    LocalPart,
    /// The part after the `@`.
    #[error("the part after the @ of an e-mail address must be a domain name, such as example.com")]
    Domain,
}

impl EmailAddress {
    /// The address in this text.
    ///
    /// # Errors
    /// What the address violates.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        // A domain in another script may become longer, so the result is measured too.
        if text.len() > ADDRESS_LIMIT_BYTES {
            return Err(InvalidAddress::TooLong);
        }
        if text.chars().any(is_unprintable) {
            return Err(InvalidAddress::Unprintable);
        }
        let (local_part, domain) = text.split_once('@').ok_or(InvalidAddress::Form)?;
        if domain.contains('@') {
            return Err(InvalidAddress::Form);
        }
        if !is_local_part(local_part) {
            return Err(InvalidAddress::LocalPart);
        }
        let domain = ascii_domain(domain).ok_or(InvalidAddress::Domain)?;
        let text = format!("{local_part}@{domain}");
        if text.len() > ADDRESS_LIMIT_BYTES {
            return Err(InvalidAddress::TooLong);
        }
        // The library that sends mail has its own rules.
        if text.parse::<Address>().is_err() {
            return Err(InvalidAddress::Form);
        }
        Ok(Self { text, domain_start: local_part.len() + 1 })
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The domain in ASCII and lower case, without a final dot.
    pub fn domain(&self) -> &str {
        &self.text[self.domain_start..]
    }

    /// The address for logs: its first letter and its domain.
    pub fn masked(&self) -> String {
        format!("{}…@{}", &self.text[..1], self.domain())
    }

    /// As the library that sends mail has it.
    pub(crate) fn to_lettre(&self) -> Address {
        Address::new_dangerous(&self.text[..self.domain_start - 1], self.domain())
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Whether the text is a dot-atom of RFC 5322 without the characters of source routes (`!`, `%`), pipes and paths.
fn is_local_part(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".#$&'*+-=?^_{}~".contains(&byte);
    (1..=LOCAL_PART_LIMIT_BYTES).contains(&text.len())
        && text.bytes().all(is_allowed)
        && !text.starts_with(['.', '-'])
        && !text.ends_with('.')
        && !text.contains("..")
}

/// The domain name in ASCII and lower case, without a final dot. `None` if it is not a domain name of two labels or
/// more.
pub(super) fn ascii_domain(text: &str) -> Option<String> {
    ascii_name(text).filter(|name| name.contains('.'))
}

/// The name of a domain or a host in ASCII and lower case, without a final dot. `None` if it is not such a name.
pub(super) fn ascii_name(text: &str) -> Option<String> {
    // UTS 46 removes some invisible characters, so that different texts become one domain.
    if text.chars().any(|character| is_unprintable(character) || is_joiner(character)) {
        return None;
    }
    let ascii = Uts46::new().to_ascii(
        text.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::VerifyAllowRootDot,
    );
    let ascii = ascii.ok()?;
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    // An address of IPv4 is not a name.
    let top = name.rsplit('.').next()?;
    top.bytes().any(|byte| byte.is_ascii_alphabetic()).then(|| name.to_owned())
}

fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200C}' | '\u{200D}')
}

#[cfg(test)]
pub(crate) mod tests;

//! A sender: an address with an optional name.

use lettre::message;

use super::{address::EmailAddress, line::is_unprintable};

/// Maximum length of the name.
const NAME_LIMIT_BYTES: usize = 128;

/// An address with an optional name: `audit@example.com` or `Audit <audit@example.com>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    name: Option<String>,
    pub(super) address: EmailAddress,
}

impl Mailbox {
    /// The mailbox in this text.
    ///
    /// # Errors
    /// A message without the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let address = |text| EmailAddress::parse(text).map_err(|error| error.to_string());
        let Some((name, rest)) = text.split_once('<') else {
            return Ok(Self { name: None, address: address(text.trim())? });
        };
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let is_plain =
            |character: char| !is_unprintable(character) && !"\"\\<>@,;:".contains(character);
        // An encoded word of RFC 2047, which mail programs decode.
        let is_encoded = name.contains("=?");
        if name.len() > NAME_LIMIT_BYTES || is_encoded || !name.chars().all(is_plain) {
            return Err(format!(
                "the name before <…> has at most {NAME_LIMIT_BYTES} bytes, and no control characters none of \
                 \"\\<>@,;: and no =?"
            ));
        }
        let end = rest.trim_end().strip_suffix('>').ok_or("the address in <…> has no end")?;
        let name = (!name.is_empty()).then(|| name.to_owned());
        Ok(Self { name, address: address(end)? })
    }

    /// As the library that writes mails has it.
    pub(super) fn to_lettre(&self) -> message::Mailbox {
        message::Mailbox::new(self.name.clone(), self.address.to_lettre())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn name_is_optional() {
        let parse =
            |text| Mailbox::parse(text).map(|found| (found.name, found.address.to_string()));
        let named = |name: &str| Ok((Some(name.to_owned()), "a@example.com".to_owned()));
        assert_eq!(parse("a@example.com"), Ok((None, "a@example.com".to_owned())));
        assert_eq!(parse("<a@example.com>"), Ok((None, "a@example.com".to_owned())));
        assert_eq!(parse("Prüfung 監査 <a@example.com>"), named("Prüfung 監査"));
        assert_eq!(parse("\"Audit (EU)\" <a@EXAMPLE.com>"), named("Audit (EU)"));
    }

    #[test]
    fn other_texts_are_errors() {
        for text in [
            "",
            "Audit",
            "Audit <a@example.com",
            "Audit <a@example.com> <b@example.com>",
            "Audit <a@example.com>, b@example.com",
            "a@evil.com <a@example.com>",
            "Audit, Team <a@example.com>",
            "Audit\r\nBcc: b@example.com <a@example.com>",
            "Audit\u{202e} <a@example.com>",
            "=?utf-8?q?=0d=0a?= <a@example.com>",
            "\"A\" B\" <a@example.com>",
            "a@example.com\r\nBcc: b@example.com",
        ] {
            assert!(Mailbox::parse(text).is_err(), "{text:?}");
        }
    }
}

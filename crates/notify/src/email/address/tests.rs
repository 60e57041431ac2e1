#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::AllowedRecipients;

/// The text with the escapes `\r`, `\n`, `\t`, `\0`, `\\` and `\u{...}` replaced.
pub(crate) fn unescaped(text: &str) -> String {
    let mut output = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        output.push_str(before);
        let (character, length) = match after.as_bytes()[0] {
            b'r' => ('\r', 1),
            b'n' => ('\n', 1),
            b't' => ('\t', 1),
            b'0' => ('\0', 1),
            b'\\' => ('\\', 1),
            _ => {
                let digits = after.strip_prefix("u{").unwrap().split_once('}').unwrap().0;
                let code = u32::from_str_radix(digits, 16).unwrap();
                (char::from_u32(code).unwrap(), digits.len() + 3)
            }
        };
        output.push(character);
        rest = &after[length..];
    }
    output + rest
}

#[test]
fn corpus_has_its_verdicts() {
    let allowed = AllowedRecipients::parse("example.com, *.corp.example, münchen.example").unwrap();
    let lines = include_str!("corpus.txt").lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let (expected, text) = line.split_once(' ').unwrap_or((line, ""));
        let (text, mailed) = text.split_once(" => ").unwrap_or((text, text));
        let verdict = match EmailAddress::parse(&unescaped(text)) {
            Err(_) => "invalid",
            Ok(address) if allowed.allow(&address) => {
                assert_eq!(address.as_str(), mailed, "{line}");
                "allowed"
            }
            Ok(_) => "refused",
        };
        assert_eq!(verdict, expected, "{line}");
    }
}

#[test]
fn address_has_at_most_254_bytes() {
    let domain = format!("{}.{}.example.com", "a".repeat(63), "b".repeat(63));
    let address = |local_bytes| format!("{}@{domain}", "c".repeat(local_bytes));
    assert!(EmailAddress::parse(&address(64)).is_ok());
    let domain = format!("{0}.{0}.{0}.com", "a".repeat(62));
    assert!(EmailAddress::parse(&format!("{}@{domain}", "c".repeat(60))).is_ok());
    let longer = format!("{}@{domain}", "c".repeat(62));
    assert_eq!(EmailAddress::parse(&longer), Err(InvalidAddress::TooLong));
    // Becomes too long in ASCII.
    let domain = format!("{0}.{0}.example", "ü".repeat(50));
    assert!(EmailAddress::parse(&format!("{}@{domain}", "c".repeat(40))).is_ok());
}

#[test]
fn message_does_not_contain_the_address() {
    for text in ["secret@", "secret@evil", "secret name@example.com", "secret\n@example.com"] {
        let message = EmailAddress::parse(text).unwrap_err().to_string();
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn masked_address_has_one_letter_of_the_name() {
    let address = EmailAddress::parse("ada.lovelace@example.com").unwrap();
    assert_eq!(address.masked(), "a…@example.com");
}

#[test]
fn allowed_recipients_are_domains() {
    let allows = |list: &str, address: &str| {
        AllowedRecipients::parse(list).unwrap().allow(&EmailAddress::parse(address).unwrap())
    };
    assert!(!allows("", "a@example.com"));
    assert!(allows("EXAMPLE.com.", "a@example.com"));
    assert!(allows(" b.example , ,*.example.com", "a@x.Example.COM"));
    assert!(!allows("*.example.com", "a@example.com"));
    for list in ["*", "*.", "a@example.com", "*.*.example.com", "example", "exa mple.com", "a;b.c"]
    {
        assert!(AllowedRecipients::parse(list).is_err(), "{list}");
    }
    let many = vec!["example.com"; 101].join(",");
    assert!(AllowedRecipients::parse(&many).is_err());
}

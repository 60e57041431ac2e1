//! The Content-Disposition of a download: the name to save it under.

use std::fmt::Write as _;

/// The maximum length of a file name in UTF-8 on most file systems.
const NAME_LIMIT_BYTES: usize = 255;

/// The header's value for a file name: an ASCII version for old clients, then the name itself (RFC 6266,
/// section 4.3, with the encoding of RFC 8187). Accepts any text: the result contains no path separators and
/// cannot inject headers.
pub(super) fn attachment(file_name: &str) -> String {
    let name = safe_name(file_name);
    let ascii: String = name.chars().map(|c| if is_plain_ascii(c) { c } else { '_' }).collect();
    let mut value = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''");
    for byte in name.bytes() {
        if is_attribute_byte(byte) {
            value.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

/// The last component of a path of any operating system, with forbidden characters replaced.
fn safe_name(file_name: &str) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.trim().chars().map(|c| if is_safe(c) { c } else { '_' }).collect();
    name.truncate(name.floor_char_boundary(NAME_LIMIT_BYTES));
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    if name.is_empty() { "download".to_owned() } else { name }
}

/// Whether a character is neither a control character, nor a bidirectional override, nor forbidden in Windows
/// file names.
fn is_safe(c: char) -> bool {
    let is_bidi_control =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control()
        && !is_bidi_control
        && !matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

/// Whether a character needs no escape in a quoted string. Excludes `%`, which some browsers treat as an escape.
fn is_plain_ascii(c: char) -> bool {
    c.is_ascii_alphanumeric() || " !#$&'()+,-.;=@[]^_`{}~".contains(c)
}

/// `attr-char` of RFC 8187, section 3.2.1.
fn is_attribute_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_has_ascii_name_and_original_name() {
        assert_eq!(
            attachment("incident report.docx"),
            "attachment; filename=\"incident report.docx\"; filename*=UTF-8''incident%20report.docx"
        );
        assert_eq!(
            attachment("報告 100%'.docx"),
            "attachment; filename=\"__ 100_'.docx\"; filename*=UTF-8''%E5%A0%B1%E5%91%8A%20100%25%27.docx"
        );
    }

    #[test]
    fn unsafe_names_are_sanitized() {
        for (name, saved) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\tmp\\x.docx", "x.docx"),
            ("a\r\nSet-Cookie: b=\"c\"", "a__Set-Cookie_%20b%3D_c_"),
            ("\u{202e}fdp.exe", "_fdp.exe"),
            (".htaccess", "_htaccess"),
            ("..", "_."),
            ("a/", "download"),
            (" ", "download"),
        ] {
            let value = attachment(name);
            assert!(value.ends_with(&format!("''{saved}")), "{name:?}: {value}");
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value}");
            assert_eq!(value.matches('"').count(), 2, "{value}");
        }
        assert!(attachment(&"字".repeat(5000)).len() < 1200);
    }
}

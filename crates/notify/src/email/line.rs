//! Texts of callers and servers within one line of a mail or a message.

/// Whether the character is a control character, separates lines, is invisible, or changes the direction of text.
/// Joiners are not: they join the letters and emoji around them.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}'
                | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

/// The text on one line of at most `limit_bytes`. White space becomes single spaces, and characters that
/// [`is_unprintable`] names become U+FFFD. A longer text ends with an ellipsis.
pub(crate) fn one_line(text: &str, limit_bytes: usize) -> String {
    let mut line = String::new();
    for character in text.chars() {
        let shown = match character {
            '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
            character if is_unprintable(character) => char::REPLACEMENT_CHARACTER,
            character => character,
        };
        if shown == ' ' && (line.is_empty() || line.ends_with(' ')) {
            continue;
        }
        if line.len() + shown.len_utf8() > limit_bytes {
            while line.len() + '…'.len_utf8() > limit_bytes && line.pop().is_some() {}
            line.push('…');
            return line;
        }
        line.push(shown);
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_no_line_breaks_and_no_characters_that_deceive() {
        for (text, expected) in [
            ("Größe 報告 👩‍🚒", "Größe 報告 👩‍🚒"),
            ("a\r\nBcc: b@example.com", "a Bcc: b@example.com"),
            (" a \u{2028}\u{85} b\t", "a b"),
            ("a\0b\u{1b}[31m\u{202e}c", "a\u{fffd}b\u{fffd}[31m\u{fffd}c"),
        ] {
            assert_eq!(one_line(text, 100), expected);
        }
    }

    #[test]
    fn long_line_ends_with_an_ellipsis_within_the_limit() {
        assert_eq!(one_line("ääää", 8), "ääää");
        assert_eq!(one_line("äääää", 8), "ää…");
        assert!(one_line(&"報".repeat(1_000), 100).len() <= 100);
    }
}

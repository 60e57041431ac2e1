//! A caller's text within lines that are the service's own.

use std::fmt;

/// Shows a text on one line, every character that could break or forge lines or turn the writing
/// direction as its code point: `<U+000A>`.
///
/// The set is written out: bundles show texts this way, so it must not grow with a Unicode table.
pub(super) struct Visible<'a>(pub(super) &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        for character in self.0.chars() {
            if is_deceptive(character) {
                write!(formatter, "<U+{:04X}>", u32::from(character))?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Controls, line separators, and format characters that nobody sees. Joiners stay: they shape the
/// letters and emoji around them.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}'
                | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deceptive_characters_are_replaced() {
        for (text, shown) in [
            ("Größe 報告 👩‍🚒 \\n", "Größe 報告 👩‍🚒 \\n"),
            (
                "a\nb\r\tc\u{85}d\u{2028}e\0",
                "a<U+000A>b<U+000D><U+0009>c<U+0085>d<U+2028>e<U+0000>",
            ),
            (
                "invoice\u{202E}cod.exe\u{2066}\u{FEFF}\u{E0041}",
                "invoice<U+202E>cod.exe<U+2066><U+FEFF><U+E0041>",
            ),
        ] {
            assert_eq!(Visible(text).to_string(), shown);
        }
    }
}

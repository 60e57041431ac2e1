//! Texts of the caller within lines of the service.

use std::fmt;

/// Displays a text on one line. Characters that could break or imitate lines or change the writing
/// direction are shown as their code points: `<U+000A>`.
///
/// The set is explicit, because bundles depend on it and it must not change with a Unicode version.
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

/// Whether a character is a control character, a line separator or an invisible format character.
/// Joiners are not: they join the letters and emoji around them.
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
    fn deceptive_characters_are_shown_as_code_points() {
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

//! Parts of tokens in the log.

use serde_json::Value;

/// Maximum number of characters of a value in the log.
const SHOWN_CHARS: usize = 200;

/// A claim's value as JSON, shortened.
pub(super) fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

/// A text in quotes with escapes, shortened.
pub(super) fn quoted(text: &str) -> String {
    let text: String = text.chars().take(SHOWN_CHARS + 1).collect();
    shortened(&format!("{text:?}"))
}

/// The start of a text that is in the log.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_values_are_shortened_and_control_characters_escaped() {
        assert_eq!(shown(&json!(["a", 1])), r#"["a",1]"#);
        assert_eq!(shown(&json!("a\nb")), r#""a\nb""#);
        assert_eq!(shown(&json!("ü".repeat(500))).chars().count(), SHOWN_CHARS + 1);
        assert_eq!(quoted("a\u{202e}\n"), r#""a\u{202e}\n""#);
        assert_eq!(quoted(&"ü".repeat(500)).chars().count(), SHOWN_CHARS + 1);
    }
}

//! Filters of `list`: conditions of options, and the words of the table in `--filter`.

/// The words of the table for values of a field, and the names that the API has for them.
const STATES: [(&str, &str); 7] = [
    ("accepted, not running", "STATE_PENDING"),
    ("running", "STATE_RUNNING"),
    ("pending", "STATE_PENDING"),
    ("fell back", "STATE_FELL_BACK"),
    ("committed", "STATE_COMMITTED"),
    ("failed", "STATE_FAILED"),
    ("quarantined", "STATE_QUARANTINED"),
];
const STORES: [(&str, &str); 2] = [("s3", "DESTINATION_S3"), ("local", "DESTINATION_LOCAL")];

/// Conditions joined by AND.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<String>);

impl Conditions {
    /// Adds a condition: a field with its operator, and a value.
    pub(super) fn add(&mut self, comparison: &str, value: &str) {
        self.0.push(format!("{comparison} {}", quoted(value)));
    }

    /// A filter and the conditions after it, so that positions in errors are those of the filter.
    pub(super) fn after(mut self, filter: &str) -> String {
        if !filter.trim().is_empty() {
            self.0.insert(0, filter.to_owned());
        }
        self.0.join(" AND ")
    }
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The filter, with the names of the API instead of the words that the table prints: `state = committed`,
/// `state = "fell back"` or `state = fell back`, `stored_in = S3`. Everything else stays as it is, also what is invalid:
/// the server reports it with its position.
pub(super) fn in_api_words(filter: &str) -> String {
    let mut result = String::with_capacity(filter.len());
    let mut rest = filter;
    while !rest.is_empty() {
        let (token, after) = token(rest);
        result.push_str(token);
        rest = after;
        let words: &[(&str, &str)] = match token {
            "state" => &STATES,
            "stored_in" | "requested_destination" => &STORES,
            _ => continue,
        };
        let is_operator = |character: char| matches!(character, '=' | '!' | ' ');
        let value = rest.trim_start_matches(is_operator);
        result.push_str(&rest[..rest.len() - value.len()]);
        rest = value;
        if let Some((name, after)) = replaced(value, words) {
            result.push_str(name);
            rest = after;
        }
    }
    result
}

/// The next token: a quoted text, a word, or another character.
fn token(text: &str) -> (&str, &str) {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let end = match text.chars().next() {
        Some('"') => quoted_end(text),
        Some(first) if is_word(first) => {
            text.find(|character| !is_word(character)).unwrap_or(text.len())
        }
        Some(first) => first.len_utf8(),
        None => 0,
    };
    text.split_at(end)
}

/// The end of the quoted text at the start.
fn quoted_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (position, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

/// The API's name for the word at the start of the value, and the rest after it.
fn replaced<'a>(
    value: &'a str,
    words: &'static [(&'static str, &'static str)],
) -> Option<(&'static str, &'a str)> {
    if value.starts_with('"') {
        let (word, rest) = value.split_at(quoted_end(value));
        let word = word.trim_matches('"');
        let known = words.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        return known.map(|(_, name)| (*name, rest));
    }
    words.iter().find_map(|(word, name)| {
        let start = value.get(..word.len())?;
        let rest = &value[word.len()..];
        let is_end = !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        (start.eq_ignore_ascii_case(word) && is_end).then_some((*name, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_table_become_names_of_the_api() {
        for (words, names) in [
            ("state = committed", "state = STATE_COMMITTED"),
            ("state=Running", "state=STATE_RUNNING"),
            ("state != fell back AND reviewer = x", "state != STATE_FELL_BACK AND reviewer = x"),
            ("state = \"fell back\"", "state = STATE_FELL_BACK"),
            ("state = accepted, not running", "state = STATE_PENDING"),
            (
                "stored_in = S3 AND requested_destination != local",
                "stored_in = DESTINATION_S3 AND requested_destination != DESTINATION_LOCAL",
            ),
            (
                "document_name:\"incident\" AND state = failed",
                "document_name:\"incident\" AND state = STATE_FAILED",
            ),
        ] {
            assert_eq!(in_api_words(words), names);
        }
    }

    #[test]
    fn other_text_is_unchanged() {
        for filter in [
            "",
            "state = STATE_COMMITTED",
            "state = committedly",
            "state",
            "state = ",
            "document_name = \"state = committed\"",
            "document_name = \"a \\\" state = committed\"",
            "document_name = state_committed",
            "reviewer = \"not closed state = running",
            "é ! state",
        ] {
            assert_eq!(in_api_words(filter), filter);
        }
    }

    #[test]
    fn options_and_filter_are_joined() {
        let mut conditions = Conditions::default();
        assert_eq!(Conditions::default().after("  "), "");
        conditions.add("reviewer =", "a \"b\" \\");
        conditions.add("state =", "STATE_RUNNING");
        let expected =
            r#"stored_in = local AND reviewer = "a \"b\" \\" AND state = "STATE_RUNNING""#;
        assert_eq!(conditions.after("stored_in = local"), expected);
    }
}

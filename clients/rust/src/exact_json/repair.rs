//! Makes valid JSON of what writers in other languages produce, and remembers where.
//!
//! The text keeps its length where possible, so that positions in errors are those of the file.

/// Why a place of the text was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// U+FFFD is in place of half of a surrogate pair or of an invalid byte.
    NotUnicode,
    /// A zero is in place of a number that JSON does not have.
    NotFinite(&'static str),
}

/// A text, and its changes by their byte offsets, in ascending order.
pub(super) struct Repaired {
    pub(super) text: String,
    changes: Vec<(usize, Change)>,
}

const NOT_FINITE: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

impl Repaired {
    /// Repairs a text.
    pub(super) fn new(text: &[u8]) -> Self {
        let mut changes = Vec::new();
        let mut valid = String::with_capacity(text.len());
        for chunk in text.utf8_chunks() {
            valid.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                changes.push((valid.len(), Change::NotUnicode));
                valid.push(char::REPLACEMENT_CHARACTER);
            }
        }
        let mut bytes = valid.into_bytes();
        replace_in_place(&mut bytes, &mut changes);
        changes.sort_unstable_by_key(|(offset, _)| *offset);
        // Only ASCII bytes were replaced, by other ASCII bytes.
        let text = String::from_utf8(bytes).unwrap_or_default();
        Self { text, changes }
    }

    /// The first change in this part of the text.
    pub(super) fn change_in(&self, start: usize, end: usize) -> Option<Change> {
        let index = self.changes.partition_point(|(offset, _)| *offset < start);
        self.changes.get(index).filter(|(offset, _)| *offset < end).map(|(_, change)| *change)
    }
}

fn replace_in_place(bytes: &mut [u8], changes: &mut Vec<(usize, Change)>) {
    let (mut at, mut in_string) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                at += replace_surrogate(bytes, at, changes);
                continue;
            }
            b'N' | b'I' | b'-' if !in_string && starts_value(bytes, at) => {
                let found = NOT_FINITE.iter().find(|name| bytes[at..].starts_with(name.as_bytes()));
                if let Some(name) = found {
                    bytes[at..at + name.len()].fill(b' ');
                    bytes[at] = b'0';
                    changes.push((at, Change::NotFinite(name)));
                    at += name.len();
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Whether a value can start here. `1NaN` must stay invalid.
fn starts_value(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    before.is_none_or(|before| before.is_ascii_whitespace() || b"[,:".contains(&before))
}

/// Replaces the escape at this place if it is an unpaired surrogate. Returns the number of bytes that were
/// read.
fn replace_surrogate(bytes: &mut [u8], at: usize, changes: &mut Vec<(usize, Change)>) -> usize {
    const ESCAPE_BYTES: usize = 6;
    match (escaped_unit(bytes, at), escaped_unit(bytes, at + ESCAPE_BYTES)) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE_BYTES,
        (Some(0xd800..=0xdfff), _) => {
            bytes[at + 2..at + ESCAPE_BYTES].copy_from_slice(b"fffd");
            changes.push((at, Change::NotUnicode));
            ESCAPE_BYTES
        }
        // The next character is escaped.
        _ => 2,
    }
}

/// The UTF-16 code unit of the escape `\uXXXX` at this place.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

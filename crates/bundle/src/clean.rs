//! Converts a document's name to a safe and recognizable part of a path.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// Maximum length of a stem in bytes of UTF-8. With time, suffix and extension, a path component
/// stays below the 255 bytes that file systems allow.
pub const MAX_STEM_BYTES: usize = 200;

/// Bytes that a cut drops at most to end between complete characters.
const MAX_DROPPED_BYTES: usize = 64;
const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// A document's name without its extension, safe as the end of a path component: 1 to
/// [`MAX_STEM_BYTES`] bytes of NFC, no leading dot, not a name that Windows reserves.
///
/// Unicode letters, numbers, marks and emoji are kept. Each run of characters that a path or a reader
/// could misinterpret (separators, spaces, control and bidi characters, look-alike slashes and dots)
/// becomes one `_`. The stem is `document` if no character is left.
pub fn clean_stem(document_name: &str) -> String {
    let normal: String = document_name.nfc().collect();
    clean(split_extension(&normal).0)
}

/// A file name's extension with its dot, as the caller wrote it: `.docx`. Empty without an extension.
pub(super) fn extension(file_name: &str) -> String {
    // Normalized like the stem, so that both find the same start of the extension.
    let normal: String = file_name.nfc().collect();
    split_extension(&normal).1.to_owned()
}

/// Splits `report.docx` into `report` and `.docx`.
///
/// An extension has 1 to 10 ASCII letters and digits with at least one letter: `v1.2` has no
/// extension. The text before it is not empty and does not end with a dot: `foo..bar` has none either.
fn split_extension(name: &str) -> (&str, &str) {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return (name, "");
    };
    let is_extension = (1..=10).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && extension.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !stem.is_empty()
        && !stem.ends_with('.');
    if is_extension { name.split_at(stem.len()) } else { (name, "") }
}

/// Cleans a text in NFC. The result is in NFC too: the characters keep their order, and no character
/// composes with `_`.
fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(4 * MAX_STEM_BYTES));
    for character in text.chars() {
        if is_kept(character) {
            kept.push(character);
        } else if !kept.ends_with('_') {
            kept.push('_');
        }
    }
    // A leading mark would combine with the character before it in a path.
    let stem = kept.trim_start_matches(|c| matches!(c, '.' | '_') || continues_a_character(c));
    // One byte below the limit: a reserved name gets a `_` below.
    let stem = cut(stem, MAX_STEM_BYTES - 1);
    let stem = stem.trim_end_matches(['.', '_', ZERO_WIDTH_JOINER, ZERO_WIDTH_NON_JOINER]);
    if stem.is_empty() {
        "document".to_owned()
    } else if is_reserved(stem) {
        format!("_{stem}")
    } else {
        stem.to_owned()
    }
}

/// Whether a character is kept unchanged.
fn is_kept(character: char) -> bool {
    match character {
        '-' | '_' | '.' | '!' | '(' | ')' | '\'' => return true,
        // They join the letters and emoji around them.
        ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER => return true,
        // Skin tones of emoji.
        '\u{1F3FB}'..='\u{1F3FF}' => return true,
        // Symbols that look like slashes, and invisible characters.
        '\u{2571}' | '\u{2572}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}' => return false,
        _ => {}
    }
    match character.general_category_group() {
        GeneralCategoryGroup::Letter
        | GeneralCategoryGroup::Mark
        | GeneralCategoryGroup::Number => true,
        _ => character.general_category() == GeneralCategory::OtherSymbol,
    }
}

/// Whether a character combines with the one before it.
fn continues_a_character(character: char) -> bool {
    matches!(character, ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER | '\u{1F3FB}'..='\u{1F3FF}')
        || character.general_category_group() == GeneralCategoryGroup::Mark
}

/// Cuts a text to a maximum length. The cut is between complete characters with their combining
/// marks, unless that would drop more than [`MAX_DROPPED_BYTES`] more.
fn cut(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let end = text.floor_char_boundary(max_bytes);
    let is_between_characters = |at: usize| {
        let (before, after) = text.split_at(at);
        !before.ends_with(ZERO_WIDTH_JOINER) && !after.starts_with(continues_a_character)
    };
    let ends = (end.saturating_sub(MAX_DROPPED_BYTES)..=end).rev();
    let best = ends.filter(|at| text.is_char_boundary(*at)).find(|at| is_between_characters(*at));
    &text[..best.unwrap_or(end)]
}

/// Whether Windows interprets a name as a device, regardless of the text after its first dot
/// (Microsoft, "Naming Files, Paths, and Namespaces").
fn is_reserved(stem: &str) -> bool {
    let name = stem.split('.').next().unwrap_or_default().to_ascii_uppercase();
    if matches!(name.as_str(), "CON" | "PRN" | "AUX" | "NUL") {
        return true;
    }
    ["COM", "LPT"].iter().any(|device| {
        name.strip_prefix(device).is_some_and(|port| {
            let mut characters = port.chars();
            matches!(characters.next(), Some('1'..='9' | '¹' | '²' | '³'))
                && characters.next().is_none()
        })
    })
}

#[cfg(test)]
#[path = "clean_tests.rs"]
mod tests;

//! Values that a request cannot have: what replaces them, and the list of them.
//!
//! The rules are those of all clients: `clients/README.md`, with the cases of `clients/values.json`.

mod free_form;
mod review_path;
#[cfg(test)]
mod tests;

pub(crate) use free_form::{json_text, without_unsendable};
pub(crate) use review_path::{of_request, of_session};

use crate::{exact_json::Path, proto::Replacement};

const MAX_ENTRIES: usize = 1_000;
/// Limit of all paths and reasons of a request.
const MAX_BYTES: usize = 128 * 1024;
/// Limit of one path.
const MAX_PATH_BYTES: usize = 1024;
/// Space for the last entry, which counts the values that are not listed.
const RESERVED_BYTES: usize = 128;
/// A review's path can be longer than the path in the file, because it has the section's name.
const SPARE_BYTES: usize = 16;

/// The reason for a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    NotUnicode,
    NotFinite,
    NotExact,
    DuplicateKey,
    TooDeep,
    WrongType,
}

impl Reason {
    /// The word in the request.
    fn word(self) -> &'static str {
        match self {
            Self::NotUnicode => "NOT_UNICODE",
            Self::NotFinite => "NOT_FINITE",
            Self::NotExact => "NOT_EXACT",
            Self::DuplicateKey => "DUPLICATE_KEY",
            Self::TooDeep => "TOO_DEEP",
            Self::WrongType => "WRONG_TYPE",
        }
    }

    /// The description for people.
    fn description(self) -> &'static str {
        match self {
            Self::NotUnicode => {
                "contains half of a surrogate pair or an invalid byte, which is not a character: exported as \
                 U+FFFD"
            }
            Self::NotFinite => "is not a finite number: exported as a text",
            Self::NotExact => "is a number that would be rounded: exported as a text",
            Self::DuplicateKey => {
                "has a key that occurs twice in its object: exported under another key"
            }
            Self::TooDeep => {
                "is nested too deep: exported as JSON text, or as null beyond 100 levels"
            }
            Self::WrongType => "is not of the expected type: exported in another form",
        }
    }
}

/// Collects replacements, with their paths in the file.
#[derive(Debug, Default)]
pub(crate) struct Replacements {
    entries: Vec<(String, Reason)>,
    bytes: usize,
    unlisted: u64,
}

impl Replacements {
    /// Adds a replacement, or only counts it if the list is full.
    pub(crate) fn add(&mut self, path: &Path<'_>, reason: Reason) {
        if self.unlisted > 0 {
            self.unlisted += 1;
            return;
        }
        let path = cut(path.to_string());
        let bytes = path.len() + reason.word().len() + SPARE_BYTES;
        if self.entries.len() + 1 == MAX_ENTRIES || self.bytes + bytes > MAX_BYTES - RESERVED_BYTES
        {
            self.unlisted += 1;
            return;
        }
        self.bytes += bytes;
        self.entries.push((path, reason));
    }

    /// Appends the entries to those that the request already has. `review_path` converts a path.
    pub(crate) fn append_to(
        &self,
        list: &mut Vec<Replacement>,
        review_path: impl Fn(&str) -> String,
    ) {
        let size = |entry: &Replacement| entry.path.len() + entry.reason.len();
        let mut bytes: usize = list.iter().map(size).sum();
        let mut unlisted = self.unlisted;
        for (path, reason) in &self.entries {
            let entry =
                Replacement { path: cut(review_path(path)), reason: reason.word().to_owned() };
            bytes += size(&entry);
            let is_full = list.len() + 1 >= MAX_ENTRIES || bytes > MAX_BYTES - RESERVED_BYTES;
            if is_full || unlisted > self.unlisted {
                unlisted += 1;
            } else {
                list.push(entry);
            }
        }
        if unlisted > 0 && list.len() < MAX_ENTRIES {
            list.push(Replacement { path: "review".to_owned(), reason: more(unlisted) });
        }
    }

    /// Human-readable descriptions with the paths of the file.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let listed =
            self.entries.iter().map(|(path, reason)| format!("{path}: {}", reason.description()));
        let unlisted = (self.unlisted > 0).then(|| format!("review: {}", more(self.unlisted)));
        listed.chain(unlisted)
    }
}

fn more(count: u64) -> String {
    format!("{count} more values were replaced and are not listed")
}

/// Limits the length of a path.
fn cut(mut path: String) -> String {
    if path.len() > MAX_PATH_BYTES {
        path.truncate(path.floor_char_boundary(MAX_PATH_BYTES - '…'.len_utf8()));
        path.push('…');
    }
    path
}

//! Reads the documents of a review folder.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use tara_export_digest::Sha256;

use super::{InputError, LargeDocument, read_bytes};
use crate::{
    document_file, exact_json,
    proto::{
        Document,
        document::{Kind, Source},
    },
    replaced::{Reason, Replacements},
};

/// The kind of each document by its file name without the extension.
const KINDS: [(&str, Kind); 3] =
    [("before", Kind::Before), ("after", Kind::After), ("guidelines", Kind::Guidelines)];

/// Reads the folder's documents in the order before, after, guidelines. Adds a warning for each other
/// visible file or folder, because it is not exported, and a replacement for each name that is not Unicode.
pub(super) fn read_documents(
    folder: &Path,
    max_inline_bytes: u64,
    warnings: &mut Vec<String>,
    replaced: &mut Replacements,
) -> Result<(Vec<Document>, Vec<LargeDocument>), InputError> {
    let mut found: [Option<Entry>; KINDS.len()] = Default::default();
    for entry in entries(folder)? {
        let name = entry.name();
        let index = KINDS.iter().position(|(stem, _)| is_document(&name, stem));
        if let (Some(_), Some(reason)) = (index, &entry.violation) {
            return Err(InputError::UnusableDocument { path: entry.path, reason: reason.clone() });
        }
        match index.map(|index| &mut found[index]) {
            Some(Some(first)) => {
                return Err(InputError::TwoDocuments {
                    folder: folder.to_owned(),
                    first: first.name(),
                    second: name,
                });
            }
            Some(slot) => *slot = Some(entry),
            None if name == "session.json" || name.starts_with('.') => {}
            None => {
                let reason = entry.violation.as_deref().unwrap_or("not a file of a review");
                warnings.push(format!("{name}: {reason}, ignored"));
            }
        }
    }
    let (mut documents, mut large) = (Vec::new(), Vec::new());
    for (entry, (_, kind)) in found.into_iter().zip(KINDS) {
        let Some(entry) = entry else { continue };
        let (name, is_unicode, path) = (entry.name(), entry.is_unicode(), entry.path);
        if !is_unicode {
            let documents_path = exact_json::Path::Top.key("documents");
            replaced
                .add(&documents_path.index(documents.len()).key("file_name"), Reason::NotUnicode);
        }
        let size_bytes = fs::metadata(&path).map_err(InputError::io(&path))?.len();
        // Larger documents are uploaded before the request.
        if size_bytes > max_inline_bytes {
            large.push(LargeDocument { index: documents.len(), path, size_bytes });
            documents.push(document(name, kind, None));
        } else {
            documents.push(read_document(path, name, kind)?);
        }
    }
    Ok((documents, large))
}

/// An entry of the folder.
struct Entry {
    path: PathBuf,
    file_name: OsString,
    /// Why it is not a file that can be read; `None` if it is one.
    violation: Option<String>,
}

impl Entry {
    /// The name with U+FFFD for each byte that is not UTF-8.
    fn name(&self) -> String {
        self.file_name.to_string_lossy().into_owned()
    }

    fn is_unicode(&self) -> bool {
        self.file_name.to_str().is_some()
    }
}

/// The folder's entries by name, so that messages do not depend on the file system.
fn entries(folder: &Path) -> Result<Vec<Entry>, InputError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(InputError::io(folder))? {
        let entry = entry.map_err(InputError::io(folder))?;
        let (path, file_name) = (entry.path(), entry.file_name());
        // Follows links: a linked document is exported too.
        let violation = document_file::violation(&path);
        entries.push(Entry { path, file_name, violation });
    }
    entries.sort_unstable_by(|one, other| one.file_name.cmp(&other.file_name));
    Ok(entries)
}

/// Whether the name is `stem.something`. Ignores case, because some file systems do not preserve it.
fn is_document(name: &str, stem: &str) -> bool {
    name.split_once('.').is_some_and(|(start, _)| start.eq_ignore_ascii_case(stem))
}

fn read_document(path: PathBuf, name: String, kind: Kind) -> Result<Document, InputError> {
    let content = read_bytes(&path)?;
    // Files of `/proc` report no size at any time.
    let size_bytes = fs::metadata(&path).map_err(InputError::io(&path))?.len();
    if size_bytes > document_file::SMALL_BYTES && size_bytes != content.len() as u64 {
        let reason = "it changed while it was read; export it when it is complete".to_owned();
        return Err(InputError::UnusableDocument { path, reason });
    }
    Ok(document(name, kind, Some(content)))
}

fn document(name: String, kind: Kind, content: Option<Vec<u8>>) -> Document {
    Document {
        kind: kind.into(),
        file_name: name,
        media_type: String::new(),
        // Lets the server detect corruption in transit.
        sha256: content.as_ref().map(|content| Sha256::of(content).to_string()).unwrap_or_default(),
        source: content.map(|content| Source::Content(content.into())),
    }
}

//! The documents beside a `session.json`.

use std::{fs, path::Path};

use super::{InputError, LargeDocument, read_bytes};
use crate::{
    digest::Sha256,
    proto::{
        Document,
        document::{Kind, Source},
    },
};

/// What is larger is uploaded before the request: three documents and a review fit into what servers take
/// by default.
const LARGEST_INLINE_BYTES: u64 = 8 * 1024 * 1024;

/// Which documents a folder can hold, by their files' names without the extension.
const KINDS: [(&str, Kind); 3] =
    [("before", Kind::Before), ("after", Kind::After), ("guidelines", Kind::Guidelines)];

/// Reads the folder's documents in the order before, after, guidelines. Other visible files get a
/// warning, so that nobody believes they were exported.
pub(super) fn read_documents(
    folder: &Path,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Document>, Vec<LargeDocument>), InputError> {
    let mut found: [Option<String>; KINDS.len()] = Default::default();
    for name in file_names(folder)? {
        let index = KINDS.iter().position(|(stem, _)| is_document(&name, stem));
        match index.map(|index| &mut found[index]) {
            Some(Some(first)) => {
                return Err(InputError::TwoDocuments {
                    folder: folder.to_owned(),
                    first: first.clone(),
                    second: name,
                });
            }
            Some(slot) => *slot = Some(name),
            None if name == "session.json" || name.starts_with('.') => {}
            None => warnings.push(format!("{name}: not a file of a review, left out")),
        }
    }
    let (mut documents, mut large) = (Vec::new(), Vec::new());
    for (name, (_, kind)) in found.into_iter().zip(KINDS) {
        let Some(name) = name else { continue };
        let path = folder.join(&name);
        let size_bytes = fs::metadata(&path).map_err(InputError::io(&path))?.len();
        if size_bytes > LARGEST_INLINE_BYTES {
            large.push(LargeDocument { index: documents.len(), path, size_bytes });
            documents.push(document(name, kind, None));
        } else {
            documents.push(read_document(folder, name, kind)?);
        }
    }
    Ok((documents, large))
}

/// The names of the folder's files, sorted so that messages don't depend on the disk's order.
fn file_names(folder: &Path) -> Result<Vec<String>, InputError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(InputError::io(folder))? {
        let path = entry.map_err(InputError::io(folder))?.path();
        // Follows links: a linked document is one too.
        if !path.is_file() {
            continue;
        }
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => names.push(name.to_owned()),
            None => return Err(InputError::FileName { path }),
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether the name is `stem.something`; letters' case apart, as some disks don't keep it.
fn is_document(name: &str, stem: &str) -> bool {
    name.split_once('.').is_some_and(|(start, _)| start.eq_ignore_ascii_case(stem))
}

fn read_document(folder: &Path, name: String, kind: Kind) -> Result<Document, InputError> {
    let content = read_bytes(&folder.join(&name))?;
    Ok(document(name, kind, Some(content)))
}

fn document(name: String, kind: Kind, content: Option<Vec<u8>>) -> Document {
    Document {
        kind: kind.into(),
        file_name: name,
        media_type: String::new(),
        // Lets the server notice what was damaged on the way.
        sha256: content.as_ref().map(|content| Sha256::of(content).to_string()).unwrap_or_default(),
        source: content.map(|content| Source::Content(content.into())),
    }
}

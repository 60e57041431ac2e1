//! The documents beside a `session.json`.

use std::{fs, path::Path};

use super::{InputError, read_bytes};
use crate::{
    digest::Sha256,
    proto::{
        Document,
        document::{Kind, Source},
    },
};

/// Which documents a folder can hold, by their files' names without the extension.
const KINDS: [(&str, Kind); 3] =
    [("before", Kind::Before), ("after", Kind::After), ("guidelines", Kind::Guidelines)];

/// Reads the folder's documents in the order before, after, guidelines. Other visible files get a
/// warning, so that nobody believes they were exported.
pub(super) fn read_documents(
    folder: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<Document>, InputError> {
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
    found
        .into_iter()
        .zip(KINDS)
        .filter_map(|(name, (_, kind))| name.map(|name| read_document(folder, name, kind)))
        .collect()
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
    Ok(Document {
        kind: kind.into(),
        file_name: name,
        media_type: String::new(),
        // Lets the server notice what was damaged on the way.
        sha256: Sha256::of(&content).to_string(),
        source: Some(Source::Content(content.into())),
    })
}

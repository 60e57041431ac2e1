//! Names of a bundle's files within its ZIP file, valid on every system.
//!
//! `docs/api.md` documents the rules. A name changes only if a system could not unpack it otherwise.

use std::collections::HashMap;

use tara_export_bundle::{ArtifactPath, FolderName};
use tara_export_digest::Sha256;
use unicode_normalization::UnicodeNormalization as _;

/// The list of digests in the archive.
pub(super) const SUMS: &str = "SHA256SUMS";

/// Maximum length of an entry's name, in UTF-16 code units as Windows counts them: 60 of its 260 remain
/// for the folder into which a user unpacks.
const MAX_ENTRY: usize = 200;
/// Maximum length of the bundle's folder, so that enough remains for any path in it.
const MAX_UNCUT_ROOT: usize = 100;
/// Length of a bundle's folder that is too long, by itself or with the longest path in it.
const MAX_ROOT: usize = 80;
/// A file's name keeps at least this length, or else its folder is renamed.
const MIN_FILE: usize = 40;
/// Maximum length of the one folder that replaces a path of folders.
const MAX_FLAT_FOLDER: usize = 50;
/// Maximum length of a path component in bytes of UTF-8, as in the bundle.
const MAX_COMPONENT_BYTES: usize = 255;
/// As `FolderName`.
const MAX_ROOT_BYTES: usize = 227;
/// The longest text after a name's last dot that remains if the name is cut.
const MAX_EXTENSION: usize = 16;

/// The names within an archive.
pub(super) struct ArchiveNames {
    /// The folder of all entries.
    pub(super) root: String,
    /// The path of each file within the folder.
    pub(super) files: Vec<String>,
}

impl ArchiveNames {
    /// Names these files of a bundle, in this order, and keeps [`SUMS`] and `manifest.json` free.
    pub(super) fn new(folder: &FolderName, paths: &[ArtifactPath]) -> Self {
        let portable: Vec<String> = paths.iter().map(|path| portable_path(path.as_str())).collect();
        let mut root = portable_name(folder.as_str());
        let longest = portable.iter().map(|path| units(path)).max().unwrap_or(0);
        if units(&root) > MAX_UNCUT_ROOT || units(&root) + 1 + longest > MAX_ENTRY {
            root = name_within(&root, MAX_ROOT, MAX_ROOT_BYTES, folder.as_str(), None);
        }
        let mut tree = Tree {
            limit: MAX_ENTRY.saturating_sub(units(&root) + 1),
            folders: HashMap::new(),
            claimed: HashMap::new(),
        };
        for fixed in [SUMS, ArtifactPath::manifest().as_str()] {
            // The manifest is the owner of its name; the other is not in the bundle.
            let owner = if fixed == SUMS { "" } else { fixed };
            tree.claimed.insert(folded(fixed), owner.to_owned());
        }
        let mut files = vec![String::new(); paths.len()];
        // Names that need no change come first, so that a changed name never takes one of them.
        let is_unchanged = |index: usize| {
            portable.get(index).map(String::as_str) == paths.get(index).map(ArtifactPath::as_str)
        };
        for changed in [false, true] {
            for (index, (path, name)) in paths.iter().zip(&mut files).enumerate() {
                if is_unchanged(index) != changed {
                    *name = tree.file(path.as_str());
                }
            }
        }
        Self { root, files }
    }
}

/// The names that are in use.
struct Tree {
    /// Maximum length of a path within the bundle's folder.
    limit: usize,
    /// The path in the archive of each folder of the bundle.
    folders: HashMap<String, String>,
    /// The owner of each path in the archive, in folded form: the file's path, or the folder's with `/`.
    claimed: HashMap<String, String>,
}

impl Tree {
    fn file(&mut self, path: &str) -> String {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut folder = self.folder(parent);
        if units(&folder) + 1 + units(&portable_name(name)) > self.limit
            && units(&folder) + 1 + MIN_FILE > self.limit
        {
            folder = self.flat_folder(parent);
        }
        let limit = match folder.is_empty() {
            true => self.limit,
            false => self.limit.saturating_sub(units(&folder) + 1),
        };
        self.claim(path, |seed| {
            let name = portable_name(name);
            join(&folder, &name_within(&name, limit, MAX_COMPONENT_BYTES, path, seed))
        })
    }

    /// The folder in the archive of a folder of the bundle.
    fn folder(&mut self, path: &str) -> String {
        if path.is_empty() {
            return String::new();
        }
        if let Some(folder) = self.folders.get(path) {
            return folder.clone();
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.folder(parent);
        let folder = self.claim(&format!("{path}/"), |seed| {
            let name = portable_name(name);
            join(&parent, &name_within(&name, usize::MAX, MAX_COMPONENT_BYTES, path, seed))
        });
        self.folders.insert(path.to_owned(), folder.clone());
        folder
    }

    /// One folder instead of a path of folders that leaves too little for the name of a file.
    fn flat_folder(&mut self, path: &str) -> String {
        let flat = portable_path(path).replace('/', "_");
        self.claim(&format!("{path}//"), |seed| {
            with_digest(&flat, MAX_FLAT_FOLDER, MAX_COMPONENT_BYTES, path, seed.unwrap_or(0))
        })
    }

    /// The first candidate that no other file or folder has. Each candidate after the first contains
    /// another part of a digest, so that even many conflicts are resolved quickly.
    fn claim(&mut self, owner: &str, candidate: impl Fn(Option<u32>) -> String) -> String {
        let mut seed = None;
        loop {
            let name = candidate(seed);
            let holder = self.claimed.entry(folded(&name)).or_insert_with(|| owner.to_owned());
            if holder == owner {
                return name;
            }
            seed = Some(seed.map_or(0, |seed| seed + 1));
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The length in UTF-16 code units.
fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The same text for all names that a file system may treat as equal: in case or normalization.
fn folded(path: &str) -> String {
    let upper = path.nfd().flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).nfd().collect()
}

fn portable_path(path: &str) -> String {
    let names: Vec<String> = path.split('/').map(portable_name).collect();
    names.join("/")
}

/// The name with `_` for each character that Windows refuses, that is invisible, or that reorders text,
/// for a dot or space at the end, and before the name of a device.
fn portable_name(name: &str) -> String {
    let mut portable: String = name.chars().map(|c| if is_portable(c) { c } else { '_' }).collect();
    if portable.ends_with(['.', ' ']) {
        portable.pop();
        portable.push('_');
    }
    // `sha256sum` reads its standard input in place of a file with the name `-`.
    if is_device(&portable) || portable == "-" {
        portable.insert(0, '_');
    }
    portable
}

fn is_portable(character: char) -> bool {
    !matches!(
        character,
        '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\\' | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    ) && !character.is_control()
}

/// Whether Windows interprets a name as a device, regardless of the text after its first dot
/// (Microsoft, "Naming Files, Paths, and Namespaces").
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let stem = stem.to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let mut port = port.unwrap_or_default().chars();
    matches!((port.next(), port.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
}

/// The name if it is short enough and there is no seed, or else [`with_digest`].
fn name_within(
    name: &str,
    max_units: usize,
    max_bytes: usize,
    path: &str,
    seed: Option<u32>,
) -> String {
    match seed {
        None if units(name) <= max_units && name.len() <= max_bytes => name.to_owned(),
        _ => with_digest(name, max_units, max_bytes, path, seed.unwrap_or(0)),
    }
}

/// The start of the name, `~`, eight digits of the SHA-256 of the path in the bundle, and the extension.
fn with_digest(name: &str, max_units: usize, max_bytes: usize, path: &str, seed: u32) -> String {
    let is_extension = |end: &str| !end.is_empty() && units(end) <= MAX_EXTENSION;
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() && is_extension(end) => name.split_at(stem.len()),
        _ => (name, ""),
    };
    let digest = match seed {
        0 => Sha256::of(path.as_bytes()),
        seed => Sha256::of(format!("{path}\n{seed}").as_bytes()),
    };
    let end: String = digest.to_string().chars().take(8).collect();
    let end = format!("~{end}{extension}");
    let (mut left_units, mut left_bytes) =
        (max_units.saturating_sub(units(&end)), max_bytes.saturating_sub(end.len()));
    let mut cut = String::new();
    for character in stem.chars() {
        let (units, bytes) = (character.len_utf16(), character.len_utf8());
        if units > left_units || bytes > left_bytes {
            break;
        }
        (left_units, left_bytes) = (left_units - units, left_bytes - bytes);
        cut.push(character);
    }
    cut.push_str(&end);
    cut
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;

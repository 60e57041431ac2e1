//! Checks of what a server names: exports, uploads, folders, files and links.
//!
//! `clients/README.md` has the rules; `clients/hostile-server.json` has names that every client accepts
//! or refuses.

use std::collections::HashSet;

use http::Uri;

use super::ClientError;
use crate::proto::{Artifact, BundleArchive, Export, ExportEvent, Upload, export_event::Event};

/// The most bytes of one part of a path.
const MAX_PART_BYTES: usize = 255;
/// The most bytes of a folder's name.
const MAX_FOLDER_BYTES: usize = 227;
/// The most bytes of a path within a bundle's folder.
const MAX_PATH_BYTES: usize = 600;
/// The most bytes of the id in a resource name.
const MAX_ID_BYTES: usize = 64;
/// The most characters of a server's text in a message.
const MAX_QUOTED: usize = 200;
/// The file that no manifest lists.
const MANIFEST: &str = "manifest.json";

/// Why a server's text can't be the name of a file or folder on some system; `None` if it can.
///
/// Check this before a server's text becomes the name of a file: names in adopted bundles may mean
/// something else on this system.
pub fn file_name_violation(name: &str) -> Option<&'static str> {
    if let Some(violation) = part_violation(name) {
        Some(violation)
    } else if name.ends_with(['.', ' ']) {
        Some("ends with a dot or a space")
    } else if name.contains(['<', '>', ':', '"', '|', '?', '*']) {
        Some("has one of the characters < > : \" | ? *")
    } else if is_device(name) {
        Some("is the name of a device on Windows")
    } else if name.contains(is_misleading) {
        Some("has a character that is invisible or changes the order of the others")
    } else {
        None
    }
}

/// A server's text, safe to print on a terminal: control characters, which a terminal obeys, and
/// characters that reorder text are escaped as `\u{1b}`.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unprintable(character) {
            printable.extend(character.escape_unicode());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Whether a terminal obeys the character, or it reorders or hides text.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control() || is_misleading(character)
}

fn is_misleading(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

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

/// Why no server sends the text as one part of a path; `None` if one can.
fn part_violation(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        Some("is empty")
    } else if part.len() > MAX_PART_BYTES {
        Some("is longer than 255 bytes")
    } else if part.starts_with('.') {
        Some("starts with a dot")
    } else if part.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')) {
        Some("has a slash, a backslash or a control character")
    } else {
        None
    }
}

fn folder_violation(name: &str) -> Option<&'static str> {
    let too_long = (name.len() > MAX_FOLDER_BYTES).then_some("is longer than 227 bytes");
    too_long.or_else(|| part_violation(name))
}

fn path_violation(path: &str) -> Option<&'static str> {
    let too_long = (path.len() > MAX_PATH_BYTES).then_some("is longer than 600 bytes");
    too_long.or_else(|| path.split('/').find_map(part_violation))
}

fn link_violation(uri: &str) -> Option<&'static str> {
    if uri.contains(|character| character == ' ' || is_unprintable(character)) {
        return Some("has a space or a control character");
    }
    let parsed = uri.parse::<Uri>().ok();
    let is_link = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    (!is_link).then_some("is not an http or https URL")
}

fn is_resource(name: &str, collection: &str) -> bool {
    let id = name.strip_prefix(collection).unwrap_or_default();
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A server's text in a message.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("\"{}…\"", printable(&text[..end])),
        None => format!("\"{}\"", printable(text)),
    }
}

fn untrusted(name: &str, problem: String) -> ClientError {
    ClientError::Untrusted { name: name.to_owned(), problem }
}

fn same_export(asked_name: &str, name: &str) -> Result<(), ClientError> {
    // Servers answer in lower case, whatever case a request has.
    if name == asked_name.to_ascii_lowercase() {
        return Ok(());
    }
    Err(untrusted(asked_name, format!("name {} is of another export", quoted(name))))
}

/// The requested export, with names that a server can send.
pub(super) fn check_export(export: &Export, asked_name: &str) -> Result<(), ClientError> {
    same_export(asked_name, &export.name)?;
    check_contents(export)
}

/// An export of a list, with names that a server can send.
pub(super) fn check_listed(export: &Export) -> Result<(), ClientError> {
    if !is_resource(&export.name, "exports/") {
        let problem = format!("name {} is not the name of an export", quoted(&export.name));
        return Err(untrusted("a list of exports", problem));
    }
    check_contents(export)
}

fn check_contents(export: &Export) -> Result<(), ClientError> {
    let Export { name, folder_name, artifacts, .. } = export;
    if !folder_name.is_empty()
        && let Some(violation) = folder_violation(folder_name)
    {
        return Err(untrusted(name, format!("folder_name {} {violation}", quoted(folder_name))));
    }
    let mut paths = HashSet::from([MANIFEST]);
    for Artifact { path, size_bytes, .. } in artifacts {
        let is_known = !paths.insert(path);
        let violation = path_violation(path)
            .or(is_known.then_some("is there twice"))
            .or((*size_bytes < 0).then_some("has a size below 0"));
        if let Some(violation) = violation {
            let problem = format!("path {} in artifacts {violation}", quoted(path));
            return Err(untrusted(name, problem));
        }
    }
    Ok(())
}

/// An event of the requested export.
pub(super) fn check_event(event: &ExportEvent, asked_name: &str) -> Result<(), ClientError> {
    same_export(asked_name, &event.name)?;
    match &event.event {
        Some(Event::Completed(completed)) => match &completed.export {
            Some(export) => check_export(export, asked_name),
            None => Ok(()),
        },
        Some(Event::Failed(failed))
            if !failed.kept_as.is_empty() && !is_resource(&failed.kept_as, "exports/") =>
        {
            let kept_as = quoted(&failed.kept_as);
            Err(untrusted(asked_name, format!("kept_as {kept_as} is not the name of an export")))
        }
        _ => Ok(()),
    }
}

/// The description of the requested file.
pub(super) fn check_artifact(
    artifact: &Artifact,
    export_name: &str,
    asked_path: &str,
) -> Result<(), ClientError> {
    let asked = quoted(asked_path);
    if artifact.path != asked_path {
        let problem = format!("path {} is not the requested {asked}", quoted(&artifact.path));
        return Err(untrusted(export_name, problem));
    }
    if artifact.size_bytes < 0 {
        let problem = format!("size_bytes {} of {asked} is below 0", artifact.size_bytes);
        return Err(untrusted(export_name, problem));
    }
    Ok(())
}

/// The description of a bundle's ZIP file: named as a folder.
pub(super) fn check_archive(archive: &BundleArchive, export_name: &str) -> Result<(), ClientError> {
    let violation = match archive.file_name.strip_suffix(".zip") {
        Some(folder) => folder_violation(folder),
        None => Some("is not the name of a ZIP file"),
    };
    match violation {
        None => Ok(()),
        Some(violation) => {
            let name = quoted(&archive.file_name);
            Err(untrusted(export_name, format!("file_name {name} {violation}")))
        }
    }
}

/// A link to a file of the export.
pub(super) fn check_link(uri: &str, export_name: &str) -> Result<(), ClientError> {
    match link_violation(uri) {
        None => Ok(()),
        Some(violation) => Err(untrusted(export_name, format!("uri {} {violation}", quoted(uri)))),
    }
}

/// The requested upload, or any where `asked_name` is `None`, of a document of this size.
pub(super) fn check_upload(
    upload: &Upload,
    asked_name: Option<&str>,
    size_bytes: u64,
) -> Result<(), ClientError> {
    let of = asked_name.unwrap_or("a new upload");
    if !is_resource(&upload.name, "uploads/") {
        let problem = format!("name {} is not the name of an upload", quoted(&upload.name));
        return Err(untrusted(of, problem));
    }
    if asked_name.is_some_and(|asked| asked != upload.name) {
        return Err(untrusted(of, format!("name {} is of another upload", quoted(&upload.name))));
    }
    if upload.chunk_size_bytes < 0 {
        return Err(untrusted(
            of,
            format!("chunk_size_bytes {} is below 0", upload.chunk_size_bytes),
        ));
    }
    let committed = upload.committed_size_bytes;
    if u64::try_from(committed).is_ok_and(|committed| committed <= size_bytes) {
        return Ok(());
    }
    let problem = format!("committed_size_bytes {committed} is not between 0 and {size_bytes}");
    Err(untrusted(of, problem))
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;

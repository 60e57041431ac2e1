//! Checks of names in responses: exports, uploads, folders, files and links.
//!
//! `clients/README.md` defines the rules; `clients/hostile-server.json` has examples that every client
//! accepts or rejects.

use std::collections::HashSet;

use http::Uri;

use super::ClientError;
use crate::proto::{
    Artifact, Batch, BatchItem, BundleArchive, Event as NotificationEvent, Export, ExportEvent,
    Upload, WatchBatchResponse, export_event::Event, watch_batch_response::Event as BatchEvent,
};

const MAX_SEGMENT_BYTES: usize = 255;
const MAX_FOLDER_BYTES: usize = 227;
/// Maximum length of a path relative to the bundle's folder.
const MAX_PATH_BYTES: usize = 600;
/// Maximum length of the id in a resource name.
const MAX_ID_BYTES: usize = 64;
/// Maximum number of characters of a quoted text.
const MAX_QUOTED: usize = 200;
/// The only file of a bundle that the manifest does not list.
const MANIFEST: &str = "manifest.json";

/// Returns why a text from the server is not a valid file or folder name on every system; `None` if it
/// is valid.
///
/// Check a text with this before using it as a file name: names in adopted bundles may have a special
/// meaning on this system.
pub fn file_name_violation(name: &str) -> Option<&'static str> {
    if let Some(violation) = segment_violation(name) {
        Some(violation)
    } else if name.ends_with(['.', ' ']) {
        Some("ends with a dot or a space")
    } else if name.contains(['<', '>', ':', '"', '|', '?', '*']) {
        Some("contains one of the characters < > : \" | ? *")
    } else if is_device(name) {
        Some("is a Windows device name")
    } else if name.contains(is_misleading) {
        Some("contains a character that is invisible or reorders text")
    } else {
        None
    }
}

/// Makes a text from the server safe to print on a terminal: escapes control characters and characters
/// that are invisible or reorder text as `\u{1b}`.
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

/// Whether the character is a control character, is invisible or reorders text.
pub fn is_unprintable(character: char) -> bool {
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

/// Returns why the text is not a valid path segment; `None` if it is valid.
fn segment_violation(segment: &str) -> Option<&'static str> {
    if segment.is_empty() {
        Some("is empty")
    } else if segment.len() > MAX_SEGMENT_BYTES {
        Some("is longer than 255 bytes")
    } else if segment.starts_with('.') {
        Some("starts with a dot")
    } else if segment.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')) {
        Some("contains a slash, a backslash or a control character")
    } else {
        None
    }
}

fn folder_violation(name: &str) -> Option<&'static str> {
    let too_long = (name.len() > MAX_FOLDER_BYTES).then_some("is longer than 227 bytes");
    too_long.or_else(|| segment_violation(name))
}

fn path_violation(path: &str) -> Option<&'static str> {
    let too_long = (path.len() > MAX_PATH_BYTES).then_some("is longer than 600 bytes");
    too_long.or_else(|| path.split('/').find_map(segment_violation))
}

fn link_violation(uri: &str) -> Option<&'static str> {
    if uri.contains(|character| character == ' ' || is_unprintable(character)) {
        return Some("contains a space or a control character");
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

/// Quotes a text from the server for a message.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("\"{}…\"", printable(&text[..end])),
        None => format!("\"{}\"", printable(text)),
    }
}

fn untrusted(name: &str, problem: String) -> ClientError {
    ClientError::Untrusted { name: name.to_owned(), problem }
}

fn check_same_export(requested_name: &str, name: &str) -> Result<(), ClientError> {
    // Servers return names in lower case, regardless of the case in the request.
    if name == requested_name.to_ascii_lowercase() {
        return Ok(());
    }
    Err(untrusted(requested_name, format!("name {} belongs to another export", quoted(name))))
}

/// Checks a response to a request for `requested_name`.
pub(super) fn check_export(export: &Export, requested_name: &str) -> Result<(), ClientError> {
    check_same_export(requested_name, &export.name)?;
    check_contents(export)
}

/// Checks an export of a list.
pub(super) fn check_listed(export: &Export) -> Result<(), ClientError> {
    if !is_resource(&export.name, "exports/") {
        let problem = format!("name {} is not an export name", quoted(&export.name));
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
        let is_duplicate = !paths.insert(path);
        let violation = path_violation(path)
            .or(is_duplicate.then_some("occurs twice"))
            .or((*size_bytes < 0).then_some("has a negative size"));
        if let Some(violation) = violation {
            let problem = format!("path {} in artifacts {violation}", quoted(path));
            return Err(untrusted(name, problem));
        }
    }
    Ok(())
}

/// Checks a batch with its items.
pub(super) fn check_batch(batch: &Batch, requested_name: &str) -> Result<(), ClientError> {
    if batch.name != requested_name.to_ascii_lowercase() {
        let problem = format!("name {} belongs to another batch", quoted(&batch.name));
        return Err(untrusted(requested_name, problem));
    }
    batch.items.iter().try_for_each(|item| check_batch_item(item, requested_name))
}

/// Checks a step of the requested batch.
pub(super) fn check_batch_step(
    message: &WatchBatchResponse,
    requested_name: &str,
) -> Result<(), ClientError> {
    match &message.event {
        Some(BatchEvent::Item(item)) => check_batch_item(item, requested_name),
        Some(BatchEvent::Ended(batch)) => check_batch(batch, requested_name),
        Some(BatchEvent::Heartbeat(_)) | None => Ok(()),
    }
}

fn check_batch_item(item: &BatchItem, requested_name: &str) -> Result<(), ClientError> {
    if item.index < 0 {
        let problem = format!("index {} is negative", item.index);
        return Err(untrusted(requested_name, problem));
    }
    if !is_resource(&item.export, "exports/") {
        let problem = format!("export {} is not an export name", quoted(&item.export));
        return Err(untrusted(requested_name, problem));
    }
    if !item.stored_under.is_empty() && !is_resource(&item.stored_under, "exports/") {
        let stored_under = quoted(&item.stored_under);
        let problem = format!("stored_under {stored_under} is not an export name");
        return Err(untrusted(requested_name, problem));
    }
    Ok(())
}

/// Checks an event of a list. An event that belongs to no export has no name.
pub(super) fn check_listed_event(event: &NotificationEvent) -> Result<(), ClientError> {
    if event.export.is_empty() || is_resource(&event.export, "exports/") {
        return Ok(());
    }
    let problem = format!("export {} is not an export name", quoted(&event.export));
    Err(untrusted("a list of events", problem))
}

/// Checks an event of the requested export.
pub(super) fn check_event(event: &ExportEvent, requested_name: &str) -> Result<(), ClientError> {
    check_same_export(requested_name, &event.name)?;
    match &event.event {
        Some(Event::Completed(completed)) => match &completed.export {
            Some(export) => check_export(export, requested_name),
            None => Ok(()),
        },
        Some(Event::Failed(failed))
            if !failed.stored_under.is_empty()
                && !is_resource(&failed.stored_under, "exports/") =>
        {
            let stored_under = quoted(&failed.stored_under);
            Err(untrusted(
                requested_name,
                format!("stored_under {stored_under} is not an export name"),
            ))
        }
        _ => Ok(()),
    }
}

/// Checks that the artifact describes the requested file.
pub(super) fn check_artifact(
    artifact: &Artifact,
    export_name: &str,
    requested_path: &str,
) -> Result<(), ClientError> {
    let requested = quoted(requested_path);
    if artifact.path != requested_path {
        let problem = format!("path {} is not the requested {requested}", quoted(&artifact.path));
        return Err(untrusted(export_name, problem));
    }
    if artifact.size_bytes < 0 {
        let problem = format!("size_bytes {} of {requested} is negative", artifact.size_bytes);
        return Err(untrusted(export_name, problem));
    }
    Ok(())
}

/// Checks that the archive has a folder name with the extension `.zip`.
pub(super) fn check_archive(archive: &BundleArchive, export_name: &str) -> Result<(), ClientError> {
    let violation = match archive.file_name.strip_suffix(".zip") {
        Some(folder) => folder_violation(folder),
        None => Some("is not a ZIP file name"),
    };
    match violation {
        None => Ok(()),
        Some(violation) => {
            let name = quoted(&archive.file_name);
            Err(untrusted(export_name, format!("file_name {name} {violation}")))
        }
    }
}

/// Checks a download link.
pub(super) fn check_link(uri: &str, export_name: &str) -> Result<(), ClientError> {
    match link_violation(uri) {
        None => Ok(()),
        Some(violation) => Err(untrusted(export_name, format!("uri {} {violation}", quoted(uri)))),
    }
}

/// Checks an upload of this size, which has the requested name unless that is `None`.
pub(super) fn check_upload(
    upload: &Upload,
    requested_name: Option<&str>,
    size_bytes: u64,
) -> Result<(), ClientError> {
    let subject = requested_name.unwrap_or("a new upload");
    if !is_resource(&upload.name, "uploads/") {
        let problem = format!("name {} is not an upload name", quoted(&upload.name));
        return Err(untrusted(subject, problem));
    }
    if requested_name.is_some_and(|requested| requested != upload.name) {
        return Err(untrusted(
            subject,
            format!("name {} belongs to another upload", quoted(&upload.name)),
        ));
    }
    if upload.chunk_size_bytes < 0 {
        return Err(untrusted(
            subject,
            format!("chunk_size_bytes {} is negative", upload.chunk_size_bytes),
        ));
    }
    let committed = upload.committed_size_bytes;
    if u64::try_from(committed).is_ok_and(|committed| committed <= size_bytes) {
        return Ok(());
    }
    let problem = format!("committed_size_bytes {committed} is not between 0 and {size_bytes}");
    Err(untrusted(subject, problem))
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;

//! The review application's own form of a review, and how it becomes a request.
//!
//! A folder holds `session.json` beside `before.*`, `after.*` and `guidelines.*`, each of which may
//! be missing. A single file holds the request itself in proto3 JSON.

mod documents;
mod item;
mod review;
#[cfg(test)]
mod tests;
mod values;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    UploadedFile,
    exact_json::{self, JsonError},
    json,
};
use crate::{
    proto::{StartExportRequest, document::Source},
    small_file,
};

pub use review::review_from_json;

/// A file larger than this is not read: it would not fit into a request.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A request read from disk.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedRequest {
    /// The request; `request_id`, `destination` and `fallback` are unset when it came from a folder.
    pub request: StartExportRequest,
    /// What a person should know: keys and files that don't travel.
    pub warnings: Vec<String>,
    /// Documents that are too large to travel in the request: it has a place for each, to be filled with
    /// [`LoadedRequest::set_uploaded`].
    pub large_documents: Vec<LargeDocument>,
}

/// A document that has to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeDocument {
    /// Its place among the request's documents.
    pub index: usize,
    /// Its file.
    pub path: PathBuf,
    /// The file's size in bytes.
    pub size_bytes: u64,
}

impl LoadedRequest {
    /// Names the upload of a large document in the request.
    pub fn set_uploaded(&mut self, document: &LargeDocument, uploaded: &UploadedFile) {
        if let Some(place) = self.request.documents.get_mut(document.index) {
            place.sha256 = uploaded.sha256.to_string();
            place.source = Some(Source::Upload(uploaded.name.clone()));
        }
    }
}

/// Why a request can't be read from disk.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file or folder can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder is no review.
    #[error("{} has no session.json; a review's folder has one", folder.display())]
    NoSession {
        /// The folder.
        folder: PathBuf,
    },
    /// A file's JSON can't be taken.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where in it, and why.
        source: JsonError,
    },
    /// A file is no text.
    #[error("{} is not UTF-8: byte {offset} begins no character", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where the first wrong byte stands, from 0.
        offset: usize,
    },
    /// Two files claim to be the same document.
    #[error("{} has both {first} and {second}; keep the one that is to be exported", folder.display())]
    TwoDocuments {
        /// The folder.
        folder: PathBuf,
        /// One file's name.
        first: String,
        /// The other's.
        second: String,
    },
    /// A document's name is not Unicode, which a request can't carry.
    #[error("the name of {} is not Unicode; rename the file", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// A file is too large to travel in a request.
    #[error("{} has {size_bytes} bytes; a request takes at most {MAX_FILE_BYTES}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size_bytes: u64,
    },
}

impl InputError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Reads a review's folder, or a file with the request in proto3 JSON. Blocks on the disk.
///
/// # Errors
/// As [`read_folder`] and [`read_request_file`].
pub fn read(path: &Path) -> Result<LoadedRequest, InputError> {
    let metadata = fs::metadata(path).map_err(InputError::io(path))?;
    if metadata.is_dir() { read_folder(path) } else { read_request_file(path) }
}

/// Reads a review's folder: `session.json` and the documents beside it. Blocks on the disk.
///
/// # Errors
/// The file that can't be read, or the place in `session.json` that can't be taken.
pub fn read_folder(folder: &Path) -> Result<LoadedRequest, InputError> {
    let session = folder.join("session.json");
    if !session.exists() && folder.is_dir() {
        return Err(InputError::NoSession { folder: folder.to_owned() });
    }
    let text = read_text(&session)?;
    let (review, mut warnings) =
        review_from_json(&text).map_err(|source| InputError::Json { path: session, source })?;
    let (documents, large_documents) = documents::read_documents(folder, &mut warnings)?;
    let request = StartExportRequest { review: Some(review), documents, ..Default::default() };
    Ok(LoadedRequest { request, warnings, large_documents })
}

/// Reads a file with a `StartExportRequest` in proto3 JSON. Blocks on the disk.
///
/// # Errors
/// The file can't be read, or the place in it that can't be taken.
pub fn read_request_file(path: &Path) -> Result<LoadedRequest, InputError> {
    let text = read_text(path)?;
    let request = json::request_from_json(&text)
        .map_err(|source| InputError::Json { path: path.to_owned(), source })?;
    Ok(LoadedRequest { request, warnings: Vec::new(), large_documents: Vec::new() })
}

/// Reads a file, if it is small enough to travel in a request.
fn read_bytes(path: &Path) -> Result<Vec<u8>, InputError> {
    let size_bytes = fs::metadata(path).map_err(InputError::io(path))?.len();
    let too_large = |size_bytes| InputError::TooLarge { path: path.to_owned(), size_bytes };
    if size_bytes > MAX_FILE_BYTES {
        return Err(too_large(size_bytes));
    }
    // A pipe or a device reports no size, and a file may grow.
    small_file::read(path, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(MAX_FILE_BYTES + 1),
        _ => InputError::io(path)(error),
    })
}

fn read_text(path: &Path) -> Result<String, InputError> {
    String::from_utf8(read_bytes(path)?).map_err(|error| InputError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// The error of a value that is of the wrong type.
fn wrong_type(path: &exact_json::Path<'_>, expected: &str, found: &exact_json::Json) -> JsonError {
    JsonError::at(path, format!("must be {expected}, but is {}", found.kind()))
}

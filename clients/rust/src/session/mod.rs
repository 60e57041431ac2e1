//! Reads a review in the review application's format and converts it to a request.
//!
//! A folder contains `session.json` and optionally `before.*`, `after.*` and `guidelines.*`. A single
//! file contains the request in proto3 JSON.

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

pub use review::review_from_json;
use tara_export_disk::small_file;

use super::{
    UploadedFile, document_file,
    exact_json::{self, JsonError},
    json,
};
use crate::{
    Protocol,
    proto::{StartExportRequest, document::Source},
    replaced::Replacements,
};

/// Maximum size of a file that is read. A larger file does not fit into a request.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A request read from disk.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedRequest {
    /// The request. `request_id`, `destination` and `fallback` are unset if it was read from a folder.
    pub request: StartExportRequest,
    /// Human-readable warnings about replaced values, and about keys and files that are not exported.
    pub warnings: Vec<String>,
    /// Documents that are too large for the request. The request has a document without a source for each;
    /// set the source with [`LoadedRequest::set_uploaded`].
    pub large_documents: Vec<LargeDocument>,
}

/// A document that must be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeDocument {
    /// The index in the request's documents.
    pub index: usize,
    /// The document's file.
    pub path: PathBuf,
    /// The file's size in bytes.
    pub size_bytes: u64,
}

impl LoadedRequest {
    /// Sets the upload as the source of a large document.
    pub fn set_uploaded(&mut self, document: &LargeDocument, uploaded: &UploadedFile) {
        if let Some(entry) = self.request.documents.get_mut(document.index) {
            entry.sha256 = uploaded.sha256.to_string();
            entry.source = Some(Source::Upload(uploaded.name.clone()));
        }
    }
}

/// An error while reading a request from disk.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder does not contain a review.
    #[error("{} is not a review folder: it has no session.json", folder.display())]
    NoSession {
        /// The folder.
        folder: PathBuf,
    },
    /// The JSON of a file is invalid.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The position and the cause.
        source: JsonError,
    },
    /// Two files have the name of the same document.
    #[error("{} has both {first} and {second}; keep only the file to export", folder.display())]
    TwoDocuments {
        /// The folder.
        folder: PathBuf,
        /// The first file name.
        first: String,
        /// The second file name.
        second: String,
    },
    /// A document of the folder is not a plain file, or changed while it was read.
    #[error("{}: {reason}; or remove it to export the review without it", path.display())]
    UnusableDocument {
        /// The document.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },
    /// A file is too large for a request.
    #[error("{} has {size_bytes} bytes; a request has at most {MAX_FILE_BYTES}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The file's size in bytes.
        size_bytes: u64,
    },
}

impl InputError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Largest document in a request that passes proxies with a limit of 1 MiB: three such documents and a review of some
/// hundred kilobytes.
pub const PROXY_INLINE_BYTES: u64 = 256 * 1024;
/// Largest document in a request. Three such documents and a review fit into the servers' default limit.
const MAX_INLINE_BYTES: u64 = 8 * 1024 * 1024;

/// Reads a review folder, or a file with the request in proto3 JSON. Blocks on disk reads.
///
/// # Errors
/// As [`read_folder`] and [`read_request_file`].
pub fn read(path: &Path) -> Result<LoadedRequest, InputError> {
    read_for(path, Protocol::Grpc)
}

/// Like [`read`], for this protocol. For gRPC-Web, which often passes proxies, documents of more than
/// [`PROXY_INLINE_BYTES`] bytes are uploaded before the request.
///
/// # Errors
/// As [`read`].
pub fn read_for(path: &Path, protocol: Protocol) -> Result<LoadedRequest, InputError> {
    let metadata = fs::metadata(path).map_err(InputError::io(path))?;
    let max_inline_bytes = match protocol {
        Protocol::Grpc => MAX_INLINE_BYTES,
        Protocol::GrpcWeb => PROXY_INLINE_BYTES,
    };
    match metadata.is_dir() {
        true => read_folder_within(path, max_inline_bytes),
        false => read_request_file(path),
    }
}

/// Reads a review folder: `session.json` and the documents. Blocks on disk reads.
///
/// # Errors
/// A file cannot be read, or `session.json` is not a JSON object.
pub fn read_folder(folder: &Path) -> Result<LoadedRequest, InputError> {
    read_folder_within(folder, MAX_INLINE_BYTES)
}

fn read_folder_within(folder: &Path, max_inline_bytes: u64) -> Result<LoadedRequest, InputError> {
    let session = folder.join("session.json");
    if !session.exists() && !session.is_symlink() && folder.is_dir() {
        return Err(InputError::NoSession { folder: folder.to_owned() });
    }
    // A pipe could make this wait.
    document_file::check(&session).map_err(InputError::io(&session))?;
    let text = read_bytes(&session)?;
    let (mut review, mut warnings) =
        review_from_json(&text).map_err(|source| InputError::Json { path: session, source })?;
    let mut replaced = Replacements::default();
    let (documents, large_documents) =
        documents::read_documents(folder, max_inline_bytes, &mut warnings, &mut replaced)?;
    replaced.append_to(&mut review.replacements, ToOwned::to_owned);
    warnings.extend(replaced.warnings());
    let request = StartExportRequest { review: Some(review), documents, ..Default::default() };
    Ok(LoadedRequest { request, warnings, large_documents })
}

/// Reads a file with a `StartExportRequest` in proto3 JSON. Blocks on disk reads.
///
/// # Errors
/// The file cannot be read, or has an invalid value.
pub fn read_request_file(path: &Path) -> Result<LoadedRequest, InputError> {
    let text = read_bytes(path)?;
    let (request, warnings) = json::read_request(&text)
        .map_err(|source| InputError::Json { path: path.to_owned(), source })?;
    Ok(LoadedRequest { request, warnings, large_documents: Vec::new() })
}

/// Reads a file. Fails if it is too large for a request.
fn read_bytes(path: &Path) -> Result<Vec<u8>, InputError> {
    let size_bytes = fs::metadata(path).map_err(InputError::io(path))?.len();
    let too_large = |size_bytes| InputError::TooLarge { path: path.to_owned(), size_bytes };
    if size_bytes > MAX_FILE_BYTES {
        return Err(too_large(size_bytes));
    }
    // A pipe or device reports no size, and a file can grow.
    small_file::read(path, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(MAX_FILE_BYTES + 1),
        _ => InputError::io(path)(error),
    })
}

/// An error for a value of the wrong type.
fn wrong_type(path: &exact_json::Path<'_>, expected: &str, found: &exact_json::Json) -> JsonError {
    JsonError::at(path, format!("must be {expected}, but is {}", found.kind()))
}

//! A folder's files: which there are, and reading them.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    outcome::{SkipReason, Stop},
    retry::retrying,
};
use crate::{
    bundle::{AdoptedBundle, ArtifactPath, FolderName, ManifestArtifact},
    catalog::layout,
    digest::Sha256Hasher,
    store::{ListRequest, ObjectKey, Store, StoreError, StoreErrorKind},
};

/// Files asked for at once.
const PAGE_SIZE: usize = 1_000;
/// More files than a manifest can list.
const MOST_FILES: usize = 10_000;
/// Files of one folder looked up side by side.
const PARALLEL_LOOKS: usize = 8;
/// Files of one folder read side by side.
const PARALLEL_READS: usize = 4;

/// A file as the store tells of it, without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub path: ArtifactPath,
    pub size_bytes: u64,
    pub modified_time: Option<DateTime<Utc>>,
}

/// All files of a folder in path order, but for its manifest: another may be adopting it, too.
pub(super) async fn list(store: &dyn Store, folder: &FolderName) -> Result<Vec<File>, Stop> {
    let paths = paths(store, folder).await?;
    let looks: Vec<_> = paths.into_iter().map(|path| look(store, folder, path)).collect();
    let mut files: Vec<File> =
        stream::iter(looks).buffer_unordered(PARALLEL_LOOKS).try_collect().await?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The paths of all files. Every file must have one that a manifest can list, or the manifest would
/// not tell the whole folder.
async fn paths(store: &dyn Store, folder: &FolderName) -> Result<Vec<ArtifactPath>, Stop> {
    let prefix = format!("{folder}/");
    let mut paths = Vec::new();
    let mut start_after = None;
    loop {
        let request = ListRequest {
            prefix: prefix.clone(),
            start_after: start_after.clone(),
            delimited: false,
            limit: PAGE_SIZE,
        };
        let listing = retrying(|| store.list(request.clone())).await?;
        if let Some(name) = listing.passed_over.first() {
            let message = format!("{name:?} can be no file of a bundle: its name, or what it is");
            return Err(Stop::skip(SkipReason::BadPath, message));
        }
        for key in &listing.keys {
            let path = key.strip_prefix(&prefix).unwrap_or(key);
            let path: ArtifactPath = path
                .parse()
                .map_err(|error| Stop::skip(SkipReason::BadPath, format!("{error}")))?;
            if path != ArtifactPath::manifest() {
                paths.push(path);
            }
        }
        if paths.len() > MOST_FILES {
            let message = format!("it has more than {MOST_FILES} files");
            return Err(Stop::skip(SkipReason::TooLarge, message));
        }
        match listing.keys.last() {
            Some(last) if listing.more => start_after = Some(last.clone()),
            _ => return Ok(paths),
        }
    }
}

async fn look(
    store: &dyn Store,
    folder: &FolderName,
    path: ArtifactPath,
) -> Result<File, StoreError> {
    let key = layout::artifact(folder, &path);
    let info = retrying(|| store.head(&key)).await?;
    Ok(File { path, size_bytes: info.size_bytes, modified_time: info.modified_time })
}

/// A file that was read.
pub(super) struct ReadFile {
    pub artifact: ManifestArtifact,
    /// Its bytes, where they were to be kept.
    pub content: Option<Bytes>,
}

/// Reads all files, a few at once, piece by piece. Keeps the bytes of those that `keep` wants.
pub(super) async fn read(
    store: &dyn Store,
    folder: &FolderName,
    files: &[File],
    keep: impl Fn(&File) -> bool,
    read_bytes: &AtomicU64,
) -> Result<Vec<ReadFile>, Stop> {
    let reads: Vec<_> =
        files.iter().map(|file| read_file(store, folder, file, keep(file), read_bytes)).collect();
    stream::iter(reads).buffer_unordered(PARALLEL_READS).try_collect().await
}

async fn read_file(
    store: &dyn Store,
    folder: &FolderName,
    file: &File,
    is_kept: bool,
    read_bytes: &AtomicU64,
) -> Result<ReadFile, Stop> {
    let key = layout::artifact(folder, &file.path);
    let read = match retrying(|| digest(store, &key, is_kept, read_bytes)).await {
        Ok(read) => read,
        // Cut while it was read: what is there now tells.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            let info = retrying(|| store.head(&key)).await?;
            let is_same =
                info.size_bytes == file.size_bytes && info.modified_time == file.modified_time;
            return Err(if is_same { error.into() } else { changed(&file.path) });
        }
        Err(error) => return Err(error.into()),
    };
    let is_same = read.size_bytes == file.size_bytes
        && read.told_bytes == file.size_bytes
        && read.modified_time == file.modified_time;
    if !is_same {
        return Err(changed(&file.path));
    }
    let artifact =
        AdoptedBundle::artifact(file.path.clone(), read.size_bytes, read.hasher.finish());
    Ok(ReadFile { artifact, content: is_kept.then(|| read.content.into()) })
}

/// What reading one object gave.
struct Read {
    hasher: Sha256Hasher,
    size_bytes: u64,
    told_bytes: u64,
    modified_time: Option<DateTime<Utc>>,
    content: Vec<u8>,
}

async fn digest(
    store: &dyn Store,
    key: &ObjectKey,
    is_kept: bool,
    read_bytes: &AtomicU64,
) -> Result<Read, StoreError> {
    let mut object = store.get(key).await?;
    let mut read = Read {
        hasher: Sha256Hasher::default(),
        size_bytes: 0,
        told_bytes: object.info.size_bytes,
        modified_time: object.info.modified_time,
        content: Vec::new(),
    };
    while let Some(piece) = object.body.try_next().await? {
        read.hasher.update(&piece);
        read.size_bytes += piece.len() as u64;
        read_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        // What is longer than it was told to be has changed, and is not kept beyond that.
        if is_kept && read.size_bytes <= read.told_bytes {
            read.content.extend_from_slice(&piece);
        }
    }
    Ok(read)
}

pub(super) fn changed(what: &ArtifactPath) -> Stop {
    Stop::skip(SkipReason::Changed, format!("{what} changed while the folder was read"))
}

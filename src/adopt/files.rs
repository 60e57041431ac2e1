//! Lists and reads the files of a folder.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tara_export_bundle::{AdoptedBundle, ArtifactPath, FolderName, ManifestArtifact};
use tara_export_catalog::layout;
use tara_export_digest::Sha256Hasher;
use tara_export_store::{ListRequest, ObjectKey, Store, StoreError, StoreErrorKind};

use super::{
    outcome::{SkipReason, Stop},
    retry::retrying,
};

/// Files per request.
const PAGE_SIZE: usize = 1_000;
/// Maximum number of files in a manifest.
const MAX_FILES: usize = 10_000;
/// Files of one folder whose size and time are looked up in parallel.
const PARALLEL_LOOKUPS: usize = 8;
/// Files of one folder that are read in parallel.
const PARALLEL_READS: usize = 4;

/// A file as reported by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub path: ArtifactPath,
    pub size_bytes: u64,
    pub modified_time: Option<DateTime<Utc>>,
}

/// All files of a folder in path order, without its manifest, which a concurrent adoption may write.
pub(super) async fn list(store: &dyn Store, folder: &FolderName) -> Result<Vec<File>, Stop> {
    let paths = paths(store, folder).await?;
    let lookups: Vec<_> = paths.into_iter().map(|path| look_up(store, folder, path)).collect();
    let mut files: Vec<File> = stream::iter(lookups)
        .buffer_unordered(PARALLEL_LOOKUPS)
        .try_collect()
        .await
        .map_err(Stop::of_read)?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The paths of all files. Fails if a manifest cannot list one of them, because the manifest would be incomplete.
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
        let listing = retrying(|| store.list(request.clone())).await.map_err(Stop::of_read)?;
        if let Some(name) = listing.skipped.first() {
            let message =
                format!("{name:?} cannot be in a bundle because of its name, type or permissions");
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
        if paths.len() > MAX_FILES {
            let message = format!("the folder has more than {MAX_FILES} files");
            return Err(Stop::skip(SkipReason::TooLarge, message));
        }
        match listing.keys.last() {
            Some(last) if listing.more => start_after = Some(last.clone()),
            _ => return Ok(paths),
        }
    }
}

async fn look_up(
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
    /// The bytes, if they were requested.
    pub content: Option<Bytes>,
}

/// Reads a few files at a time, piece by piece. Keeps the bytes of the files for which `keep` is true.
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
        // The file was cut while it was read. Check whether it has changed.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            let info = retrying(|| store.head(&key)).await?;
            let is_same =
                info.size_bytes == file.size_bytes && info.modified_time == file.modified_time;
            return Err(if is_same { error.into() } else { changed(&file.path) });
        }
        Err(error) => return Err(Stop::of_read(error)),
    };
    let is_same = read.size_bytes == file.size_bytes
        && read.reported_size_bytes == file.size_bytes
        && read.modified_time == file.modified_time;
    if !is_same {
        return Err(changed(&file.path));
    }
    let artifact =
        AdoptedBundle::artifact(file.path.clone(), read.size_bytes, read.hasher.finish());
    Ok(ReadFile { artifact, content: is_kept.then(|| read.content.into()) })
}

/// The result of reading one object.
struct Read {
    hasher: Sha256Hasher,
    size_bytes: u64,
    reported_size_bytes: u64,
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
        reported_size_bytes: object.info.size_bytes,
        modified_time: object.info.modified_time,
        content: Vec::new(),
    };
    while let Some(piece) = object.body.try_next().await? {
        read.hasher.update(&piece);
        read.size_bytes += piece.len() as u64;
        read_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        // A file that is longer than reported has changed. The excess is not kept.
        if is_kept && read.size_bytes <= read.reported_size_bytes {
            read.content.extend_from_slice(&piece);
        }
    }
    Ok(read)
}

pub(super) fn changed(path: &ArtifactPath) -> Stop {
    Stop::skip(SkipReason::Changed, format!("{path} changed while the folder was read"))
}

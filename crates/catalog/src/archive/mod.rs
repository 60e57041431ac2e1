//! A bundle as a ZIP file.

mod names;

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
    vec,
};

use bytes::Bytes;
use chrono::{Datelike as _, Timelike as _};
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use tara_export_bundle::{AcceptedTime, ArtifactPath};
use tara_export_limits::Pool;
use tara_export_store::{StoreError, StoreErrorKind};
use zip::{CompressionMethod, ZipWriter, result::ZipResult, write::SimpleFileOptions};

use self::names::{ArchiveNames, SUMS};
use super::{ReadError, StoredBundle};

/// Bytes that are collected before a piece is compressed, and before one is returned: reports compress to
/// very little.
const PIECE_BYTES: usize = 64 * 1024;
/// The level for documents, most of which are compressed already: the fastest one at which they grow by
/// less than 1 in 2,000.
const DOCUMENT_LEVEL: i64 = 2;
/// Sizes from this one on need ZIP64. It is below 4 GiB because the compressed size counts too, and a
/// file that cannot be compressed grows.
const ZIP64_BYTES: u64 = u32::MAX as u64 - (u32::MAX as u64) / 2000;

/// A bundle as a ZIP file in a folder with the bundle's name, with `SHA256SUMS` and the manifest last.
///
/// All entries are deflated: a reader that does not seek finds the end of an entry without its size. Names
/// are valid on every system, see `names.rs`. The same bundle always produces the same bytes.
pub struct Archive {
    bundle: Arc<StoredBundle>,
    pool: Pool,
    root: String,
    entries: vec::IntoIter<Entry>,
}

/// A file of the archive.
struct Entry {
    name: String,
    source: Source,
}

enum Source {
    /// A file of the bundle.
    Bundle(ArtifactPath),
    /// The list of digests.
    Sums(Bytes),
}

impl Archive {
    /// Names the archive's entries.
    ///
    /// # Errors
    /// If the pool is shutting down.
    pub async fn new(bundle: Arc<StoredBundle>, pool: Pool) -> Result<Self, ReadError> {
        let named = bundle.clone();
        let (root, entries) =
            pool.run(move || entries(&named)).await.map_err(|error| failed(&bundle, &error))?;
        Ok(Self { bundle, pool, root, entries: entries.into_iter() })
    }

    /// A name for the ZIP file that is valid on every system: the folder in it, and `.zip`.
    pub fn file_name(&self) -> String {
        format!("{}.zip", self.root)
    }

    /// The archive's bytes. Each file is verified while it is read; a difference ends the stream with an
    /// error and without the ZIP's central directory, so that the archive cannot be opened.
    ///
    /// The pool's threads compress one piece at a time: while a client does not read, its archive occupies
    /// no thread, and at most one piece of a file and its compressed form.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
        let Self { bundle, pool, root, entries } = self;
        let zipper =
            Zipper { bundle, pool, root, entries, file: None, writer: Some(Writer::new()) };
        stream::try_unfold(zipper, Zipper::next)
    }
}

/// The folder in the archive, and its files.
fn entries(bundle: &StoredBundle) -> (String, Vec<Entry>) {
    let artifacts = &bundle.manifest().artifacts;
    let paths = artifacts.iter().map(|artifact| artifact.path.clone());
    let paths: Vec<ArtifactPath> = paths.chain([ArtifactPath::manifest()]).collect();
    let digests = artifacts.iter().map(|artifact| artifact.sha256);
    let digests = digests.chain([bundle.manifest_artifact().sha256]);
    let ArchiveNames { root, files } = ArchiveNames::new(bundle.folder(), &paths);
    // Two spaces: the format of sha256sum. Names have no backslash and no line break to escape.
    let sums: String =
        digests.zip(&files).map(|(sha256, file)| format!("{sha256}  {file}\n")).collect();
    let named = paths.into_iter().zip(files);
    let mut entries: Vec<Entry> =
        named.map(|(path, name)| Entry { name, source: Source::Bundle(path) }).collect();
    let before_manifest = entries.len().saturating_sub(1);
    let sums = Entry { name: SUMS.to_owned(), source: Source::Sums(sums.into()) };
    entries.insert(before_manifest, sums);
    (root, entries)
}

struct Zipper {
    bundle: Arc<StoredBundle>,
    pool: Pool,
    root: String,
    entries: vec::IntoIter<Entry>,
    /// The file that is being read.
    file: Option<BoxStream<'static, Result<Bytes, ReadError>>>,
    /// `None` after the end of the archive.
    writer: Option<Writer>,
}

/// The next part of an archive.
enum Part {
    /// A file begins.
    File { name: String, options: SimpleFileOptions },
    /// The next bytes of the file.
    Bytes(Bytes),
    /// The archive ends.
    End,
}

impl Zipper {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, ReadError> {
        loop {
            let Some(writer) = self.writer.take() else { return Ok(None) };
            let part = self.next_part().await?;
            let written = self.pool.run(move || writer.write(part)).await;
            let written = written.map_err(|error| failed(&self.bundle, &error))?;
            let (writer, bytes) = written.map_err(|error| failed(&self.bundle, &error))?;
            self.writer = writer;
            if !bytes.is_empty() {
                return Ok(Some((bytes, self)));
            }
        }
    }

    async fn next_part(&mut self) -> Result<Part, ReadError> {
        if let Some(file) = &mut self.file {
            if let Some(piece) = file.next().await {
                return Ok(Part::Bytes(piece?));
            }
            self.file = None;
        }
        let Some(Entry { name, source }) = self.entries.next() else { return Ok(Part::End) };
        let name = format!("{}/{name}", self.root);
        let options = SimpleFileOptions::default()
            .last_modified_time(modified_time(self.bundle.manifest().accepted_time))
            .unix_permissions(0o644)
            .compression_method(CompressionMethod::Deflated);
        let path = match source {
            Source::Bundle(path) => path,
            Source::Sums(sums) => {
                self.file = Some(stream::iter([Ok(sums)]).boxed());
                return Ok(Part::File { name, options });
            }
        };
        let artifact = self.bundle.open(&path).await?;
        let is_document = path.as_str().starts_with("documents/");
        let options = options
            .compression_level(is_document.then_some(DOCUMENT_LEVEL))
            .large_file(artifact.artifact().size_bytes >= ZIP64_BYTES);
        self.file = Some(artifact.stream_from(0).boxed());
        Ok(Part::File { name, options })
    }
}

/// The error of an archive that cannot be written. Names are within ZIP's 65,535 bytes, files above
/// 4 GiB are declared as large, and writes to memory succeed, so the only causes are a panic and the
/// pool's shutdown.
fn failed(bundle: &StoredBundle, error: &dyn std::error::Error) -> ReadError {
    let message = format!("cannot write the archive of {}: {error}", bundle.folder());
    StoreError::new(StoreErrorKind::Unavailable, message).into()
}

/// A ZIP file that is being written, and its output that was not returned yet.
struct Writer {
    archive: ZipWriter<zip::write::StreamWriter<Output>>,
    output: Output,
    /// The file's bytes that were not compressed yet, less than a block. The compressed bytes depend on the
    /// division into writes, so it must not depend on the pieces that the store returns.
    pending: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        let output = Output::default();
        let archive = ZipWriter::new_stream(output.clone());
        Self { archive, output, pending: Vec::with_capacity(PIECE_BYTES) }
    }

    /// Writes the next part. Returns the writer, unless the archive ended, and the bytes that are ready.
    fn write(mut self, part: Part) -> ZipResult<(Option<Self>, Bytes)> {
        match part {
            Part::File { name, options } => {
                self.compress_pending()?;
                self.archive.start_file(name, options)?;
            }
            Part::Bytes(bytes) => self.compress(&bytes)?,
            Part::End => {
                self.compress_pending()?;
                self.archive.finish()?;
                return Ok((None, self.output.take(0)));
            }
        }
        let bytes = self.output.take(PIECE_BYTES);
        Ok((Some(self), bytes))
    }

    fn compress(&mut self, mut bytes: &[u8]) -> ZipResult<()> {
        while !bytes.is_empty() {
            let free = PIECE_BYTES - self.pending.len();
            let (next, rest) = bytes.split_at(free.min(bytes.len()));
            bytes = rest;
            if next.len() == PIECE_BYTES {
                self.archive.write_all(next)?;
                continue;
            }
            self.pending.extend_from_slice(next);
            if self.pending.len() == PIECE_BYTES {
                self.compress_pending()?;
            }
        }
        Ok(())
    }

    fn compress_pending(&mut self) -> ZipResult<()> {
        self.archive.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// The output buffer of the ZIP writer.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// Takes the buffered bytes if there are at least this many.
    fn take(&self, at_least: usize) -> Bytes {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() < at_least { Bytes::new() } else { mem::take(&mut *written).into() }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// ZIP times have a resolution of two seconds, a range from 1980 to 2107 and no time zone.
fn modified_time(time: AcceptedTime) -> zip::DateTime {
    let time = time.as_datetime();
    zip::DateTime::from_date_and_time(
        time.year().clamp(1980, 2107) as u16,
        time.month() as u8,
        time.day() as u8,
        time.hour() as u8,
        time.minute() as u8,
        time.second() as u8,
    )
    .unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    const CASES: [(&str, Option<i64>); 2] = [("report", None), ("document", Some(DOCUMENT_LEVEL))];

    fn archive(content: &[u8], pieces: usize, level: Option<i64>) -> Vec<u8> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(level);
        let file = Part::File { name: "a".to_owned(), options };
        let pieces = content.chunks(pieces).map(|piece| Part::Bytes(piece.to_vec().into()));
        let mut writer = Some(Writer::new());
        let mut archive = Vec::new();
        for part in [file].into_iter().chain(pieces).chain([Part::End]) {
            let bytes;
            (writer, bytes) = writer.unwrap().write(part).unwrap();
            archive.extend_from_slice(&bytes);
        }
        archive
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn bytes_do_not_depend_on_the_pieces_that_the_store_returns() {
        let mut content = noise(300_000);
        content
            .extend((0..60_000).flat_map(|line| format!("line {line} of a text\n").into_bytes()));
        for (case, level) in CASES {
            let expected = archive(&content, content.len(), level);
            for pieces in [997, 4096, 65_536, 262_144] {
                assert!(archive(&content, pieces, level) == expected, "{case} in {pieces}");
            }
        }
    }

    #[test]
    fn file_that_cannot_be_compressed_stays_below_the_limit_of_zip64() {
        let content = noise(3_000_000);
        for (case, level) in CASES {
            let archive = archive(&content, 65_536, level);
            let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
            let mut file = archive.by_index(0).unwrap();
            let grown = file.compressed_size() - content.len() as u64;
            assert!(grown * 2000 < content.len() as u64, "{case} grew by {grown} bytes");
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            assert!(read == content);
        }
    }
}

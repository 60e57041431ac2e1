//! A bundle as a ZIP file.

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
use zip::{CompressionMethod, ZipWriter, result::ZipResult, write::SimpleFileOptions};

use super::{ReadError, StoredBundle};
use crate::{
    bundle::{AcceptedTime, ArtifactPath},
    limits::Pool,
    store::{StoreError, StoreErrorKind},
};

/// Bytes collected before a piece is handed on: reports are compressed to very little.
const PIECE_BYTES: usize = 64 * 1024;

/// The bundle as a ZIP file, its manifest last, below a folder of the bundle's name. Each file is
/// checked while it is read; a difference ends the stream with an error and without the ZIP's
/// directory, so that the archive can't be opened. The same bundle gives the same bytes.
///
/// The pool's threads compress one piece at a time: between two pieces, a reader that does not read
/// holds no thread, and at most one piece of a file with what became of it.
pub fn zip(
    bundle: Arc<StoredBundle>,
    pool: Pool,
) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
    stream::try_unfold(Zipper::new(bundle, pool), Zipper::next)
}

struct Zipper {
    bundle: Arc<StoredBundle>,
    pool: Pool,
    paths: vec::IntoIter<ArtifactPath>,
    /// The file that is being read.
    file: Option<BoxStream<'static, Result<Bytes, ReadError>>>,
    /// `None` after the archive's end.
    writer: Option<Writer>,
}

/// The next part of an archive.
enum Part {
    /// A file begins.
    File { name: String, options: SimpleFileOptions },
    /// Some of its bytes.
    Bytes(Bytes),
    /// The archive ends.
    End,
}

impl Zipper {
    fn new(bundle: Arc<StoredBundle>, pool: Pool) -> Self {
        let paths = bundle.manifest().artifacts.iter().map(|artifact| artifact.path.clone());
        let paths: Vec<ArtifactPath> = paths.chain([ArtifactPath::manifest()]).collect();
        Self { bundle, pool, paths: paths.into_iter(), file: None, writer: Some(Writer::new()) }
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, ReadError> {
        loop {
            let Some(writer) = self.writer.take() else { return Ok(None) };
            let part = self.next_part().await?;
            let written = self.pool.run(move || writer.write(part)).await;
            let written = written.map_err(|error| self.failed(&error))?;
            let (writer, bytes) = written.map_err(|error| self.failed(&error))?;
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
        let Some(path) = self.paths.next() else { return Ok(Part::End) };
        let artifact = self.bundle.open(&path).await?;
        let size_bytes = artifact.artifact().size_bytes;
        // Documents are compressed by their own formats.
        let method = if path.as_str().starts_with("documents/") {
            CompressionMethod::Stored
        } else {
            CompressionMethod::Deflated
        };
        let options = SimpleFileOptions::default()
            .last_modified_time(modified_time(self.bundle.manifest().accepted_time))
            .unix_permissions(0o644)
            .compression_method(method)
            .large_file(size_bytes >= u64::from(u32::MAX));
        self.file = Some(artifact.stream_from(0).boxed());
        Ok(Part::File { name: format!("{}/{path}", self.bundle.folder()), options })
    }

    /// The archive can't be written: its names are within ZIP's 65,535 bytes, files above 4 GiB are
    /// announced as large, and memory takes every write, so only a panic or the pool's end is left.
    fn failed(&self, error: &dyn std::error::Error) -> ReadError {
        let message = format!("cannot write the archive of {}: {error}", self.bundle.folder());
        StoreError::new(StoreErrorKind::Unavailable, message).into()
    }
}

/// A ZIP file that is being written, and what was written since that was last taken.
struct Writer {
    archive: ZipWriter<zip::write::StreamWriter<Output>>,
    output: Output,
}

impl Writer {
    fn new() -> Self {
        let output = Output::default();
        Self { archive: ZipWriter::new_stream(output.clone()), output }
    }

    /// Writes the next part. Returns the writer, unless this was the end, and bytes that are ready.
    fn write(mut self, part: Part) -> ZipResult<(Option<Self>, Bytes)> {
        match part {
            Part::File { name, options } => self.archive.start_file(name, options)?,
            Part::Bytes(bytes) => self.archive.write_all(&bytes)?,
            Part::End => {
                self.archive.finish()?;
                return Ok((None, self.output.take(0)));
            }
        }
        let bytes = self.output.take(PIECE_BYTES);
        Ok((Some(self), bytes))
    }
}

/// Bytes in memory that the ZIP writer writes and that are taken from it.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// What was written, if it has at least this many bytes.
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

/// A ZIP's times have two-second steps from 1980 to 2107 and no zone.
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

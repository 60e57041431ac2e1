//! A bundle as a ZIP file.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use chrono::{Datelike as _, Timelike as _};
use futures::{Stream, StreamExt as _};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{ReadError, StoredBundle};
use crate::bundle::{AcceptedTime, ArtifactPath};

/// Bytes collected before a piece is handed on.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces made ahead of a slow reader.
const PIECES_AHEAD: usize = 4;

/// The bundle as a ZIP file, its manifest last, below a folder of the bundle's name. Each file is
/// checked while it is read; a difference ends the stream with an error and without the ZIP's
/// directory, so that the archive can't be opened. The same bundle gives the same bytes.
pub fn zip(bundle: Arc<StoredBundle>) -> impl Stream<Item = Result<Bytes, ReadError>> + Send {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let runtime = Handle::current();
    // The ZIP writer is synchronous; a reader who goes away ends it at its next piece.
    tokio::task::spawn_blocking(move || {
        let output = PieceWriter { sender: sender.clone(), collected: BytesMut::new() };
        match write_zip(&bundle, output, &runtime) {
            Ok(()) | Err(ZipError::ReaderGone) => {}
            Err(ZipError::Read(error)) => drop(sender.blocking_send(Err(error))),
        }
    });
    ReceiverStream::new(receiver)
}

enum ZipError {
    Read(ReadError),
    ReaderGone,
}

impl From<ReadError> for ZipError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<zip::result::ZipError> for ZipError {
    // The writer's output fails only when its reader is gone, and its input is valid: names are
    // within ZIP's 65,535 bytes and files above 4 GiB are announced as large.
    fn from(_: zip::result::ZipError) -> Self {
        Self::ReaderGone
    }
}

impl From<io::Error> for ZipError {
    fn from(_: io::Error) -> Self {
        Self::ReaderGone
    }
}

fn write_zip(bundle: &StoredBundle, output: PieceWriter, runtime: &Handle) -> Result<(), ZipError> {
    let mut archive = ZipWriter::new_stream(output);
    let options = SimpleFileOptions::default()
        .last_modified_time(modified_time(bundle.manifest().accepted_time))
        .unix_permissions(0o644);
    let paths = bundle.manifest().artifacts.iter().map(|artifact| artifact.path.clone());
    for path in paths.chain([ArtifactPath::manifest()]) {
        let artifact = runtime.block_on(bundle.open(&path))?;
        let size_bytes = artifact.artifact().size_bytes;
        // Documents are compressed by their own formats.
        let method = if path.as_str().starts_with("documents/") {
            CompressionMethod::Stored
        } else {
            CompressionMethod::Deflated
        };
        let options =
            options.compression_method(method).large_file(size_bytes >= u64::from(u32::MAX));
        archive.start_file(format!("{}/{path}", bundle.folder()), options)?;
        let mut pieces = std::pin::pin!(artifact.stream_from(0));
        while let Some(piece) = runtime.block_on(pieces.next()) {
            archive.write_all(&piece?)?;
        }
    }
    archive.finish()?.into_inner().flush()?;
    Ok(())
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

/// Hands on what is written in pieces.
struct PieceWriter {
    sender: mpsc::Sender<Result<Bytes, ReadError>>,
    collected: BytesMut,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.collected.len());
        self.collected.extend_from_slice(&bytes[..taken]);
        if self.collected.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        let piece = self.collected.split().freeze();
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

//! A file to upload, read in pieces and hashed in the same pass.

use std::io::{self, Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use tara_export_digest::{Sha256, Sha256Hasher};

use super::document_file::Source;

/// The size of one read of bytes that are only hashed.
const HASH_READ_BYTES: usize = 1024 * 1024;

/// Pieces can be read at any offset and repeatedly. Each byte is hashed once, in the file's order.
pub(super) struct FilePieces {
    file: Box<dyn Source>,
    size_bytes: u64,
    /// The hash of the first `hashed_bytes` of the file.
    hasher: Sha256Hasher,
    hashed_bytes: u64,
}

impl FilePieces {
    /// A file of this size.
    pub(super) fn new(file: Box<dyn Source>, size_bytes: u64) -> Self {
        Self { file, size_bytes, hasher: Sha256Hasher::default(), hashed_bytes: 0 }
    }

    /// Reads at most `limit` bytes from an offset, fewer only at the end. Bytes before the offset are hashed too.
    ///
    /// # Errors
    /// The file cannot be read, or was truncated.
    pub(super) fn read(&mut self, offset: u64, limit: usize) -> io::Result<Bytes> {
        self.hash_until(offset.min(self.size_bytes))?;
        let length = self.size_bytes.saturating_sub(offset).min(limit as u64);
        let piece = self.read_exactly(offset, length)?;
        let already_hashed = self.hashed_bytes.saturating_sub(offset);
        let already_hashed = usize::try_from(already_hashed).ok();
        if let Some(unhashed) = already_hashed.and_then(|length| piece.get(length..)) {
            self.hasher.update(unhashed);
            self.hashed_bytes += unhashed.len() as u64;
        }
        Ok(piece.into())
    }

    /// Returns the digest of the complete file. Reads the bytes that were not read yet.
    ///
    /// # Errors
    /// As [`FilePieces::read`]; the file has more bytes than its size.
    pub(super) fn finish(&mut self) -> io::Result<Sha256> {
        self.hash_until(self.size_bytes)?;
        self.file.seek(SeekFrom::Start(self.size_bytes))?;
        if (&mut self.file).take(1).read_to_end(&mut Vec::new())? > 0 {
            return Err(io::Error::other(
                "it grew while being sent; send it again when it is complete",
            ));
        }
        Ok(self.hasher.clone().finish())
    }

    fn hash_until(&mut self, end: u64) -> io::Result<()> {
        while self.hashed_bytes < end {
            let length = (end - self.hashed_bytes).min(HASH_READ_BYTES as u64);
            let piece = self.read_exactly(self.hashed_bytes, length)?;
            self.hasher.update(&piece);
            self.hashed_bytes += length;
        }
        Ok(())
    }

    fn read_exactly(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(offset))?;
        let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        (&mut self.file).take(length).read_to_end(&mut piece)?;
        if (piece.len() as u64) < length {
            let message = "it was truncated while being sent; send it again when it is complete";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(piece)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const CONTENT: &[u8] = b"twenty-six bytes of a file";

    fn pieces(content: &[u8], size_bytes: u64) -> FilePieces {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        FilePieces::new(Box::new(file), size_bytes)
    }

    fn all() -> FilePieces {
        pieces(CONTENT, CONTENT.len() as u64)
    }

    #[test]
    fn pieces_match_the_file_and_end_with_it() {
        let mut pieces = all();
        assert_eq!(pieces.read(0, 10).unwrap(), CONTENT[..10]);
        assert_eq!(pieces.read(10, 10).unwrap(), CONTENT[10..20]);
        assert_eq!(pieces.read(20, 10).unwrap(), CONTENT[20..]);
        assert_eq!(pieces.read(26, 10).unwrap(), b""[..]);
        assert_eq!(pieces.finish().unwrap(), Sha256::of(CONTENT));
    }

    #[test]
    fn repeated_and_skipped_bytes_are_hashed_once() {
        let mut pieces = all();
        // The server has the first bytes, and later reports fewer.
        pieces.read(12, 6).unwrap();
        pieces.read(3, 12).unwrap();
        pieces.read(15, 6).unwrap();
        assert_eq!(pieces.finish().unwrap(), Sha256::of(CONTENT));
        assert_eq!(all().finish().unwrap(), Sha256::of(CONTENT), "nothing was read");
    }

    #[test]
    fn empty_file_has_a_digest() {
        assert_eq!(pieces(b"", 0).finish().unwrap(), Sha256::of(b""));
    }

    #[test]
    fn truncated_file_is_an_error() {
        let mut pieces = pieces(CONTENT, CONTENT.len() as u64 + 1);
        assert_eq!(pieces.read(20, 10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(pieces.finish().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn file_that_grew_is_an_error() {
        let mut pieces = pieces(CONTENT, 20);
        assert_eq!(pieces.read(15, 10).unwrap(), CONTENT[15..20]);
        assert!(pieces.finish().unwrap_err().to_string().contains("grew"));
    }
}

//! A file on its way to the server, read piece by piece and digested in the same pass.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use bytes::Bytes;

use crate::digest::{Sha256, Sha256Hasher};

/// Read at a time where bytes are digested only.
const DIGESTED_AT_ONCE: usize = 1024 * 1024;

/// Any piece can be read, and some a second time; each byte is digested once, in the file's order.
pub(super) struct FilePieces {
    file: File,
    size_bytes: u64,
    /// The digest of the file's beginning, and how long that is.
    hasher: Sha256Hasher,
    digested_bytes: u64,
}

impl FilePieces {
    /// The first `size_bytes` of a file.
    pub(super) fn new(file: File, size_bytes: u64) -> Self {
        Self { file, size_bytes, hasher: Sha256Hasher::default(), digested_bytes: 0 }
    }

    /// At most `limit` bytes from an offset, fewer only at the end. What lies before them is digested too.
    ///
    /// # Errors
    /// The file can't be read, or became shorter.
    pub(super) fn read(&mut self, offset: u64, limit: usize) -> io::Result<Bytes> {
        self.digest_until(offset.min(self.size_bytes))?;
        let length = self.size_bytes.saturating_sub(offset).min(limit as u64);
        let piece = self.read_exactly(offset, length)?;
        let fresh = self.digested_bytes.saturating_sub(offset);
        if let Some(fresh) = usize::try_from(fresh).ok().and_then(|known| piece.get(known..)) {
            self.hasher.update(fresh);
            self.digested_bytes += fresh.len() as u64;
        }
        Ok(piece.into())
    }

    /// The digest of it all; what was not read yet, is.
    ///
    /// # Errors
    /// As [`FilePieces::read`].
    pub(super) fn sha256(&mut self) -> io::Result<Sha256> {
        self.digest_until(self.size_bytes)?;
        Ok(self.hasher.clone().finish())
    }

    fn digest_until(&mut self, end: u64) -> io::Result<()> {
        while self.digested_bytes < end {
            let length = (end - self.digested_bytes).min(DIGESTED_AT_ONCE as u64);
            let piece = self.read_exactly(self.digested_bytes, length)?;
            self.hasher.update(&piece);
            self.digested_bytes += length;
        }
        Ok(())
    }

    fn read_exactly(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(offset))?;
        let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        (&mut self.file).take(length).read_to_end(&mut piece)?;
        if (piece.len() as u64) < length {
            let message = "it became shorter while it was sent";
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
        FilePieces::new(file, size_bytes)
    }

    fn all() -> FilePieces {
        pieces(CONTENT, CONTENT.len() as u64)
    }

    #[test]
    fn pieces_are_of_the_file_and_end_with_it() {
        let mut pieces = all();
        assert_eq!(pieces.read(0, 10).unwrap(), CONTENT[..10]);
        assert_eq!(pieces.read(10, 10).unwrap(), CONTENT[10..20]);
        assert_eq!(pieces.read(20, 10).unwrap(), CONTENT[20..]);
        assert_eq!(pieces.read(26, 10).unwrap(), b""[..]);
        assert_eq!(pieces.sha256().unwrap(), Sha256::of(CONTENT));
    }

    #[test]
    fn what_is_sent_again_or_left_out_is_digested_once() {
        let mut pieces = all();
        // The server has the first bytes already; later it turns out to have fewer.
        pieces.read(12, 6).unwrap();
        pieces.read(3, 12).unwrap();
        pieces.read(15, 6).unwrap();
        assert_eq!(pieces.sha256().unwrap(), Sha256::of(CONTENT));
        assert_eq!(all().sha256().unwrap(), Sha256::of(CONTENT), "nothing was sent at all");
    }

    #[test]
    fn an_empty_file_has_a_digest() {
        assert_eq!(pieces(b"", 0).sha256().unwrap(), Sha256::of(b""));
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let mut pieces = pieces(CONTENT, CONTENT.len() as u64 + 1);
        assert_eq!(pieces.read(20, 10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(pieces.sha256().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_a_file_grew_by_is_left_out() {
        let mut pieces = pieces(CONTENT, 20);
        assert_eq!(pieces.read(15, 10).unwrap(), CONTENT[15..20]);
        assert_eq!(pieces.sha256().unwrap(), Sha256::of(&CONTENT[..20]));
    }
}

//! Content cut into parts, digested on the way.

use bytes::Bytes;
use futures::{TryStreamExt as _, stream::BoxStream};

use super::{PART_BYTES, PartMemory};
use crate::{
    digest::{ContentHasher, Crc64Nvme},
    limits::FairPermit,
    store::{Part, Segments, StoreError, StoreErrorKind},
};

/// Cuts a stream of bytes into parts. Holds at most one part, and waits for room for it before it reads.
pub struct PartReader<E = StoreError> {
    pieces: BoxStream<'static, Result<Bytes, E>>,
    /// What the stream gave beyond the last part.
    rest: Bytes,
    hasher: ContentHasher,
    memory: PartMemory,
    given_memory: Option<FairPermit>,
    is_at_end: bool,
}

/// A part that was read. Its memory is given back when this is dropped.
pub struct ReadPart {
    /// Its bytes.
    pub content: Segments,
    /// Their checksum.
    pub crc64nvme: Crc64Nvme,
    /// The hasher behind this part.
    pub hasher: ContentHasher,
    _memory: FairPermit,
}

impl ReadPart {
    /// To be stored as this part. The memory stays with `self`.
    pub fn to_part(&self, number: u32) -> Part {
        Part { number, content: self.content.clone(), crc64nvme: self.crc64nvme, progress: None }
    }
}

impl<E: From<StoreError>> PartReader<E> {
    /// Reads what follows what the hasher has taken.
    pub fn new(
        pieces: BoxStream<'static, Result<Bytes, E>>,
        hasher: ContentHasher,
        memory: PartMemory,
    ) -> Self {
        Self { pieces, rest: Bytes::new(), hasher, memory, given_memory: None, is_at_end: false }
    }

    /// Memory that was taken for the first part already.
    pub fn give_memory(&mut self, memory: FairPermit) {
        self.given_memory = Some(memory);
    }

    /// The next part; none at the end. Every part but the last is of [`PART_BYTES`].
    ///
    /// # Errors
    /// The stream's. What was read of the part by then is dropped.
    pub async fn next(&mut self) -> Result<Option<ReadPart>, E> {
        if self.is_at_end && self.rest.is_empty() {
            return Ok(None);
        }
        let memory = match self.given_memory.take() {
            Some(given) => given,
            None => self.memory.take().await.map_err(|_| {
                // Its queue has no limit.
                StoreError::new(StoreErrorKind::Unavailable, "the service is shutting down")
            })?,
        };
        let mut pieces = Vec::new();
        let mut missing_bytes = PART_BYTES;
        while missing_bytes > 0 {
            if self.rest.is_empty() {
                match self.pieces.try_next().await? {
                    Some(piece) => self.rest = piece,
                    None => {
                        self.is_at_end = true;
                        break;
                    }
                }
            }
            let taken = self.rest.len().min(usize::try_from(missing_bytes).unwrap_or(usize::MAX));
            let piece = self.rest.split_to(taken);
            missing_bytes -= taken as u64;
            self.hasher.update(&piece);
            if !piece.is_empty() {
                pieces.push(piece);
            }
        }
        if pieces.is_empty() {
            return Ok(None);
        }
        let content = Segments::new(pieces);
        let crc64nvme = Crc64Nvme::of_pieces(content.pieces());
        Ok(Some(ReadPart { content, crc64nvme, hasher: self.hasher.clone(), _memory: memory }))
    }

    /// The hasher behind everything that was read.
    pub fn into_hasher(self) -> ContentHasher {
        self.hasher
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::{StreamExt as _, stream};

    use super::*;
    use crate::digest::ContentChecksums;

    fn reader(pieces: Vec<Bytes>, memory: &PartMemory) -> PartReader {
        let pieces = stream::iter(pieces.into_iter().map(Ok)).boxed();
        PartReader::new(pieces, ContentHasher::default(), memory.clone())
    }

    #[tokio::test]
    async fn parts_are_of_one_size_whatever_the_pieces() {
        let size = PART_BYTES as usize * 2 + 7;
        let all = Bytes::from((0..size).map(|at| (at * 31 / 7) as u8).collect::<Vec<_>>());
        for piece_bytes in [1_000_003, 3 * 1024 * 1024, size] {
            let pieces = all.chunks(piece_bytes).map(|piece| all.slice_ref(piece)).collect();
            let memory = PartMemory::new(1);
            let mut reader = reader(pieces, &memory);
            let mut sizes = Vec::new();
            let mut read = Vec::new();
            while let Some(part) = reader.next().await.unwrap() {
                assert_eq!(memory.free(), 0);
                let bytes = part.content.pieces().concat();
                assert_eq!(part.crc64nvme, Crc64Nvme::of(&bytes));
                sizes.push(bytes.len() as u64);
                read.extend(bytes);
                assert_eq!(part.hasher.size_bytes(), read.len() as u64);
            }
            assert_eq!(sizes, [PART_BYTES, PART_BYTES, 7]);
            assert_eq!(reader.into_hasher().finish(), ContentChecksums::of(&all));
            assert_eq!(memory.free(), 1);
        }
    }

    #[tokio::test]
    async fn nothing_is_no_part() {
        let memory = PartMemory::new(1);
        for pieces in [vec![], vec![Bytes::new(), Bytes::new()]] {
            assert!(reader(pieces, &memory).next().await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn what_follows_a_whole_part_is_the_next() {
        let memory = PartMemory::new(2);
        let whole = Bytes::from(vec![1; PART_BYTES as usize]);
        let mut reader = reader(vec![whole], &memory);
        assert_eq!(reader.next().await.unwrap().unwrap().content.size_bytes(), PART_BYTES);
        assert!(reader.next().await.unwrap().is_none());
    }
}

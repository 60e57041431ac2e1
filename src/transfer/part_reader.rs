//! Cuts content into parts and computes its checksums.

use bytes::Bytes;
use futures::{TryStreamExt as _, stream::BoxStream};
use tara_export_digest::{ContentHasher, Crc64Nvme};
use tara_export_limits::FairPermit;
use tara_export_store::{Part, Segments, StoreError, StoreErrorKind};

use super::{PART_BYTES, PartMemory};

/// Cuts a stream of bytes into parts. Holds at most one part, and acquires memory for it before reading.
pub struct PartReader<E = StoreError> {
    pieces: BoxStream<'static, Result<Bytes, E>>,
    /// Bytes that were read after the last part.
    rest: Bytes,
    /// Bytes of the first part that are in the hasher already.
    begun: Vec<Bytes>,
    hasher: ContentHasher,
    memory: PartMemory,
    first_memory: Option<FairPermit>,
    is_at_end: bool,
}

/// A part that was read. Its memory is released when this is dropped.
pub struct ReadPart {
    /// Its bytes.
    pub content: Segments,
    /// The checksum of the bytes.
    pub crc64nvme: Crc64Nvme,
    /// The hasher after this part.
    pub hasher: ContentHasher,
    _memory: FairPermit,
}

impl ReadPart {
    /// The part to store under this number. `self` keeps the memory.
    pub fn to_part(&self, number: u32) -> Part {
        Part { number, content: self.content.clone(), crc64nvme: self.crc64nvme, progress: None }
    }
}

impl<E: From<StoreError>> PartReader<E> {
    /// A reader of the bytes that follow those in the hasher.
    pub fn new(
        pieces: BoxStream<'static, Result<Bytes, E>>,
        hasher: ContentHasher,
        memory: PartMemory,
    ) -> Self {
        Self {
            pieces,
            rest: Bytes::new(),
            begun: Vec::new(),
            hasher,
            memory,
            first_memory: None,
            is_at_end: false,
        }
    }

    /// Uses memory that is already acquired for the first part.
    pub fn set_first_memory(&mut self, memory: FairPermit) {
        self.first_memory = Some(memory);
    }

    /// Puts bytes before those of the stream into the first part: the end of the bytes in the hasher, less than a part.
    pub fn begin_with(&mut self, begun: Vec<Bytes>) {
        self.begun = begun;
    }

    /// The next part; `None` at the end. Every part except the last has [`PART_BYTES`].
    ///
    /// # Errors
    /// The stream's error. The incomplete part is dropped.
    pub async fn next(&mut self) -> Result<Option<ReadPart>, E> {
        if self.is_at_end && self.rest.is_empty() {
            return Ok(None);
        }
        let memory = match self.first_memory.take() {
            Some(given) => given,
            None => self.memory.acquire().await.map_err(|_| {
                // The queue has no limit.
                StoreError::new(StoreErrorKind::Unavailable, "the service is shutting down")
            })?,
        };
        let mut pieces = std::mem::take(&mut self.begun);
        let begun_bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let mut missing_bytes = PART_BYTES.saturating_sub(begun_bytes);
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

    /// The hasher after all bytes that were read.
    pub fn into_hasher(self) -> ContentHasher {
        self.hasher
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::{StreamExt as _, stream};
    use tara_export_digest::ContentChecksums;

    use super::*;

    fn reader(pieces: Vec<Bytes>, memory: &PartMemory) -> PartReader {
        let pieces = stream::iter(pieces.into_iter().map(Ok)).boxed();
        PartReader::new(pieces, ContentHasher::default(), memory.clone())
    }

    #[tokio::test]
    async fn part_size_does_not_depend_on_the_pieces() {
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
    async fn empty_content_has_no_parts() {
        let memory = PartMemory::new(1);
        for pieces in [vec![], vec![Bytes::new(), Bytes::new()]] {
            assert!(reader(pieces, &memory).next().await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn content_of_one_full_part_has_no_second_part() {
        let memory = PartMemory::new(2);
        let full_part = Bytes::from(vec![1; PART_BYTES as usize]);
        let mut reader = reader(vec![full_part], &memory);
        assert_eq!(reader.next().await.unwrap().unwrap().content.size_bytes(), PART_BYTES);
        assert!(reader.next().await.unwrap().is_none());
    }
}

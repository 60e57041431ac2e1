//! Chunks in the store that are smaller than a part.
//!
//! S3 requires at least 5 MiB for each part but the last, and a request behind a proxy may be smaller. So the bytes of
//! such a chunk are an object of their own, a piece, and the checkpoint after the chunk names the pieces of the current
//! part. The chunk that completes the part puts it: its pieces and its own bytes. Any replica can do that.

use bytes::Bytes;
use futures::TryStreamExt as _;
use tara_export_catalog::layout;
use tara_export_digest::{ContentHasher, Crc64Nvme, Sha256};
use tara_export_store::{Payload, Segments, StoreErrorKind, read_small};
use tokio::task::JoinSet;

use super::{
    IncomingBytes, UploadError,
    records::{Piece, UploadRecord},
    store::{MEDIA_TYPE, Received, StoreUploads},
};
use crate::transfer::PART_BYTES;

/// The state of an upload at a checkpoint.
pub(super) struct Resumed {
    pub hasher: ContentHasher,
    /// The pieces of the current part.
    pub pieces: Vec<Piece>,
}

impl StoreUploads {
    /// Whether a chunk is not one complete part of the document. An empty one has nothing to store.
    pub(super) fn is_piece(record: &UploadRecord, incoming: &IncomingBytes) -> bool {
        let IncomingBytes { offset, chunk_bytes, .. } = incoming;
        chunk_bytes.is_some_and(|size_bytes| {
            let is_part = offset % PART_BYTES == 0
                && (size_bytes == PART_BYTES || offset + size_bytes == record.size_bytes);
            size_bytes > 0 && !is_part
        })
    }

    /// Receives a chunk that is smaller than a part, or that begins or ends within one. Writes a checkpoint after it.
    ///
    /// The caller's memory for one part is sufficient: the chunk and the pieces before it have the size of a part, or
    /// the chunk is put first and dropped.
    pub(super) async fn receive_piece(
        &self,
        record: &UploadRecord,
        resumed: Resumed,
        incoming: IncomingBytes,
    ) -> Result<Received, UploadError> {
        let Resumed { mut hasher, mut pieces } = resumed;
        let IncomingBytes { offset, pieces: data, .. } = incoming;
        let received: Vec<Bytes> = data.try_collect().await?;
        let mut data = match <[Bytes; 1]>::try_from(received) {
            Ok([chunk]) => chunk,
            Err(several) => several.concat().into(),
        };
        let number = offset / PART_BYTES + 1;
        let missing_bytes = usize::try_from(number * PART_BYTES - offset).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        hasher.update(&data);
        if data.len() > missing_bytes {
            let rest = data.split_off(missing_bytes);
            let rest_offset = offset + data.len() as u64;
            pieces.push(self.put_piece(record, offset, data).await?);
            let next = match hasher.size_bytes() == record.size_bytes {
                true => {
                    parts.push(self.store_bytes(record, number + 1, vec![rest]).await?);
                    Vec::new()
                }
                false => vec![self.put_piece(record, rest_offset, rest).await?],
            };
            let before = self.read_pieces(record, &pieces).await?;
            parts.insert(0, self.store_bytes(record, number, before).await?);
            pieces = next;
        } else if data.len() == missing_bytes || hasher.size_bytes() == record.size_bytes {
            let mut content = self.read_pieces(record, &pieces).await?;
            content.push(data);
            parts.push(self.store_bytes(record, number, content).await?);
            pieces.clear();
        } else {
            pieces.push(self.put_piece(record, offset, data).await?);
        }
        let mut checkpoints = JoinSet::new();
        self.write_checkpoint(&mut checkpoints, record, &hasher, pieces);
        let failure = Self::written(checkpoints).await.err();
        Ok(Received { hasher, parts, failure })
    }

    async fn put_piece(
        &self,
        record: &UploadRecord,
        offset: u64,
        bytes: Bytes,
    ) -> Result<Piece, UploadError> {
        let piece = Piece { offset, size_bytes: bytes.len() as u64, sha256: Sha256::of(&bytes) };
        let key = layout::upload_piece(record.upload_id, offset, piece.sha256);
        let payload = Payload::new(bytes, piece.sha256, MEDIA_TYPE);
        let put = || self.store.put_if_absent(&key, payload.clone());
        self.budget().run(put, |_, _| {}).await?;
        Ok(piece)
    }

    /// The bytes of these pieces of one part, for which the caller has memory. Aborts the upload if they are lost.
    pub(super) async fn read_pieces(
        &self,
        record: &UploadRecord,
        pieces: &[Piece],
    ) -> Result<Vec<Bytes>, UploadError> {
        let mut contents = Vec::with_capacity(pieces.len() + 1);
        for piece in pieces {
            let key = layout::upload_piece(record.upload_id, piece.offset, piece.sha256);
            let read = || read_small(self.store.as_ref(), &key, piece.size_bytes);
            let is_lost = match self.budget().run(read, |_, _| {}).await {
                Ok((_, bytes)) if Sha256::of(&bytes) == piece.sha256 => {
                    contents.push(bytes);
                    false
                }
                Ok(_) => true,
                Err(error) => match error.kind() {
                    StoreErrorKind::NotFound | StoreErrorKind::Corrupt => true,
                    _ => return Err(error.into()),
                },
            };
            if is_lost {
                self.abort(record, "the store lost a piece of the document").await;
                return Err(UploadError::LostBytes { offset: piece.offset + piece.size_bytes });
            }
        }
        Ok(contents)
    }

    async fn store_bytes(
        &self,
        record: &UploadRecord,
        number: u64,
        contents: Vec<Bytes>,
    ) -> Result<tara_export_store::StoredPart, UploadError> {
        let content = Segments::new(contents);
        let crc64nvme = Crc64Nvme::of_pieces(content.pieces());
        self.store_part(record, number, content, crc64nvme).await
    }
}

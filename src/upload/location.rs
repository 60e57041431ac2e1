//! The location of an upload: the store or this machine's disk.

use super::{
    FinishedUpload, IncomingBytes, PermitMemory, UploadError, disk::DiskUploads,
    progress::Progress, records::UploadRecord, store::StoreUploads,
};

/// An upload and its location.
#[derive(Debug)]
pub(super) struct LocatedUpload<'a> {
    pub record: UploadRecord,
    pub location: Location<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Location<'a> {
    Store(&'a StoreUploads),
    Disk(&'a DiskUploads),
}

impl LocatedUpload<'_> {
    /// The progress of the upload.
    ///
    /// # Errors
    /// Those of [`StoreUploads::progress`] and [`DiskUploads::progress`].
    pub(super) async fn progress(&self) -> Result<Progress, UploadError> {
        match self.location {
            Location::Store(uploads) => uploads.progress(&self.record).await,
            Location::Disk(uploads) => uploads.progress(&self.record).await,
        }
    }

    /// Receives the bytes from an offset. Returns the document if they finish it.
    pub(super) async fn receive(
        &self,
        incoming: IncomingBytes,
        memory: PermitMemory,
    ) -> Result<Option<FinishedUpload>, UploadError> {
        match self.location {
            Location::Store(uploads) => uploads.receive(&self.record, incoming, memory).await,
            // A chunk in memory keeps its memory permit until it is written.
            Location::Disk(uploads) => {
                let _memory = memory;
                uploads.receive(&self.record, incoming).await
            }
        }
    }
}

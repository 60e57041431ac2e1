//! Uploads over gRPC: converts between messages and bytes from an offset on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tara_export_limits::CallerKey;
use tokio::time::{self, Instant};
use tonic::{Request, Status, Streaming};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    admitted::Admitted,
    caller::key,
    convert::{optional_sha256, request_id, upload_id},
    failures::upload_failed,
    status::{Violations, internal_error, invalid},
};
use crate::{
    proto::{self, UploadDocumentRequest},
    upload::{
        CHUNK_BYTES, IncomingBytes, MIN_CHUNK_BYTES, UploadError, UploadPermit, UploadStatus,
        Uploads,
    },
};

/// An upload as a message.
pub(super) fn upload_message(status: &UploadStatus, replica: &str) -> proto::Upload {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    proto::Upload {
        name: format!("uploads/{}", status.upload_id),
        committed_size_bytes: signed(status.committed_size_bytes),
        size_bytes: signed(status.size_bytes),
        chunk_size_bytes: i32::try_from(CHUNK_BYTES).unwrap_or(i32::MAX),
        min_chunk_size_bytes: i32::try_from(MIN_CHUNK_BYTES).unwrap_or(i32::MAX),
        expire_time: Some(super::convert::timestamp(status.expire_time)),
        sha256: status.finished.map(|finished| finished.sha256.to_string()).unwrap_or_default(),
        replica: if status.is_on_this_disk { replica.to_owned() } else { String::new() },
    }
}

pub(super) async fn create(
    uploads: &Uploads,
    caller: &CallerKey,
    request: proto::CreateUploadRequest,
) -> Result<UploadStatus, Status> {
    let mut violations = Violations::default();
    let id = request_id(&request.request_id).unwrap_or_else(|description| {
        violations.add("request_id", description);
        None
    });
    let size_bytes = u64::try_from(request.size_bytes).unwrap_or_else(|_| {
        violations.add("size_bytes", "must be 0 or greater");
        0
    });
    let sha256 = optional_sha256("sha256", &request.sha256, &mut violations);
    violations.into_result(())?;
    uploads.create(caller, id, size_bytes, sha256).await.map_err(upload_failed)
}

/// Receives a stream of messages until its end. Continues after the caller disconnects, so that received bytes are
/// recorded.
pub(super) async fn receive_stream(
    uploads: Uploads,
    request: Request<Streaming<UploadDocumentRequest>>,
) -> Result<UploadStatus, Status> {
    let permit = upload_permit(&uploads, &request).await?;
    let mut messages = request.into_inner();
    let mut progress = ProgressTimeout::new(uploads.idle_timeout());
    let first = progress.next_message(&mut messages).await?;
    let Some(first) = first else {
        return Err(invalid("name", "is required in the first message, but no message arrived"));
    };
    let upload_id = upload_id(&first.name)?;
    let offset =
        u64::try_from(first.offset).map_err(|_| invalid("offset", "must be 0 or greater"))?;
    let is_finished = Arc::new(AtomicBool::new(false));
    let reader = MessageReader {
        messages,
        next: Some(first),
        upload_id,
        position: offset,
        is_finished: is_finished.clone(),
        progress,
    };
    let pieces = stream::try_unfold(reader, MessageReader::next_piece).boxed();
    let incoming = IncomingBytes { offset, pieces, is_finished, chunk_bytes: None };
    run(uploads, upload_id, incoming, permit).await
}

/// Receives one chunk.
pub(super) async fn receive_chunk(
    uploads: Uploads,
    request: Request<proto::UploadChunkRequest>,
) -> Result<UploadStatus, Status> {
    let permit = upload_permit(&uploads, &request).await?;
    let proto::UploadChunkRequest { name, offset, data, finish } = request.into_inner();
    let upload_id = upload_id(&name)?;
    let offset = u64::try_from(offset).map_err(|_| invalid("offset", "must be 0 or greater"))?;
    let incoming = IncomingBytes {
        offset,
        chunk_bytes: Some(data.len() as u64),
        pieces: stream::iter([Ok(data)]).boxed(),
        is_finished: Arc::new(AtomicBool::new(finish)),
    };
    run(uploads, upload_id, incoming, permit).await
}

async fn run(
    uploads: Uploads,
    upload_id: Uuid,
    incoming: IncomingBytes,
    permit: UploadPermit,
) -> Result<UploadStatus, Status> {
    let receiving = async move { uploads.receive(upload_id, incoming, permit).await };
    let received = tokio::spawn(receiving.in_current_span()).await;
    match received {
        Ok(received) => received.map_err(upload_failed),
        Err(error) => {
            tracing::error!(%error, "an upload panicked");
            Err(internal_error())
        }
    }
}

/// The permit from the admission layer. Acquires one if there is no such layer.
async fn upload_permit<T>(uploads: &Uploads, request: &Request<T>) -> Result<UploadPermit, Status> {
    match Admitted::<UploadPermit>::take_from(request) {
        Some(permit) => Ok(permit),
        None => uploads.permit(&key(request.extensions()), false).await.map_err(upload_failed),
    }
}

/// Ends a stream whose caller sends too slowly, because the number of upload permits is limited.
struct ProgressTimeout {
    timeout: Duration,
    /// Time spent waiting for the caller since the last [`PROGRESS_BYTES`] arrived. Does not include time of the store.
    waited: Duration,
    received_bytes: usize,
}

impl ProgressTimeout {
    fn new(timeout: Duration) -> Self {
        Self { timeout, waited: Duration::ZERO, received_bytes: 0 }
    }

    async fn next_message(
        &mut self,
        messages: &mut Streaming<UploadDocumentRequest>,
    ) -> Result<Option<UploadDocumentRequest>, Status> {
        let Self { timeout, waited, received_bytes } = self;
        let begun = Instant::now();
        let Ok(message) = time::timeout(timeout.saturating_sub(*waited), messages.message()).await
        else {
            let message =
                format!("only {received_bytes} bytes arrived in {timeout:?} (UPLOAD_IDLE_TIMEOUT)");
            return Err(upload_failed(interrupted(message)));
        };
        *waited += begun.elapsed();
        let message = message?;
        *received_bytes += message.as_ref().map_or(0, |message| message.data.len());
        if *received_bytes >= PROGRESS_BYTES {
            *self = Self::new(*timeout);
        }
        Ok(message)
    }
}

/// Reads the bytes of a stream's messages in order.
struct MessageReader {
    messages: Streaming<UploadDocumentRequest>,
    next: Option<UploadDocumentRequest>,
    upload_id: Uuid,
    position: u64,
    is_finished: Arc<AtomicBool>,
    progress: ProgressTimeout,
}

impl MessageReader {
    async fn next_piece(mut self) -> Result<Option<(Bytes, Self)>, UploadError> {
        if self.is_finished.load(Ordering::Acquire) {
            return Ok(None);
        }
        let message = match self.next.take() {
            Some(first) => first,
            None => {
                let next = self.progress.next_message(&mut self.messages).await;
                match next.map_err(|status| interrupted(status.message().to_owned()))? {
                    Some(message) => message,
                    None => return Ok(None),
                }
            }
        };
        let is_same_upload =
            message.name.is_empty() || message.name == format!("uploads/{}", self.upload_id);
        if !is_same_upload {
            return Err(interrupted(
                "a message names a different upload than the first one".to_owned(),
            ));
        }
        if u64::try_from(message.offset) != Ok(self.position) {
            let offset = u64::try_from(message.offset).unwrap_or(0);
            return Err(UploadError::WrongOffset { offset, committed_size_bytes: self.position });
        }
        self.position += message.data.len() as u64;
        if message.finish {
            self.is_finished.store(true, Ordering::Release);
        }
        Ok(Some((message.data, self)))
    }
}

fn interrupted(reason: String) -> UploadError {
    UploadError::Interrupted { reason }
}

/// The bytes of a stream that must arrive within its timeout.
const PROGRESS_BYTES: usize = 64 * 1024;

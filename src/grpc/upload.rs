//! Uploads over gRPC: messages to bytes that follow an offset, and back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::time::{self, Instant};
use tonic::{Request, Status, Streaming};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    admitted::Admitted,
    caller::key,
    convert::{optional_sha256, request_id, upload_id},
    status::{Violations, internal_fault, invalid},
};
use crate::{
    limits::CallerKey,
    proto::{self, UploadDocumentRequest},
    upload::{CHUNK_BYTES, IncomingBytes, UploadError, UploadStatus, UploadTurn, Uploads},
};

/// An upload as a message.
pub(super) fn upload_message(status: &UploadStatus, replica: &str) -> proto::Upload {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    proto::Upload {
        name: format!("uploads/{}", status.upload_id),
        committed_size_bytes: signed(status.committed_size_bytes),
        size_bytes: signed(status.size_bytes),
        chunk_size_bytes: i32::try_from(CHUNK_BYTES).unwrap_or(i32::MAX),
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
        violations.add("size_bytes", "0 or more");
        0
    });
    let sha256 = optional_sha256("sha256", &request.sha256, &mut violations);
    violations.into_result(())?;
    Ok(uploads.create(caller, id, size_bytes, sha256).await?)
}

/// Takes a stream of messages to its end. Goes on when the caller is gone, so that what came is noted.
pub(super) async fn receive_stream(
    uploads: Uploads,
    request: Request<Streaming<UploadDocumentRequest>>,
) -> Result<UploadStatus, Status> {
    let turn = turn(&uploads, &request).await?;
    let mut messages = request.into_inner();
    let mut headway = Headway::new(uploads.idle_timeout());
    let first = headway.next_message(&mut messages).await?;
    let Some(first) = first else {
        return Err(invalid("name", "required in the first message, and there is none"));
    };
    let upload_id = upload_id(&first.name)?;
    let offset = u64::try_from(first.offset).map_err(|_| invalid("offset", "0 or more"))?;
    let is_finished = Arc::new(AtomicBool::new(false));
    let reader = MessageReader {
        messages,
        next: Some(first),
        upload_id,
        position: offset,
        is_finished: is_finished.clone(),
        headway,
    };
    let pieces = stream::try_unfold(reader, MessageReader::next_piece).boxed();
    let incoming = IncomingBytes { offset, pieces, is_finished, chunk_bytes: None };
    run(uploads, upload_id, incoming, turn).await
}

/// Takes one chunk.
pub(super) async fn receive_chunk(
    uploads: Uploads,
    request: Request<proto::UploadChunkRequest>,
) -> Result<UploadStatus, Status> {
    let turn = turn(&uploads, &request).await?;
    let proto::UploadChunkRequest { name, offset, data, finish } = request.into_inner();
    let upload_id = upload_id(&name)?;
    let offset = u64::try_from(offset).map_err(|_| invalid("offset", "0 or more"))?;
    let incoming = IncomingBytes {
        offset,
        chunk_bytes: Some(data.len() as u64),
        pieces: stream::iter([Ok(data)]).boxed(),
        is_finished: Arc::new(AtomicBool::new(finish)),
    };
    run(uploads, upload_id, incoming, turn).await
}

async fn run(
    uploads: Uploads,
    upload_id: Uuid,
    incoming: IncomingBytes,
    turn: UploadTurn,
) -> Result<UploadStatus, Status> {
    let receiving = async move { uploads.receive(upload_id, incoming, turn).await };
    let received = tokio::spawn(receiving.in_current_span()).await;
    match received {
        Ok(received) => Ok(received?),
        Err(error) => {
            tracing::error!(%error, "an upload panicked");
            Err(internal_fault())
        }
    }
}

/// The turn that the admission layer took for this call; taken now where there is no such layer.
async fn turn<T>(uploads: &Uploads, request: &Request<T>) -> Result<UploadTurn, Status> {
    match Admitted::<UploadTurn>::take(request) {
        Some(turn) => Ok(turn),
        None => Ok(uploads.turn(&key(request.extensions()), false).await?),
    }
}

/// Sees to it that a caller sends, and more than a byte now and then: a stream has one of few turns.
struct Headway {
    patience: Duration,
    /// Time spent waiting for the caller since so many bytes came last; what the store takes is not theirs.
    waited: Duration,
    received_bytes: usize,
}

impl Headway {
    fn new(patience: Duration) -> Self {
        Self { patience, waited: Duration::ZERO, received_bytes: 0 }
    }

    async fn next_message(
        &mut self,
        messages: &mut Streaming<UploadDocumentRequest>,
    ) -> Result<Option<UploadDocumentRequest>, Status> {
        let Self { patience, waited, received_bytes } = self;
        let begun = Instant::now();
        let Ok(message) = time::timeout(patience.saturating_sub(*waited), messages.message()).await
        else {
            let message =
                format!("{received_bytes} bytes came in {patience:?} (UPLOAD_IDLE_TIMEOUT)");
            return Err(broke_off(message).into());
        };
        *waited += begun.elapsed();
        let message = message?;
        *received_bytes += message.as_ref().map_or(0, |message| message.data.len());
        if *received_bytes >= HEADWAY_BYTES {
            *self = Self::new(*patience);
        }
        Ok(message)
    }
}

/// The bytes of a stream's messages, one behind the other.
struct MessageReader {
    messages: Streaming<UploadDocumentRequest>,
    next: Option<UploadDocumentRequest>,
    upload_id: Uuid,
    position: u64,
    is_finished: Arc<AtomicBool>,
    headway: Headway,
}

impl MessageReader {
    async fn next_piece(mut self) -> Result<Option<(Bytes, Self)>, UploadError> {
        if self.is_finished.load(Ordering::Acquire) {
            return Ok(None);
        }
        let message = match self.next.take() {
            Some(first) => first,
            None => {
                let next = self.headway.next_message(&mut self.messages).await;
                match next.map_err(|status| broke_off(status.message().to_owned()))? {
                    Some(message) => message,
                    None => return Ok(None),
                }
            }
        };
        let is_ours =
            message.name.is_empty() || message.name == format!("uploads/{}", self.upload_id);
        if !is_ours {
            return Err(broke_off("a message names another upload than the first".to_owned()));
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

fn broke_off(reason: String) -> UploadError {
    UploadError::BrokeOff { reason }
}

/// So many bytes of a stream come within the patience for it, or it ends.
const HEADWAY_BYTES: usize = 64 * 1024;

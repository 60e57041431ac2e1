//! Sending a document that doesn't fit into a request.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{Client, ClientError, Rejection};
use crate::{
    digest::{Sha256, Sha256Hasher},
    proto::{CreateUploadRequest, GetUploadRequest, Upload, UploadDocumentRequest},
};

/// Bytes of one message.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// Messages that are read ahead of the connection.
const READ_AHEAD: usize = 4;
/// The namespace of the ids that a file's uploads have; drawn at random once.
const FILE_NAMESPACE: Uuid = Uuid::from_u128(0x1f0b_22d4_77a6_4d43_9d5a_64f2_03f8_b1de);

/// A file that is at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedFile {
    /// uploads/{upload_id}, for [`Document`](crate::proto::Document).
    pub name: String,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// The digest of the file as it was read here; the server's own is the same.
    pub sha256: Sha256,
}

/// A file on its way.
struct FileUpload {
    path: PathBuf,
    size_bytes: u64,
    /// The digest of the file's beginning.
    hasher: Option<(Sha256Hasher, u64)>,
}

impl Client {
    /// Sends a file, going on where a lost connection left off, also that of an earlier process: the
    /// same unchanged file is the same upload as long as the server keeps it. `progress` is told how many
    /// bytes are there.
    ///
    /// # Errors
    /// The file can't be read; the server's refusal; [`ClientError::LostContact`] where nothing gets
    /// through for the follow policy's patience; [`ClientError::Damaged`] where the server has other
    /// bytes than the file.
    pub async fn upload_file(
        &self,
        path: &Path,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<UploadedFile, ClientError> {
        let unreadable = |source| ClientError::Read { path: path.to_owned(), source };
        let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let identity = format!(
            "{}\n{}\n{}.{:09}\n{}",
            absolute.display(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ino()
        );
        let mut file = FileUpload {
            path: path.to_owned(),
            size_bytes: metadata.len(),
            hasher: Some((Sha256Hasher::default(), 0)),
        };
        let mut request_id = Uuid::new_v5(&FILE_NAMESPACE, identity.as_bytes());
        let policy = self.follow_policy;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(policy.min_delay)
            .with_max_delay(policy.max_delay)
            .with_jitter()
            .without_max_times()
            .build();
        let mut upload: Option<Upload> = None;
        let (mut last_progress, mut furthest) = (Instant::now(), 0);
        let mut is_second_id = false;
        loop {
            let failed =
                match self.upload_once(&mut file, request_id, &mut upload, &mut progress).await {
                    Ok(done) => return Ok(done),
                    Err(ClientError::Rejected(rejection)) => rejection,
                    Err(error) => return Err(error),
                };
            let is_given_up = matches!(
                failed.reason.as_deref(),
                Some("UPLOAD_ABORTED" | "UPLOAD_NOT_FOUND" | "UPLOAD_ID_REUSED")
            );
            let may_pass = failed.is_unavailable()
                || matches!(failed.reason.as_deref(), Some("OVERLOADED" | "UPLOAD_OFFSET"));
            if is_given_up && !is_second_id {
                // Of an earlier process, or too old.
                (request_id, upload, is_second_id) = (Uuid::new_v4(), None, true);
                continue;
            }
            if !may_pass {
                return Err(ClientError::Rejected(failed));
            }
            let committed = upload.as_ref().map_or(0, |upload| upload.committed_size_bytes);
            if committed > furthest {
                (last_progress, furthest) = (Instant::now(), committed);
            }
            let delay = delays.next().unwrap_or(policy.max_delay);
            let delay = delay.max(failed.retry_delay.unwrap_or_default());
            let waited = last_progress.elapsed();
            if waited + delay > policy.patience {
                let name = upload.map(|upload| upload.name).unwrap_or_default();
                return Err(ClientError::LostContact { name, waited, last: failed });
            }
            sleep(delay).await;
        }
    }

    /// One attempt to bring the rest. What is known of the upload is kept for the next.
    async fn upload_once(
        &self,
        file: &mut FileUpload,
        request_id: Uuid,
        upload: &mut Option<Upload>,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<UploadedFile, ClientError> {
        let mut service = self.service.clone();
        let current = match upload {
            Some(upload) => {
                let request = GetUploadRequest { name: upload.name.clone() };
                service.get_upload(request).await?.into_inner().upload
            }
            None => {
                let request = CreateUploadRequest {
                    request_id: request_id.to_string(),
                    size_bytes: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
                    sha256: String::new(),
                };
                service.create_upload(request).await?.into_inner().upload
            }
        };
        let current = current.ok_or(ClientError::Protocol("an answer without an upload"))?;
        *upload = Some(current.clone());
        let start = u64::try_from(current.committed_size_bytes).unwrap_or(0);
        progress(start);
        let is_finished = !current.sha256.is_empty();
        let (messages, received) = mpsc::channel(READ_AHEAD);
        let reading = file.read_from(start, current.name.clone(), messages, is_finished);
        let done = if is_finished {
            drop(received);
            current
        } else {
            let mut sent = start;
            // The connection takes a message when it has room for it: that is the pace of the line.
            let (counted, counter) = std::sync::mpsc::channel();
            let stream =
                ReceiverStream::new(received).inspect(move |message: &UploadDocumentRequest| {
                    let _ = counted.send(message.data.len() as u64);
                });
            let mut call = std::pin::pin!(service.upload_document(stream));
            let answer = loop {
                tokio::select! {
                    answer = &mut call => break answer,
                    () = sleep(std::time::Duration::from_millis(100)) => {
                        sent += counter.try_iter().sum::<u64>();
                        progress(sent);
                    }
                }
            };
            let answer = answer?.into_inner().upload;
            answer.ok_or(ClientError::Protocol("an answer without an upload"))?
        };
        *upload = Some(done.clone());
        let (hasher, hashed) = reading.await?;
        if hashed != file.size_bytes || done.sha256.is_empty() {
            file.hasher = Some((hasher, hashed));
            let lost = Rejection::lost("the upload ended before the file did");
            return Err(ClientError::Rejected(Box::new(lost)));
        }
        let sha256 = hasher.finish();
        if done.sha256 != sha256.to_string() {
            let path = file.path.display().to_string();
            let message = format!("the server has {}, and the file {sha256}", done.sha256);
            return Err(ClientError::Damaged { path, message });
        }
        progress(file.size_bytes);
        Ok(UploadedFile { name: done.name, size_bytes: file.size_bytes, sha256 })
    }
}

impl FileUpload {
    /// Reads the file, digests what was not digested yet, and sends what lies behind `start`.
    fn read_from(
        &mut self,
        start: u64,
        name: String,
        messages: mpsc::Sender<UploadDocumentRequest>,
        is_finished: bool,
    ) -> impl Future<Output = Result<(Sha256Hasher, u64), ClientError>> + use<> {
        let (path, size_bytes) = (self.path.clone(), self.size_bytes);
        let (hasher, hashed) = self.hasher.take().unwrap_or_default();
        let reading = tokio::task::spawn_blocking(move || {
            let read =
                read_file(&path, size_bytes, start, name, &messages, is_finished, hasher, hashed);
            read.map_err(|source| ClientError::Read { path, source })
        });
        async move { reading.await.unwrap_or(Err(ClientError::Protocol("the client is shutting down"))) }
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "a loop over one file, and each is a part of its state"
)]
fn read_file(
    path: &Path,
    size_bytes: u64,
    start: u64,
    name: String,
    messages: &mpsc::Sender<UploadDocumentRequest>,
    is_finished: bool,
    mut hasher: Sha256Hasher,
    mut hashed: u64,
) -> io::Result<(Sha256Hasher, u64)> {
    let mut file = File::open(path)?;
    let mut position = if is_finished { hashed } else { start.min(hashed) };
    file.seek(SeekFrom::Start(position))?;
    if size_bytes == start && !is_finished {
        // Everything is there, and the end was not said.
        let (offset, data) = (signed(start), Bytes::new());
        let _ = messages.blocking_send(UploadDocumentRequest { name, offset, data, finish: true });
        return read_file(path, size_bytes, start, String::new(), messages, true, hasher, hashed);
    }
    let mut name = Some(name);
    while position < size_bytes {
        let mut next = size_bytes.min(position + MESSAGE_BYTES as u64);
        // A piece is either sent whole or not at all.
        if position < start {
            next = next.min(start);
        }
        let length = usize::try_from(next - position).unwrap_or(MESSAGE_BYTES);
        let mut piece = Vec::with_capacity(length);
        (&mut file).take(length as u64).read_to_end(&mut piece)?;
        if piece.len() != length {
            let message = "it became shorter while it was sent";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        if next > hashed {
            let known = usize::try_from(hashed.saturating_sub(position)).unwrap_or(length);
            hasher.update(&piece[known..]);
            hashed = next;
        }
        if position >= start && !is_finished {
            let message = UploadDocumentRequest {
                name: name.take().unwrap_or_default(),
                offset: signed(position),
                data: piece.into(),
                finish: next == size_bytes,
            };
            if messages.blocking_send(message).is_err() {
                // The call ended; what was digested is kept for the next.
                return Ok((hasher, hashed));
            }
        }
        position = next;
    }
    Ok((hasher, hashed))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

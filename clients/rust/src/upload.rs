//! Uploads of documents that are too large for a request.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::{FutureExt as _, StreamExt as _};
use tara_export_digest::Sha256;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    Client, ClientError, Protocol, Rejection,
    connect::ApiClient,
    document_file::{self, DocumentFile},
    file_pieces::FilePieces,
    names,
};
use crate::proto::{
    CreateUploadRequest, GetUploadRequest, Upload, UploadChunkRequest, UploadDocumentRequest,
};

const MESSAGE_BYTES: usize = 1024 * 1024;
/// The timeout of a chunk, for the slowest supported connection of 64 KiB per second.
const CHUNK_DEADLINE: Duration = Duration::from_secs(130);
/// The interval of progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Number of messages that are read ahead of the connection.
const READ_AHEAD: usize = 4;
/// The UUID namespace of the request ids of file uploads; chosen at random.
const FILE_NAMESPACE: Uuid = Uuid::from_u128(0x1f0b_22d4_77a6_4d43_9d5a_64f2_03f8_b1de);

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedFile {
    /// uploads/{upload_id}, for [`Document`](crate::proto::Document).
    pub name: String,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// The digest of the file as the client read it. The server's digest is equal.
    pub sha256: Sha256,
}

impl Client {
    /// Uploads a file and resumes after a lost connection, even in another process: the same unchanged file
    /// is the same upload for as long as the server keeps it. Calls `progress` with the number of uploaded
    /// bytes.
    ///
    /// # Errors
    /// The path is not a plain file, the file cannot be read, or it changed its size; the server's rejection; [`ClientError::LostContact`] if there is no
    /// progress within the policy's timeout; [`ClientError::Damaged`] if the server received other bytes.
    pub async fn upload_file(
        &self,
        path: &Path,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<UploadedFile, ClientError> {
        let unreadable = |source| ClientError::Read { path: path.to_owned(), source };
        let opened = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || document_file::open(&opened));
        let opened =
            opening.await.map_err(|_| ClientError::Protocol("the client is shutting down"))?;
        let DocumentFile { source, size_bytes, version } = opened.map_err(unreadable)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let identity = format!("{}\n{version}", absolute.display());
        let file = OpenFile {
            path: path.to_owned(),
            size_bytes,
            pieces: Arc::new(Mutex::new(FilePieces::new(source, size_bytes))),
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
        let (mut last_progress, mut max_committed_bytes) = (Instant::now(), 0);
        let (mut is_second_id, mut has_new_token) = (false, false);
        loop {
            // Before the attempt: another upload of this client can find the limit meanwhile.
            let sent_small_chunks = self.sends_small_chunks.load(Ordering::Relaxed);
            let failed = match self.upload_once(&file, request_id, &mut upload, &mut progress).await
            {
                Ok(done) => return Ok(done),
                Err(ClientError::Rejected(rejection)) => rejection,
                Err(error) => return Err(error),
            };
            let is_unusable = matches!(
                failed.reason.as_deref(),
                Some("UPLOAD_ABORTED" | "UPLOAD_NOT_FOUND" | "UPLOAD_ID_REUSED")
            );
            let is_transient = failed.is_unavailable()
                || matches!(
                    failed.reason.as_deref(),
                    Some("OVERLOADED" | "UPLOAD_OFFSET_MISMATCH")
                );
            if is_unusable && !is_second_id {
                // The upload of a previous process, or an expired one.
                (request_id, upload, is_second_id) = (Uuid::new_v4(), None, true);
                continue;
            }
            if failed.is_too_large_for_proxy() && !sent_small_chunks {
                self.sends_small_chunks.store(true, Ordering::Relaxed);
                continue;
            }
            let is_token_rejected = failed.code == Code::Unauthenticated;
            if is_token_rejected && self.service.can_replace_token() && !has_new_token {
                // The token expired after the stream started. The next attempt requests another.
                has_new_token = true;
                continue;
            }
            if !is_transient {
                return Err(ClientError::Rejected(failed));
            }
            let committed = upload.as_ref().map_or(0, |upload| upload.committed_size_bytes);
            if committed > max_committed_bytes {
                (last_progress, max_committed_bytes) = (Instant::now(), committed);
                has_new_token = false;
            }
            let delay = delays.next().unwrap_or(policy.max_delay);
            let delay = delay.max(failed.retry_delay.unwrap_or_default());
            let waited = last_progress.elapsed();
            if waited + delay > policy.progress_timeout {
                let name = upload.map(|upload| upload.name).unwrap_or_default();
                return Err(ClientError::LostContact { name, waited, last: failed });
            }
            sleep(delay).await;
        }
    }

    /// Makes one attempt to upload the remaining bytes. Stores the state of the upload for the next attempt.
    async fn upload_once(
        &self,
        file: &OpenFile,
        request_id: Uuid,
        upload: &mut Option<Upload>,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<UploadedFile, ClientError> {
        let current = match upload {
            Some(upload) => {
                let request = GetUploadRequest { name: upload.name.clone() };
                let call = |mut service: ApiClient, request| async move {
                    service.get_upload(request).await
                };
                self.call(request, call).await?.upload
            }
            None => {
                let request = CreateUploadRequest {
                    request_id: request_id.to_string(),
                    size_bytes: signed(file.size_bytes),
                    sha256: String::new(),
                };
                let call = |mut service: ApiClient, request| async move {
                    service.create_upload(request).await
                };
                self.call(request, call).await?.upload
            }
        };
        let current = current.ok_or(ClientError::Protocol("response without an upload"))?;
        names::check_upload(
            &current,
            upload.as_ref().map(|upload| &*upload.name),
            file.size_bytes,
        )?;
        *upload = Some(current.clone());
        let start = u64::try_from(current.committed_size_bytes).unwrap_or(0);
        progress(start);
        let name = current.name.clone();
        let done = match current.sha256.is_empty() {
            true if self.protocol == Protocol::Grpc && !self.sends_small_chunks() => {
                self.send_stream(file, current, progress).await?
            }
            true => self.send_chunks(file, current, progress).await?,
            false => current,
        };
        names::check_upload(&done, Some(&name), file.size_bytes)?;
        *upload = Some(done.clone());
        if done.sha256.is_empty() {
            let lost = Rejection::connection_lost("the upload ended before the file");
            return Err(ClientError::Rejected(Box::new(lost)));
        }
        let sha256 = file.with_pieces(|pieces| lock(pieces).finish()).await?;
        if done.sha256 != sha256.to_string() {
            let path = file.path.display().to_string();
            let message = format!("SHA-256 of the upload is {} instead of {sha256}", done.sha256);
            return Err(ClientError::Damaged { path, message });
        }
        progress(file.size_bytes);
        Ok(UploadedFile { name: done.name, size_bytes: file.size_bytes, sha256 })
    }

    /// Sends the remaining bytes in one stream.
    async fn send_stream(
        &self,
        file: &OpenFile,
        upload: Upload,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<Upload, ClientError> {
        let mut service = self.service.client().await?;
        let mut sent = u64::try_from(upload.committed_size_bytes).unwrap_or(0);
        let (messages, received) = mpsc::channel(READ_AHEAD);
        let (start, size_bytes) = (sent, file.size_bytes);
        let reading = file.with_pieces(move |pieces| {
            send_pieces(pieces, upload.name, start, size_bytes, &messages)
        });
        // The connection takes a message when its buffer has space, so the count follows the network.
        let (counter, sent_sizes) = std::sync::mpsc::channel();
        let stream =
            ReceiverStream::new(received).inspect(move |message: &UploadDocumentRequest| {
                let _ = counter.send(message.data.len() as u64);
            });
        let mut call = std::pin::pin!(service.upload_document(stream));
        let mut reading = std::pin::pin!(reading.fuse());
        loop {
            tokio::select! {
                response = &mut call => {
                    let upload = response?.into_inner().upload;
                    return upload.ok_or(ClientError::Protocol("response without an upload"));
                }
                read = &mut reading => read?,
                () = sleep(PROGRESS_INTERVAL) => {
                    sent += sent_sizes.try_iter().sum::<u64>();
                    progress(sent);
                }
            }
        }
    }

    fn sends_small_chunks(&self) -> bool {
        self.sends_small_chunks.load(Ordering::Relaxed)
    }

    /// Sends the remaining bytes in one call per chunk, for gRPC-Web, which has no client streams, and for proxies that
    /// limit the size of requests.
    async fn send_chunks(
        &self,
        file: &OpenFile,
        mut upload: Upload,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<Upload, ClientError> {
        let (min_bytes, max_bytes) = (upload.min_chunk_size_bytes, upload.chunk_size_bytes);
        let has_range = (1..=max_bytes).contains(&min_bytes);
        let chunk_bytes =
            if has_range && self.sends_small_chunks() { min_bytes } else { max_bytes };
        let chunk_bytes = usize::try_from(chunk_bytes).unwrap_or(0).max(1);
        let mut offset = u64::try_from(upload.committed_size_bytes).unwrap_or(0);
        let name = upload.name.clone();
        while upload.sha256.is_empty() {
            let read = move |pieces: &Mutex<FilePieces>| lock(pieces).read(offset, chunk_bytes);
            let data = file.with_pieces(read).await?;
            let next = offset + data.len() as u64;
            let finish = next >= file.size_bytes;
            let request =
                UploadChunkRequest { name: name.clone(), offset: signed(offset), data, finish };
            let sending = self.service.call(|mut service: ApiClient| {
                let request = request.clone();
                async move { service.upload_chunk(request).await }
            });
            let received = timeout(CHUNK_DEADLINE, sending)
                .await
                .map_err(|_| Status::unavailable("no response to a chunk within the timeout"))??
                .into_inner()
                .upload;
            let received = received.ok_or(ClientError::Protocol("response without an upload"))?;
            names::check_upload(&received, Some(&name), file.size_bytes)?;
            upload = received;
            progress(next);
            offset = next;
            if finish {
                break;
            }
        }
        Ok(upload)
    }
}

/// The file of one upload, for all its attempts.
struct OpenFile {
    path: PathBuf,
    size_bytes: u64,
    /// Locked for one piece at a time: a failed attempt may still be reading one.
    pieces: Arc<Mutex<FilePieces>>,
}

impl OpenFile {
    /// Reads on a thread for blocking operations.
    fn with_pieces<T, F>(&self, read: F) -> impl Future<Output = Result<T, ClientError>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Mutex<FilePieces>) -> io::Result<T> + Send + 'static,
    {
        let (path, pieces) = (self.path.clone(), self.pieces.clone());
        let reading = tokio::task::spawn_blocking(move || read(&pieces));
        async move {
            let read =
                reading.await.map_err(|_| ClientError::Protocol("the client is shutting down"))?;
            read.map_err(|source| ClientError::Read { path, source })
        }
    }
}

/// Sends a file from an offset to its end, or until the receiver is dropped.
fn send_pieces(
    pieces: &Mutex<FilePieces>,
    name: String,
    start: u64,
    size_bytes: u64,
    messages: &mpsc::Sender<UploadDocumentRequest>,
) -> io::Result<()> {
    let (mut name, mut offset) = (Some(name), start);
    loop {
        let data = lock(pieces).read(offset, MESSAGE_BYTES)?;
        let next = offset + data.len() as u64;
        let message = UploadDocumentRequest {
            name: name.take().unwrap_or_default(),
            offset: signed(offset),
            data,
            finish: next >= size_bytes,
        };
        let is_last = message.finish;
        if messages.blocking_send(message).is_err() || is_last {
            return Ok(());
        }
        offset = next;
    }
}

/// Ignores poisoning: a panic leaves no partial state, and the next read repeats the same bytes.
fn lock(pieces: &Mutex<FilePieces>) -> MutexGuard<'_, FilePieces> {
    pieces.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

//! Sending a document that doesn't fit into a request.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::{FutureExt as _, StreamExt as _};
use tokio::{
    fs::File,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use super::{
    Client, ClientError, Protocol, Rejection, connect::ApiClient, file_pieces::FilePieces, names,
};
use crate::{
    digest::Sha256,
    proto::{
        CreateUploadRequest, GetUploadRequest, Upload, UploadChunkRequest, UploadDocumentRequest,
    },
};

/// Bytes of one message.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// How long a chunk may take: on the slowest line that is waited for, 64 KiB a second.
const CHUNK_DEADLINE: Duration = Duration::from_secs(130);
/// How often a caller hears of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
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
        let file = File::open(path).await.map_err(unreadable)?.into_std().await;
        let metadata = file.metadata().map_err(unreadable)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let identity = format!(
            "{}\n{}\n{}.{:09}\n{}",
            absolute.display(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ino()
        );
        let file = OpenFile {
            path: path.to_owned(),
            size_bytes: metadata.len(),
            pieces: Arc::new(Mutex::new(FilePieces::new(file, metadata.len()))),
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
            let failed = match self.upload_once(&file, request_id, &mut upload, &mut progress).await
            {
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
        let current = current.ok_or(ClientError::Protocol("an answer without an upload"))?;
        names::check_upload(&current, upload.as_ref().map(|known| &*known.name), file.size_bytes)?;
        *upload = Some(current.clone());
        let start = u64::try_from(current.committed_size_bytes).unwrap_or(0);
        progress(start);
        let name = current.name.clone();
        let done = match current.sha256.is_empty() {
            true if self.protocol == Protocol::Grpc => self.send(file, current, progress).await?,
            true => self.send_chunks(file, current, progress).await?,
            false => current,
        };
        names::check_upload(&done, Some(&name), file.size_bytes)?;
        *upload = Some(done.clone());
        if done.sha256.is_empty() {
            let lost = Rejection::lost("the upload ended before the file did");
            return Err(ClientError::Rejected(Box::new(lost)));
        }
        let sha256 = file.with_pieces(|pieces| lock(pieces).sha256()).await?;
        if done.sha256 != sha256.to_string() {
            let path = file.path.display().to_string();
            let message = format!("the server has {}, and the file {sha256}", done.sha256);
            return Err(ClientError::Damaged { path, message });
        }
        progress(file.size_bytes);
        Ok(UploadedFile { name: done.name, size_bytes: file.size_bytes, sha256 })
    }

    /// Sends what the server has not got yet, in one stream.
    async fn send(
        &self,
        file: &OpenFile,
        upload: Upload,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<Upload, ClientError> {
        let mut service = self.service.clone();
        let mut sent = u64::try_from(upload.committed_size_bytes).unwrap_or(0);
        let (messages, received) = mpsc::channel(READ_AHEAD);
        let (start, size_bytes) = (sent, file.size_bytes);
        let reading = file.with_pieces(move |pieces| {
            send_pieces(pieces, upload.name, start, size_bytes, &messages)
        });
        // The connection takes a message when it has room for it: that is the pace of the line.
        let (counted, counter) = std::sync::mpsc::channel();
        let stream =
            ReceiverStream::new(received).inspect(move |message: &UploadDocumentRequest| {
                let _ = counted.send(message.data.len() as u64);
            });
        let mut call = std::pin::pin!(service.upload_document(stream));
        let mut reading = std::pin::pin!(reading.fuse());
        loop {
            tokio::select! {
                answer = &mut call => {
                    let answer = answer?.into_inner().upload;
                    return answer.ok_or(ClientError::Protocol("an answer without an upload"));
                }
                read = &mut reading => read?,
                () = sleep(PROGRESS_INTERVAL) => {
                    sent += counter.try_iter().sum::<u64>();
                    progress(sent);
                }
            }
        }
    }

    /// Sends what the server has not got yet in calls of their own, where client streams don't exist.
    async fn send_chunks(
        &self,
        file: &OpenFile,
        mut upload: Upload,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<Upload, ClientError> {
        let mut service = self.service.clone();
        let chunk_bytes = usize::try_from(upload.chunk_size_bytes).unwrap_or(0).max(1);
        let mut offset = u64::try_from(upload.committed_size_bytes).unwrap_or(0);
        let name = upload.name.clone();
        while upload.sha256.is_empty() {
            let read = move |pieces: &Mutex<FilePieces>| lock(pieces).read(offset, chunk_bytes);
            let data = file.with_pieces(read).await?;
            let next = offset + data.len() as u64;
            let finish = next >= file.size_bytes;
            let request =
                UploadChunkRequest { name: name.clone(), offset: signed(offset), data, finish };
            let answer = timeout(CHUNK_DEADLINE, service.upload_chunk(request)).await;
            let answer = answer
                .map_err(|_| Status::unavailable("no answer to a chunk"))??
                .into_inner()
                .upload;
            let answer = answer.ok_or(ClientError::Protocol("an answer without an upload"))?;
            names::check_upload(&answer, Some(&name), file.size_bytes)?;
            upload = answer;
            progress(next);
            offset = next;
            if finish {
                break;
            }
        }
        Ok(upload)
    }
}

/// The file of one upload, over all its attempts.
struct OpenFile {
    path: PathBuf,
    size_bytes: u64,
    /// Locked for a piece at a time: an attempt that broke off may still be about to read one.
    pieces: Arc<Mutex<FilePieces>>,
}

impl OpenFile {
    /// Reads away from the threads that must not wait for a disk.
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

/// Sends a file from an offset to its end, or until nobody takes it any more.
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

/// A reader that panicked left nothing half done: the next reads the same bytes again.
fn lock(pieces: &Mutex<FilePieces>) -> MutexGuard<'_, FilePieces> {
    pieces.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

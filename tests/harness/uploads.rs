//! Uploads: documents that are sent before the requests that name them.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tara_export_client::proto::{
    CreateUploadRequest, Document, GetUploadRequest, StartExportRequest, Upload,
    UploadChunkRequest, UploadDocumentRequest,
    document::{Kind, Source},
};
use tara_export_digest::Sha256;
use tonic::Status;

use super::{
    Client,
    requests::{self, id},
    within,
};

/// The size of every chunk except the last, and of every part in S3.
pub(crate) const PART: usize = 8 * 1024 * 1024;
/// The data of one message of a stream.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// `size` bytes without two equal parts, different for each number.
pub(crate) fn bytes(size: usize, number: u64) -> Bytes {
    let mut bytes = vec![0; size.next_multiple_of(8)];
    let mut state = number;
    for word in bytes.chunks_exact_mut(8) {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.copy_from_slice(&state.to_le_bytes());
    }
    Bytes::from(bytes).slice(..size)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::of(bytes).to_string()
}

/// Creates an upload of this size, without a request id if the number is 0.
pub(crate) async fn create(
    client: &mut Client,
    number: u32,
    size: usize,
    sha256: &str,
) -> Result<Upload, Status> {
    let request_id = if number == 0 { String::new() } else { id(number) };
    let request =
        CreateUploadRequest { request_id, size_bytes: size as i64, sha256: sha256.to_owned() };
    let created = within("the CreateUpload response", client.create_upload(request)).await?;
    Ok(created.into_inner().upload.expect("an upload"))
}

pub(crate) async fn get(client: &mut Client, name: &str) -> Result<Upload, Status> {
    let request = GetUploadRequest { name: name.to_owned() };
    let response = within("the GetUpload response", client.get_upload(request)).await?;
    Ok(response.into_inner().upload.expect("an upload"))
}

/// Like `QUICK`, with a retry budget for megabytes on a busy machine.
pub(crate) const QUICK_WITH_LARGE: [&str; 3] =
    ["--s3-retry-budget=4s", "--s3-outage-pause=10ms", "--shutdown-timeout=0s"];

/// The messages that send a document from an offset on.
pub(crate) fn messages(
    name: &str,
    content: &Bytes,
    offset: usize,
    finish: bool,
) -> Vec<UploadDocumentRequest> {
    let starts: Vec<usize> = (offset..content.len()).step_by(MESSAGE_BYTES).collect();
    let mut messages: Vec<UploadDocumentRequest> = starts
        .into_iter()
        .map(|start| UploadDocumentRequest {
            offset: start as i64,
            data: content.slice(start..content.len().min(start + MESSAGE_BYTES)),
            ..UploadDocumentRequest::default()
        })
        .collect();
    if messages.is_empty() {
        let offset = offset as i64;
        messages.push(UploadDocumentRequest { offset, ..UploadDocumentRequest::default() });
    }
    messages[0].name = name.to_owned();
    messages.last_mut().unwrap().finish = finish;
    messages
}

/// Sends a document from an offset to its end, in one stream.
pub(crate) async fn send(
    client: &mut Client,
    name: &str,
    content: &Bytes,
    offset: usize,
) -> Result<Upload, Status> {
    let messages = stream::iter(messages(name, content, offset, true)).boxed();
    let sent = within("the UploadDocument response", client.upload_document(messages)).await?;
    Ok(sent.into_inner().upload.expect("an upload"))
}

pub(crate) async fn chunk(
    client: &mut Client,
    name: &str,
    offset: usize,
    data: Bytes,
    finish: bool,
) -> Result<Upload, Status> {
    let (name, offset) = (name.to_owned(), offset as i64);
    let request = UploadChunkRequest { name, offset, data, finish };
    let sent = within("the UploadChunk response", client.upload_chunk(request)).await?;
    Ok(sent.into_inner().upload.expect("an upload"))
}

/// Uploads a complete document.
pub(crate) async fn uploaded(client: &mut Client, number: u32, content: &Bytes) -> Upload {
    let upload = create(client, number, content.len(), "").await.unwrap();
    let upload = send(client, &upload.name, content, 0).await.unwrap();
    assert_eq!(upload.sha256, sha256(content));
    assert_eq!(upload.committed_size_bytes, content.len() as i64);
    upload
}

/// A document whose source is an upload.
pub(crate) fn named(kind: Kind, upload: &str) -> Document {
    Document {
        kind: kind.into(),
        source: Some(Source::Upload(upload.to_owned())),
        ..Document::default()
    }
}

/// A request whose `before` document is an upload.
pub(crate) fn naming(number: u32, upload: &str) -> StartExportRequest {
    let mut request = requests::request(number, "incident report.docx");
    request.documents[0] = named(Kind::Before, upload);
    request
}

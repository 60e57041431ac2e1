//! Requests that arrive one byte at a time.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tara_export_client::proto::UploadDocumentRequest;
use tokio::time::sleep;
use tonic::{Code, Status, body::Body};
use tower::ServiceExt as _;

use crate::{
    following::committed,
    harness::{Host, endpoint, within},
    requests::request,
    statuses::expect_status,
    uploads::{create, get},
};

const PAUSE: Duration = Duration::from_millis(20);
/// The slow sender takes the only export permit.
const FLAGS: [&str; 3] =
    ["--max-concurrent-exports=1", "--request-timeout=1s", "--admission-timeout=20s"];

/// A slow body of single bytes, with this announced length.
fn trickle(length: u32) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
    let head = Bytes::from([&[0], length.to_be_bytes().as_slice()].concat());
    stream::once(async { head }).chain(bytes()).map(|bytes| Ok(Frame::data(bytes)))
}

fn bytes() -> impl Stream<Item = Bytes> + Send + 'static {
    stream::repeat(Bytes::from_static(b"\n")).then(async |byte| {
        // Simulates a slow client.
        sleep(PAUSE).await;
        byte
    })
}

fn call(origin: &str, method: &str, content_type: &str) -> http::request::Builder {
    Request::post(format!("{origin}/tara.export.v1.ExportService/{method}"))
        .header(CONTENT_TYPE, content_type)
}

fn status<B>(response: &Response<B>) -> Status {
    Status::from_header_map(response.headers()).expect("a status in the headers")
}

#[tokio::test]
async fn slow_request_times_out_and_frees_its_permit() {
    let host = Host::new().flags(&FLAGS);
    let mut server = host.start().await;
    let origin = format!("http://{}", server.address);
    let channel = endpoint(server.address).connect().await.unwrap();
    // A larger announced length would be refused at once, so each is within its method's limit.
    for (method, length) in [
        ("StartExport", 1 << 20),
        ("PreviewExport", 1 << 20),
        ("ListExports", 60_000),
        ("UploadChunk", 1 << 20),
    ] {
        let body = Body::new(StreamBody::new(trickle(length)));
        let request = call(&origin, method, "application/grpc").body(body).unwrap();
        let response = within("a response", channel.clone().oneshot(request)).await.unwrap();
        let status = status(&response);
        expect_status(&status, Code::DeadlineExceeded, "REQUEST_TOO_SLOW");
        assert!(status.message().contains("REQUEST_TIMEOUT"), "{status:?}");
    }
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn slow_grpc_web_request_times_out_and_frees_its_permit() {
    let host = Host::new().flags(&FLAGS);
    let mut server = host.start().await;
    let origin = format!("http://{}", server.address);
    let browser = HttpClient::builder(TokioExecutor::new()).build_http();
    let body = StreamBody::new(trickle(1 << 20)).boxed_unsync();
    let web = call(&origin, "StartExport", "application/grpc-web+proto").body(body).unwrap();
    let response = within("a response", browser.request(web)).await.unwrap();
    expect_status(&status(&response), Code::DeadlineExceeded, "REQUEST_TOO_SLOW");
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn stalled_upload_times_out_and_frees_its_permit() {
    let flags = ["--max-concurrent-uploads=1", "--upload-idle-timeout=1s"];
    let host = Host::new().flags(&flags);
    let mut server = host.start().await;
    let upload = create(&mut server.client, 1, 1024 * 1024, "").await.unwrap();
    let name = upload.name.clone();
    let messages = bytes().enumerate().map(move |(offset, data)| UploadDocumentRequest {
        name: name.clone(),
        offset: offset as i64,
        data,
        finish: false,
    });
    let sent = server.client.upload_document(messages);
    let status = within("a response", sent).await.unwrap_err();
    expect_status(&status, Code::Unavailable, "UPLOAD_INTERRUPTED");
    // The received bytes are kept, as after any interruption.
    assert!(get(&mut server.client, &upload.name).await.unwrap().committed_size_bytes > 0);
}

//! Compressed responses, over every protocol.

use std::convert::Infallible;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use tara_export_client::proto::{
    DownloadArtifactRequest, DownloadArtifactResponse, DownloadBundleRequest, ExportEvent,
    GetExportRequest, GetReportRequest, GetReportResponse, WatchExportRequest, document::Kind,
    download_artifact_response, export_event, get_report_request::View,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;
use tower::ServiceExt as _;

use crate::{
    following::committed,
    harness::{Host, TestServer, endpoint, within},
    raw::{PROTOCOLS, Protocol, RawResponse, decompress, framed, send},
    requests::{document, item, name, request, section},
};

const ENCODINGS: [&str; 3] = ["gzip", "deflate", "zstd"];
const SERVICE: &str = "tara.export.v1.ExportService";

/// A server with an export whose report is large.
async fn server_with_report(host: &Host) -> TestServer {
    let mut server = host.start().await;
    let mut request = request(1, "incident report.docx");
    let review = request.review.as_mut().unwrap();
    let section = |number| section(&format!("Section {number}"), vec![item("1")]);
    review.suggestions = (0..2000).map(section).collect();
    request.documents = vec![document(Kind::Before, incompressible(300_000))];
    committed(&mut server.client, request).await;
    server
}

fn incompressible(size_bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(size_bytes)
    .collect()
}

async fn get(
    server: &TestServer,
    protocol: Protocol,
    method: &str,
    accepted: Option<&str>,
    message: &impl prost::Message,
) -> RawResponse {
    let headers = accepted.map(|accepted| ("grpc-accept-encoding", accepted));
    let body = framed(0, &message.encode_to_vec());
    let path = format!("{SERVICE}/{method}");
    let response = send(server.address, protocol, &path, headers, body).await;
    assert_eq!(response.status().code(), Code::Ok, "{method}: {:?}", response.status());
    response
}

/// The messages, decompressed.
fn messages<M: prost::Message + Default>(response: &RawResponse) -> Vec<M> {
    let encoding = response.headers.get("grpc-encoding").map(|name| name.to_str().unwrap());
    let decode = |(flag, bytes): (u8, Vec<u8>)| match flag {
        0 => M::decode(&bytes[..]).unwrap(),
        1 => M::decode(&decompress(encoding.unwrap(), &bytes)[..]).unwrap(),
        _ => panic!("flag {flag}"),
    };
    response.messages().into_iter().map(decode).collect()
}

fn json_report() -> GetReportRequest {
    GetReportRequest { name: name(1), view: View::Json as i32 }
}

#[tokio::test]
async fn responses_are_compressed_as_the_caller_accepts() {
    let host = Host::new();
    let server = server_with_report(&host).await;
    let plain = get(&server, Protocol::Grpc, "GetReport", None, &json_report()).await;
    assert!(!plain.headers.contains_key("grpc-encoding"));
    let expected: Vec<GetReportResponse> = messages(&plain);
    for protocol in PROTOCOLS {
        for encoding in ENCODINGS {
            let response =
                get(&server, protocol, "GetReport", Some(encoding), &json_report()).await;
            assert_eq!(response.headers["grpc-encoding"], encoding);
            assert_eq!(response.messages()[0].0, 1, "{protocol:?} {encoding}");
            let (size, plain) = (response.body.len(), plain.body.len());
            assert!(size < plain / 4, "{protocol:?} {encoding}: {size} of {plain}");
            assert!(messages::<GetReportResponse>(&response) == expected, "{encoding}");
        }
        for accepted in ["identity", "br,snappy", ""] {
            let response =
                get(&server, protocol, "GetReport", Some(accepted), &json_report()).await;
            assert!(!response.headers.contains_key("grpc-encoding"), "{accepted}");
            assert_eq!(response.body, plain.body, "{accepted}");
        }
        let several = Some("identity,deflate, gzip");
        let response = get(&server, protocol, "GetReport", several, &json_report()).await;
        assert_eq!(response.headers["grpc-encoding"], "gzip");
        assert_eq!(response.headers["grpc-accept-encoding"], "identity,gzip,deflate,zstd");
    }
}

/// A request may be compressed with one encoding and its response with another.
#[tokio::test]
async fn request_and_response_are_compressed_independently() {
    let host = Host::new();
    let server = server_with_report(&host).await;
    for protocol in PROTOCOLS {
        for (sent, accepted) in [("gzip", "zstd"), ("zstd", "gzip"), ("deflate", "identity")] {
            let body = framed(1, &crate::raw::compress(sent, &json_report().encode_to_vec()));
            let headers = [("grpc-encoding", sent), ("grpc-accept-encoding", accepted)];
            let path = format!("{SERVICE}/GetReport");
            let response = send(server.address, protocol, &path, headers, body).await;
            assert_eq!(response.status().code(), Code::Ok, "{:?}", response.status());
            assert_eq!(messages::<GetReportResponse>(&response).len(), 1);
            let is_compressed = response.messages()[0].0 == 1;
            assert_eq!(is_compressed, accepted != "identity", "{sent} {accepted}");
        }
    }
}

/// Events are short, so that each is sent as it is, in the same stream as long ones.
#[tokio::test]
async fn every_event_of_a_stream_is_readable() {
    let host = Host::new();
    let server = server_with_report(&host).await;
    let watch = WatchExportRequest { name: name(1), ..WatchExportRequest::default() };
    for protocol in PROTOCOLS {
        for encoding in ENCODINGS {
            let response = get(&server, protocol, "WatchExport", Some(encoding), &watch).await;
            let events: Vec<ExportEvent> = messages(&response);
            assert!(events.len() > 3);
            let last = events.last().unwrap().event.as_ref();
            assert!(matches!(last, Some(export_event::Event::Completed(_))), "{last:?}");
        }
    }
}

/// A file that does not become smaller is sent as it is, and an archive is never compressed again.
#[tokio::test]
async fn downloads_are_compressed_only_if_they_become_smaller() {
    let host = Host::new();
    let server = server_with_report(&host).await;
    let download =
        |path: &str| DownloadArtifactRequest { name: name(1), path: path.to_owned(), offset: 0 };
    let content = |response: &RawResponse| -> Vec<u8> {
        let parts = messages::<DownloadArtifactResponse>(response).into_iter();
        parts
            .filter_map(|part| match part.part {
                Some(download_artifact_response::Part::Data(data)) => Some(data),
                _ => None,
            })
            .flatten()
            .collect()
    };
    for encoding in ENCODINGS {
        let json = download("comprehensive_report.json");
        let get = async |message| {
            get(&server, Protocol::Grpc, "DownloadArtifact", Some(encoding), message).await
        };
        let report = get(&json).await;
        assert!(report.messages().iter().any(|(flag, _)| *flag == 1));
        assert!(serde_json::from_slice::<serde_json::Value>(&content(&report)).is_ok());
        assert!(report.body.len() < content(&report).len() / 3);
        let exported = server.client.clone().get_export(GetExportRequest { name: name(1) }).await;
        let artifacts = exported.unwrap().into_inner().export.unwrap().artifacts;
        let document = artifacts.iter().find(|artifact| artifact.path.ends_with(".docx")).unwrap();
        let document = get(&download(&document.path)).await;
        assert!(document.messages().iter().all(|(flag, _)| *flag == 0));
        assert_eq!(content(&document), incompressible(300_000));
    }
    let bundle = DownloadBundleRequest { name: name(1) };
    let archive = get(&server, Protocol::Grpc, "DownloadBundle", Some("gzip"), &bundle).await;
    assert!(!archive.headers.contains_key("grpc-encoding"));
}

/// In a stream of both directions, each response arrives before the next request is sent.
#[tokio::test]
async fn each_compressed_message_is_sent_at_once() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, ServerReflectionResponse,
        server_reflection_request::MessageRequest,
    };

    let host = Host::new();
    let server = host.start().await;
    let (requests, receiver) = mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
    let body = tonic::body::Body::new(StreamBody::new(UnboundedReceiverStream::new(receiver)));
    let path = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let request = http::Request::post(format!("http://{}/{path}", server.address))
        .header("content-type", "application/grpc")
        .header("grpc-accept-encoding", "zstd")
        .body(body)
        .unwrap();
    let channel = endpoint(server.address).connect().await.unwrap();
    let mut response = within("a response", channel.oneshot(request)).await.unwrap();
    let mut received = Vec::new();
    for symbol in ["tara.export.v1.ExportService", "google.rpc.BadRequest", "grpc.health.v1.Health"]
    {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(symbol.to_owned())),
        };
        let message = framed(0, &request.encode_to_vec());
        requests.send(Ok(Frame::data(Bytes::from(message)))).unwrap();
        let (flag, message) = loop {
            if let [flag, length @ ..] = &received[..]
                && let Some((length, message)) = length.split_first_chunk()
                && message.len() == u32::from_be_bytes(*length) as usize
            {
                break (*flag, message);
            }
            let frame = within("a message", response.body_mut().frame()).await.unwrap().unwrap();
            received.extend_from_slice(&frame.into_data().unwrap());
        };
        let message = if flag == 1 { decompress("zstd", message) } else { message.to_vec() };
        let response = ServerReflectionResponse::decode(&message[..]).unwrap();
        assert_eq!(response.original_request, Some(request));
        assert_eq!(flag == 1, message.len() > 1024);
        received.clear();
    }
}

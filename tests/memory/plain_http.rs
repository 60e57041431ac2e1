//! Requests in JSON: the memory of the text and of its conversion is reserved, for any text.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use prost_reflect::{DescriptorPool, DynamicMessage};
use tara_export::grpc::request_memory_bytes;

use crate::{
    allocator::{alone, peak_during},
    harness::{Host, within},
    messages::{amplifying, expect_within, preview},
    raw::PREVIEW,
};

const TYPE: &str = "tara.export.v1.PreviewExportRequest";

/// What the server reserves while it converts this text, which becomes a message of this size (docs/limits.md).
fn conversion_bytes(text: &str, message_bytes: usize) -> usize {
    let escapes = if text.contains('\\') { 2 * text.len() } else { 0 };
    let mut capacity = text.len().max(64 * 1024);
    while capacity < message_bytes {
        capacity *= 4;
    }
    text.len() + escapes + capacity
}

async fn call(address: std::net::SocketAddr, text: String) -> (StatusCode, Bytes) {
    let request = Request::post(format!("http://{address}/{PREVIEW}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(text)))
        .unwrap();
    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    let response = within("a response", client.request(request)).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

#[test]
fn calls_in_json_stay_within_their_reservation() {
    alone(async {
        let host = Host::new().flags(&["--max-request-memory=2GiB"]);
        let server = host.start().await;
        let pool = DescriptorPool::decode(tara_export::proto::FILE_DESCRIPTOR_SET).unwrap();
        let message_type = pool.get_message_by_name(TYPE).unwrap();
        let mut converted = 0;
        for (what, review) in amplifying() {
            let message = preview(review);
            let decoded = request_memory_bytes(TYPE, &message).unwrap();
            let text = DynamicMessage::decode(message_type.clone(), &*message).unwrap();
            let text = serde_json::to_string(&text).unwrap();
            let reserved = decoded.max(conversion_bytes(&text, message.len()) as u64);
            drop(message);
            let ((status, body), peak) = peak_during(call(server.address, text)).await;
            // A free value that is not set is null in JSON.
            let expected = if what == "violations" { 400 } else { 200 };
            assert_eq!(status, expected, "{what}: {body:?}");
            expect_within(what, "JSON", reserved as f64, peak);
            converted += 1;
        }
        assert!(converted > 10, "{converted}");
        assert_eq!(server.running.engine().admission().reserved_bytes(), 0);
    });
}

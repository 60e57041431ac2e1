//! Every error fits into the headers that clients accept, counted as they count: gRPC core (Python, C++, Ruby, PHP) and
//! grpc-java accept 8 KiB.

use http::HeaderMap;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, Value};
use tara_export::proto::FILE_DESCRIPTOR_SET;
use tara_export_client::proto::{
    DownloadArtifactRequest, FeedbackItem, FeedbackSection, GetExportRequest, PreviewExportRequest,
    Review,
};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_types::StatusExt as _;

use crate::{
    harness::Host,
    raw::{GET, PREVIEW, PROTOCOLS, Protocol, RawResponse, framed, send},
    statuses::{expect_status, violations},
};

/// The limit of clients, without the part for what proxies add.
const LIMIT_BYTES: usize = 8 * 1024 - 512;
/// The limit of a response that is only an error, without `:status`: a buffer of nginx.
const HEADERS_LIMIT_BYTES: usize = 3840 - 42;

fn size_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

fn expect_fits(what: &str, protocol: Protocol, response: &RawResponse) {
    let headers = size_bytes(&response.headers);
    let is_within = headers <= HEADERS_LIMIT_BYTES;
    assert!(is_within, "{what}, {protocol:?}: {headers} bytes of headers");
    let trailers = response.trailers.as_ref().map_or(0, size_bytes);
    assert!(trailers <= LIMIT_BYTES, "{what}, {protocol:?}: {trailers} bytes of trailers");
}

fn preview(sections: Vec<FeedbackSection>) -> Vec<u8> {
    let review =
        Review { document_name: "a.docx".to_owned(), suggestions: sections, ..Review::default() };
    framed(0, &PreviewExportRequest { review: Some(review), documents: vec![] }.encode_to_vec())
}

fn twice(name: &str) -> Vec<FeedbackSection> {
    let section = |number: usize| FeedbackSection {
        name: format!("{name}{}", number / 2),
        items: vec![FeedbackItem { id: Some("1".to_owned()), ..FeedbackItem::default() }],
    };
    (0..600).map(section).collect()
}

/// One item with free fields of these names that are not finite.
fn not_finite(names: impl IntoIterator<Item = String>) -> Vec<FeedbackSection> {
    let number = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(f64::NAN)) };
    let fields = names.into_iter().map(|name| (name, number.clone())).collect();
    let additional_fields = Some(prost_types::Struct { fields });
    let item =
        FeedbackItem { id: Some("1".to_owned()), additional_fields, ..FeedbackItem::default() };
    vec![FeedbackSection { name: "S".to_owned(), items: vec![item] }]
}

#[tokio::test]
async fn many_violations_fit_and_the_others_are_counted() {
    let host = Host::new();
    let server = host.start().await;
    for (what, sections, total) in [
        ("names twice", twice("Section "), 300),
        ("names with umlauts twice", twice(&"Überschrift ".repeat(8)), 300),
        ("free fields", not_finite((0..60).map(|n| format!("Kürzel für Prüfer {n}"))), 60),
        ("long names", not_finite(["ü", "ä"].map(|letter| letter.repeat(500))), 2),
        ("very long names", not_finite(["字", "語", "文"].map(|letter| letter.repeat(9000))), 3),
        ("spaces", not_finite((0..9).map(|n| format!("{}{n}", " ".repeat(2000)))), 9),
    ] {
        for protocol in PROTOCOLS {
            let response =
                send(server.address, protocol, PREVIEW, [], preview(sections.clone())).await;
            expect_fits(what, protocol, &response);
            let status = response.status();
            let mut shown = violations(&status);
            assert!(!shown.is_empty(), "{what}");
            let info = expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
            let omitted = match info.metadata.get("omitted_violations") {
                Some(omitted) => {
                    let (field, description) = shown.pop().unwrap();
                    assert_eq!(field, "");
                    assert!(description.contains(omitted.as_str()), "{description}");
                    omitted.parse().unwrap()
                }
                None => 0,
            };
            assert_eq!(shown.len() + omitted, total, "{what}");
            assert!(shown.len() >= total.min(12) || what.contains("long") || what == "spaces");
            let more = format!("and {} more", total - 1);
            assert!(status.message().contains(&more), "{what}: {}", status.message());
        }
    }
}

/// Errors that echo what a caller sent, in every method.
#[tokio::test]
async fn errors_of_every_method_fit_whatever_their_requests_contain() {
    let host = Host::new();
    let server = host.start().await;
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let service = pool.get_service_by_name("tara.export.v1.ExportService").unwrap();
    let mut errors = 0;
    for method in service.methods() {
        let path = format!("{}/{}", service.full_name(), method.name());
        for text in ["x", "ü", "字", " ", "%", "\u{1}", "exports/ü", "uploads/"] {
            let text = text.repeat(20_000 / text.len());
            let mut request = DynamicMessage::new(method.input());
            for field in method.input().fields() {
                if field.kind() == Kind::String && !field.is_list() {
                    request.set_field(&field, Value::String(text.clone()));
                }
            }
            for protocol in PROTOCOLS {
                let body = framed(0, &request.encode_to_vec());
                let response = send(server.address, protocol, &path, [], body).await;
                expect_fits(&path, protocol, &response);
                let status = response.status();
                if status.code() != Code::Ok {
                    let info = status.get_details_error_info();
                    assert!(info.is_some(), "{path}: {status:?}");
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 200, "{errors}");
}

/// Errors of layers, and of services that are not this project's.
#[tokio::test]
async fn errors_of_other_services_and_layers_fit() {
    let host = Host::new();
    let server = host.start().await;
    let long = "ü".repeat(20_000);
    let health = HealthCheckRequest { service: long.clone() }.encode_to_vec();
    let unknown_method = "x".repeat(8000);
    let unknown_encoding = "x".repeat(8000);
    let get = GetExportRequest { name: long }.encode_to_vec();
    for protocol in PROTOCOLS {
        for (method, headers, message, code) in [
            ("grpc.health.v1.Health/Check", vec![], &health, Code::NotFound),
            (unknown_method.as_str(), vec![], &get, Code::Unimplemented),
            (GET, vec![("grpc-encoding", unknown_encoding.as_str())], &get, Code::Unimplemented),
            (GET, vec![("grpc-encoding", "gzip")], &get, Code::InvalidArgument),
        ] {
            let body = framed(0, message);
            let response = send(server.address, protocol, method, headers, body).await;
            expect_fits(method, protocol, &response);
            assert_eq!(response.status().code(), code, "{method:.50} {protocol:?}");
        }
    }
}

/// Clients retry only calls that failed before the headers of a response, and report errors before the first message.
#[tokio::test]
async fn error_is_in_the_headers() {
    let host = Host::new();
    let server = host.start().await;
    let name = crate::requests::name(1);
    let path = "字".repeat(300);
    let message = DownloadArtifactRequest { name, path, offset: 0 }.encode_to_vec();
    let method = "tara.export.v1.ExportService/DownloadArtifact";
    let response = send(server.address, Protocol::Grpc, method, [], framed(0, &message)).await;
    assert!(response.headers.contains_key("grpc-status"), "{:?}", response.headers);
    assert_eq!(response.trailers, None);
}

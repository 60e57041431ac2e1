//! Checks on every request before its method runs: size, encoding, counts and memory.

use bytes::Bytes;
use prost::Message as _;
use tara_export_client::proto::{
    FeedbackItem, FeedbackSection, GetExportRequest, PreviewExportRequest, Review,
};
use tonic::Code;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_request::MessageRequest,
};

use crate::{
    following::{committed, refused},
    harness::{Host, TestServer},
    raw::{GET, PREVIEW, PROTOCOLS, Protocol, START, call, compress, framed},
    requests::{item, request, review, section},
    statuses::{expect_invalid, expect_status},
};

const ENCODINGS: [&str; 3] = ["gzip", "deflate", "zstd"];
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const HEALTH: &str = "grpc.health.v1.Health/Check";
const LIST: &str = "tara.export.v1.ExportService/ListExports";

fn preview() -> Vec<u8> {
    PreviewExportRequest { review: Some(review("a.docx")), documents: vec![] }.encode_to_vec()
}

/// Checks that no request memory is reserved.
fn assert_no_memory_reserved(server: &TestServer) {
    assert_eq!(server.running.engine().admission().reserved_bytes(), 0);
}

#[tokio::test]
async fn every_encoding_is_decoded_over_every_protocol() {
    let host = Host::new();
    let server = host.start().await;
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    for protocol in PROTOCOLS {
        for encoding in ENCODINGS {
            for (method, message) in
                [(PREVIEW, preview()), (HEALTH, vec![]), (REFLECTION, list.encode_to_vec())]
            {
                let body = framed(1, &compress(encoding, &message));
                let (status, _) =
                    call(server.address, protocol, method, Some(encoding), body).await;
                assert_eq!(status.code(), Code::Ok, "{protocol:?} {encoding} {method} {status:?}");
            }
            let unknown = GetExportRequest { name: crate::requests::name(1) }.encode_to_vec();
            let body = framed(1, &compress(encoding, &unknown));
            let (status, _) = call(server.address, protocol, GET, Some(encoding), body).await;
            expect_status(&status, Code::NotFound, "EXPORT_NOT_FOUND");
            // Each message has its own compression flag.
            let body = framed(0, &preview());
            let (status, _) = call(server.address, protocol, PREVIEW, Some(encoding), body).await;
            assert_eq!(status.code(), Code::Ok, "{status:?}");
        }
        let body = framed(0, &preview());
        let (status, _) = call(server.address, protocol, PREVIEW, Some("identity"), body).await;
        assert_eq!(status.code(), Code::Ok, "{status:?}");
    }
    assert_no_memory_reserved(&server);
}

#[tokio::test]
async fn unknown_encoding_is_refused_and_supported_ones_are_listed() {
    let host = Host::new();
    let server = host.start().await;
    for protocol in PROTOCOLS {
        for method in [PREVIEW, GET, HEALTH] {
            let body = framed(1, b"x");
            let (status, headers) = call(server.address, protocol, method, Some("br"), body).await;
            expect_status(&status, Code::Unimplemented, "ENCODING_NOT_SUPPORTED");
            assert_eq!(headers["grpc-accept-encoding"], "identity,gzip,deflate,zstd");
        }
    }
}

#[tokio::test]
async fn compressed_message_without_encoding_is_refused() {
    let host = Host::new();
    let server = host.start().await;
    for protocol in PROTOCOLS {
        for method in [PREVIEW, GET] {
            let body = framed(1, &compress("gzip", &preview()));
            let (status, _) = call(server.address, protocol, method, None, body).await;
            expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
            assert!(status.message().contains("grpc-encoding"), "{status:?}");
        }
    }
}

#[tokio::test]
async fn undecodable_bytes_are_an_invalid_request() {
    let host = Host::new();
    let server = host.start().await;
    for protocol in PROTOCOLS {
        for encoding in ENCODINGS {
            for method in [PREVIEW, GET] {
                let body = framed(1, b"no such encoding");
                let (status, _) =
                    call(server.address, protocol, method, Some(encoding), body).await;
                expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
            }
        }
    }
}

#[tokio::test]
async fn decompression_bomb_stops_at_the_size_limit() {
    let host = Host::new().flags(&["--max-request-size=1MiB"]);
    let server = host.start().await;
    let zeros = vec![0; 16 * 1024 * 1024];
    for encoding in ENCODINGS {
        let bomb = compress(encoding, &zeros);
        assert!(bomb.len() < 512 * 1024, "{encoding}: {}", bomb.len());
        for protocol in [Protocol::Grpc, Protocol::GrpcWeb] {
            for (method, limit) in [(PREVIEW, "1048576"), (START, "MAX_REQUEST_SIZE")] {
                let (status, _) =
                    call(server.address, protocol, method, Some(encoding), framed(1, &bomb)).await;
                expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
                assert!(status.message().contains(limit), "{status:?}");
            }
            let small_bomb = compress(encoding, &zeros[..1024 * 1024]);
            for method in [LIST, HEALTH, REFLECTION] {
                let body = framed(1, &small_bomb);
                let (status, _) =
                    call(server.address, protocol, method, Some(encoding), body).await;
                expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
                assert!(status.message().contains("65536"), "{status:?}");
            }
        }
    }
    assert_no_memory_reserved(&server);
}

#[tokio::test]
async fn length_above_the_limit_is_refused_before_the_message_arrives() {
    let host = Host::new();
    let server = host.start().await;
    for method in [PREVIEW, START, GET, LIST, HEALTH, REFLECTION] {
        for length in [u32::MAX, 40 << 20] {
            let body = [&[0], length.to_be_bytes().as_slice(), b"x"].concat();
            let (status, _) = call(server.address, Protocol::Grpc, method, None, body).await;
            expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
        }
    }
}

#[tokio::test]
async fn partial_or_extra_message_is_refused() {
    let host = Host::new();
    let server = host.start().await;
    let get = GetExportRequest { name: crate::requests::name(1) }.encode_to_vec();
    for protocol in PROTOCOLS {
        for (method, message) in [(PREVIEW, preview()), (GET, get.clone())] {
            let first = framed(0, &message);
            for rest in [b"x".to_vec(), first.clone()] {
                let body = [first.clone(), rest].concat();
                let (status, _) = call(server.address, protocol, method, None, body).await;
                expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
            }
            for cut in [0, 3, 5, first.len() - 1] {
                let body = Bytes::copy_from_slice(&first[..cut]);
                let (status, _) = call(server.address, protocol, method, None, body).await;
                expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
            }
        }
    }
    assert_no_memory_reserved(&server);
}

/// Each item takes two bytes on the wire and about 340 in memory.
#[tokio::test]
async fn millions_of_empty_items_are_refused_naming_the_limit() {
    let host = Host::new();
    let mut server = host.start().await;
    let items = [0x12, 0].repeat(4_000_000);
    let section = nested(2, &items);
    let message = nested(2, &nested(7, &section[..]));
    let preview = nested(1, &nested(7, &items));
    for protocol in [Protocol::Grpc, Protocol::GrpcWeb] {
        for (method, message) in [(START, &message), (PREVIEW, &preview)] {
            let body = framed(0, message);
            let (status, _) = call(server.address, protocol, method, None, body).await;
            expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
        }
        let body = framed(0, &preview);
        let (status, _) = call(server.address, protocol, PREVIEW, None, body).await;
        let description = expect_invalid(&status, "review.suggestions[0].items");
        assert!(description.contains("100000"), "{description}");
    }
    assert_no_memory_reserved(&server);
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

/// An encoded field of type `bytes`.
fn nested(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut field);
    field.extend(bytes);
    field
}

#[tokio::test]
async fn request_above_the_memory_limit_is_refused_naming_the_setting() {
    let host = Host::new().flags(&["--max-request-size=1MiB", "--max-request-memory=32MiB"]);
    let mut server = host.start().await;
    let mut large = request(1, "incident report.docx");
    let items = vec![FeedbackItem::default(); 90_000];
    large.review = Some(Review {
        suggestions: vec![FeedbackSection { name: String::new(), items }],
        ..review("a.docx")
    });
    let status = refused(&mut server.client, large).await;
    let info = expect_status(&status, Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    assert_eq!(info.metadata["setting"], "MAX_REQUEST_MEMORY");
    assert!(status.message().contains("33554432"), "{status:?}");
    assert_no_memory_reserved(&server);
    committed(&mut server.client, request(1, "incident report.docx")).await;
}

#[tokio::test]
async fn exceeded_limit_is_reported_with_field_and_value() {
    let host = Host::new();
    let mut server = host.start().await;
    let mut many_questions = request(1, "a.docx");
    let review = many_questions.review.as_mut().unwrap();
    review.accepted = vec![section("s", vec![item("1")])];
    review.accepted[0].items[0].questions = vec!["why?".into(); 1001];
    let status = refused(&mut server.client, many_questions).await;
    let description = expect_invalid(&status, "review.accepted[0].items[0].questions");
    assert!(description.contains("1000"), "{description}");
    let mut long = request(1, "a.docx");
    long.review.as_mut().unwrap().suggestions[0].items[1].description =
        Some("x".repeat(1024 * 1024 + 1));
    let status = refused(&mut server.client, long).await;
    let description = expect_invalid(&status, "review.suggestions[0].items[1].description");
    assert!(description.contains("1048576"), "{description}");
}

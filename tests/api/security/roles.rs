//! Each method with each role.

use http::uri::PathAndQuery;
use prost_reflect::DescriptorPool;
use tara_export::proto::FILE_DESCRIPTOR_SET;
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;

use crate::{
    harness::{
        Host, endpoint,
        tokens::{flag, text},
        within,
    },
    statuses::expect_status,
};

/// The roles of each method, written again by hand to find mistakes in the table.
fn roles_of(method: &str) -> &'static [&'static str] {
    match method {
        "PreviewExport" | "StartExport" | "BatchStartExports" | "CreateUpload" | "GetUpload"
        | "UploadDocument" | "UploadChunk" => &["export", "admin"],
        "ListExports" | "GetReport" | "DownloadArtifact" | "DownloadBundle"
        | "CreateDownloadLink" => &["read", "admin"],
        "WatchExport" | "GetExport" | "WatchBatch" | "GetBatch" => &["export", "read", "admin"],
        "CheckStorage" => &["admin"],
        other => panic!("{other}: no roles listed"),
    }
}

/// Calls a method with an empty message.
async fn call(channel: &Channel, path: &str, token: Option<&str>) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(());
    if let Some(token) = token {
        let header = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
    }
    let path: PathAndQuery = path.parse().unwrap();
    let codec = ProstCodec::<(), ()>::default();
    within("a response", grpc.unary(request, path, codec)).await.map(drop)
}

#[tokio::test]
async fn method_accepts_only_its_roles() {
    let folder = tempfile::tempdir().unwrap();
    let flag =
        flag(folder.path(), &[("export", &["export"]), ("read", &["read"]), ("admin", &["admin"])]);
    let host = Host::new();
    let (server, _disk) = host.serve(&[&flag]).await;
    let channel = endpoint(server.address()).connect().await.unwrap();
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let service = pool.get_service_by_name("tara.export.v1.ExportService").unwrap();
    let mut methods = 0;
    for method in service.methods() {
        methods += 1;
        let path = format!("/{}/{}", service.full_name(), method.name());
        for role in ["export", "read", "admin"] {
            let result = call(&channel, &path, Some(&text(role))).await;
            if roles_of(method.name()).contains(&role) {
                let code = result.err().map(|status| status.code());
                let refused = [Some(Code::PermissionDenied), Some(Code::Unauthenticated)];
                assert!(!refused.contains(&code), "{path} for {role}");
            } else {
                let info =
                    expect_status(&result.unwrap_err(), Code::PermissionDenied, "ROLE_MISSING");
                assert!(!info.metadata["role"].contains(role), "{path}: {info:?}");
            }
        }
        let status = call(&channel, &path, None).await.unwrap_err();
        expect_status(&status, Code::Unauthenticated, "CREDENTIALS_MISSING");
        let status = call(&channel, &path, Some("guessed")).await.unwrap_err();
        expect_status(&status, Code::Unauthenticated, "CREDENTIALS_INVALID");
        assert!(!status.message().contains("guessed"));
    }
    assert_eq!(methods, 17);
}

#[tokio::test]
async fn health_is_public_and_reflection_needs_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let flag = flag(folder.path(), &[("read", &["read"])]);
    let host = Host::new();
    let (server, _disk) = host.serve(&[&flag]).await;
    let channel = endpoint(server.address()).connect().await.unwrap();
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let url = format!("http://{}/healthz", server.address());
    assert_eq!(crate::harness::http::get(&url).await.0, 200);

    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let status = call(&channel, &path, None).await.unwrap_err();
        expect_status(&status, Code::Unauthenticated, "CREDENTIALS_MISSING");
        // An empty request gets no response, but passes authentication.
        let code = call(&channel, &path, Some(&text("read"))).await.err().map(|error| error.code());
        assert_ne!(code, Some(Code::Unauthenticated));
    }
    let path = "/tara.export.v1.ExportService/Erase";
    let status = call(&channel, path, Some(&text("read"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn bearer_scheme_is_case_insensitive_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let flag = flag(folder.path(), &[("read", &["read"])]);
    let host = Host::new();
    let (server, _disk) = host.serve(&[&flag]).await;
    let channel = endpoint(server.address()).connect().await.unwrap();
    for (header, is_good) in [
        (format!("Bearer {}", text("read")), true),
        (format!("bearer  {}", text("read")), true),
        (text("read"), false),
        (format!("Basic {}", text("read")), false),
        ("Bearer ".to_owned(), false),
        (format!("Bearer {}x", text("read")), false),
        (format!("Bearer {}", "x".repeat(20_000)), false),
    ] {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let mut request = Request::new(());
        request.metadata_mut().insert("authorization", header.parse().unwrap());
        let path = PathAndQuery::from_static("/tara.export.v1.ExportService/ListExports");
        let codec = ProstCodec::<(), ()>::default();
        let result = grpc.unary(request, path, codec).await;
        assert_eq!(result.is_ok(), is_good, "{}", &header[..header.len().min(40)]);
        if let Err(status) = result {
            expect_status(&status, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
    }
}

//! The OpenAPI document and the page for people.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use prost_reflect::DescriptorPool;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{request_of, send, send_h2};
use crate::harness::{
    Host,
    tokens::{flag, text},
};

/// All references in a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str().filter(|_| key == "$ref") {
                    Some(target) => found.push(target),
                    None => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn document_describes_every_method_and_every_type() {
    let host = Host::new();
    let server = host.start().await;
    let reply = send(request_of(server.address, Method::GET, "/openapi.json")).await;
    assert_eq!((reply.code.as_u16(), reply.content_type()), (200, "application/json"));
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    let pool = DescriptorPool::decode(tara_export::proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = 0;
    for service in pool.services() {
        for method in service.methods().filter(|method| !method.is_client_streaming()) {
            methods += 1;
            let path = format!("/{}/{}", service.full_name(), method.name());
            let post = &document["paths"][&path]["post"];
            let description = post["description"].as_str().unwrap_or_default();
            assert!(description.contains("requires the role "), "{path}: {description}");
            assert!(!description.contains("buf:lint"), "{path}: {description}");
            let reads = document["paths"][&path]["get"].is_object();
            let is_read = ["Get", "List", "Watch", "Download"];
            let is_read = is_read.iter().any(|prefix| method.name().starts_with(prefix));
            assert_eq!(reads, is_read, "{path}");
        }
    }
    assert_eq!(methods, document["paths"].as_object().unwrap().len());
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "{target}");
    }
    // Comments of messages, fields and values of enums.
    let schemas = &document["components"]["schemas"];
    for (pointer, part) in [
        ("/tara.export.v1.Export/description", ""),
        (
            "/tara.export.v1.StartExportRequest/properties/requestId/description",
            "A UUID of the caller",
        ),
        ("/tara.export.v1.GetReportRequest.View/description", "byte for byte"),
        ("/tara.export.v1.Document/description", "At most one of `content`"),
    ] {
        let description = schemas.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(!description.is_empty() && description.contains(part), "{pointer}: {description}");
    }
}

#[tokio::test]
async fn page_needs_nothing_from_elsewhere() {
    let host = Host::new();
    let server = host.start().await;
    for reply in [
        send(request_of(server.address, Method::GET, "/docs")).await,
        send_h2(request_of(server.address, Method::GET, "/docs")).await,
    ] {
        assert_eq!((reply.code.as_u16(), reply.content_type()), (200, "text/html; charset=utf-8"));
        let page = reply.text();
        assert!(page.contains("StartExport") && page.contains("tara.export.v1.Export"));
        for foreign in ["<script", "<img", "<link", "src=", "@import", "url(", "style=", " on"] {
            let inside_tags = page.split('<').filter_map(|part| part.split_once('>'));
            for (tag, _) in inside_tags {
                assert!(!format!("<{tag}").contains(foreign), "{foreign} in <{tag}>");
            }
        }
        let policy = reply.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        // The policy allows exactly the page's style.
        let (_, style) = page.split_once("<style>").unwrap();
        let (style, _) = style.split_once("</style>").unwrap();
        let digest = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(policy.contains(&format!("style-src 'sha256-{digest}';")), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        // Every link leads to a section.
        for link in page.split("href=\"#").skip(1) {
            let (target, _) = link.split_once('"').unwrap();
            assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
        }
    }
    let head = send(request_of(server.address, Method::HEAD, "/docs")).await;
    assert_eq!((head.code.as_u16(), head.body.len()), (200, 0));
    let post = send(request_of(server.address, Method::POST, "/docs")).await;
    assert!(post.code.is_client_error(), "{post:?}");
}

#[tokio::test]
async fn description_is_for_callers() {
    let folder = tempfile::tempdir().unwrap();
    let flag = flag(folder.path(), &[("reader", &["read"]), ("exporter", &["export"])]);
    let host = Host::new();
    let (server, _disk) = host.serve(&[&flag]).await;
    for path in ["/openapi.json", "/docs"] {
        let reply = send(request_of(server.address(), Method::GET, path)).await;
        assert_eq!(reply.error(401).code(), tonic::Code::Unauthenticated);
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        for caller in ["reader", "exporter"] {
            let mut request = request_of(server.address(), Method::GET, path);
            let header = format!("Bearer {}", text(caller)).parse().unwrap();
            request.headers_mut().insert("authorization", header);
            assert_eq!(send(request).await.code, 200);
        }
    }
    let mut rebound = request_of(server.address(), Method::GET, "/docs");
    rebound
        .headers_mut()
        .insert("authorization", format!("Bearer {}", text("reader")).parse().unwrap());
    assert_eq!(send(rebound).await.code, 200);

    let (open, _disk) = Host::new().serve(&[]).await;
    let mut rebound = request_of(open.address(), Method::GET, "/docs");
    rebound.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(send(rebound).await.code, 403);
}

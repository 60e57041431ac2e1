//! Requests that are not JSON, or not of their type, and content types.

use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{CONNECT_JSON, CONNECT_PROTO, JSON, PROTO, SERVICE, call, post, send};
use crate::{
    harness::Host,
    statuses::{expect_invalid, expect_status},
};

#[tokio::test]
async fn malformed_json_has_line_and_column() {
    let host = Host::new();
    let server = host.start().await;
    for method in ["GetExport", "PreviewExport", "StartExport"] {
        for (text, line, column) in [
            ("{\n  \"name\": \"x\",\n}", "3", "1"),
            ("{\n  \"review\" {}\n}", "2", "12"),
            ("", "1", "0"),
            ("{\"a", "1", "3"),
        ] {
            let reply = call(server.address, method, text).await;
            let status = match method {
                "StartExport" => super::status_of(&reply.lines().1["error"]),
                _ => reply.error(400),
            };
            let info = expect_status(&status, Code::InvalidArgument, "INVALID_REQUEST");
            if !text.contains("name") && !text.contains("review") {
                let position = (info.metadata["line"].as_str(), info.metadata["column"].as_str());
                assert_eq!(position, (line, column), "{method} {text:?} {status:?}");
                let position = format!("at line {line} column {column}");
                assert!(status.message().contains(&position), "{status:?}");
            }
            assert!(status.message().contains("at line "), "{status:?}");
        }
    }
    let reply = call(server.address, "GetExport", "{\n  \"name\": \"x\",\n}").await;
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("trailing comma at line 3 column 1"), "{message}");
}

#[tokio::test]
async fn unknown_field_is_an_error_that_names_it() {
    let host = Host::new();
    let server = host.start().await;
    let reply = call(server.address, "GetExport", json!({"nmae": "x"})).await;
    let description = expect_invalid(&reply.error(400), "nmae");
    assert!(description.contains("has no such field at line 1 column"), "{description}");
    let json = json!({"review": {"suggestions": [{"items": [{}, {"titel": 1}]}]}});
    let reply = call(server.address, "PreviewExport", json).await;
    expect_invalid(&reply.error(400), "review.suggestions[0].items[1].titel");
    let long = "é".repeat(100_000);
    let mut object = serde_json::Map::new();
    object.insert(long, 1.into());
    let reply = call(server.address, "PreviewExport", json!(object)).await;
    let status = reply.error(400);
    assert!(reply.body.len() < 4096, "{}", reply.body.len());
    let shown = status.get_error_details().bad_request().unwrap().field_violations[0].field.clone();
    assert!(shown.ends_with("é…"), "{shown}");
}

#[tokio::test]
async fn field_of_another_type_is_an_error_that_names_it() {
    let host = Host::new();
    let server = host.start().await;
    for (json, field) in [
        (json!({"pageSize": "many"}), "page_size"),
        (json!({"pageSize": 1.5}), "page_size"),
        (json!({"pageSize": 3_000_000_000_u64}), "page_size"),
        (json!({"filter": 1}), "filter"),
        (json!({"filter": {}}), "filter"),
        (json!([]), ""),
        (json!(1), ""),
    ] {
        let reply = call(server.address, "ListExports", &json).await;
        expect_invalid(&reply.error(400), field);
    }
    for json in [json!({"pageSize": "5"}), json!({"page_size": 5.0}), json!({"filter": null})] {
        assert_eq!(call(server.address, "ListExports", &json).await.code, 200, "{json}");
    }
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let host = Host::new();
    let server = host.start().await;
    let unary = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/json, text/plain",
        "application/jsonp",
        "application/protobuf",
        CONNECT_JSON,
        CONNECT_PROTO,
        "",
    ];
    let streams = ["text/plain", PROTO, "application/x-ndjson"];
    let uploads = [JSON, PROTO];
    for (method, types) in
        [("ListExports", &unary[..]), ("WatchExport", &streams), ("UploadDocument", &uploads)]
    {
        for content_type in types {
            let path = format!("{SERVICE}/{method}");
            let reply = send(post(server.address, &path, content_type, "{}")).await;
            assert_eq!(reply.code, 415, "{method} {content_type}: {reply:?}");
            assert!(reply.headers["accept-post"].to_str().unwrap().contains(JSON));
            assert!(reply.text().contains(method), "{reply:?}");
        }
    }
    let mut request = post(server.address, &format!("{SERVICE}/ListExports"), JSON, "{}");
    request.headers_mut().remove("content-type");
    assert_eq!(send(request).await.code, 415);
}

//! Plain HTTP/1.1 requests, like those of browsers and health checks.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};

use crate::harness::within;

/// Sends a GET request over HTTP/1.1. Returns the status and the body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = Request::get(format!("http://{address}{path}")).body(Empty::new()).unwrap();
    let (status, _, body) = send(request).await;
    (status.as_u16(), String::from_utf8(body.into()).unwrap())
}

pub(crate) async fn send(request: Request<Empty<Bytes>>) -> (StatusCode, HeaderMap, Bytes) {
    let client = HttpClient::builder(TokioExecutor::new()).build_http();
    let response = within("the response", client.request(request)).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_11);
    let (head, body) = response.into_parts();
    let body = within("the body", body.collect()).await.unwrap().to_bytes();
    (head.status, head.headers, body)
}

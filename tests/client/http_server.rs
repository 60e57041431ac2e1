//! An HTTP server that responds to every request as a row of `clients/hostile-server.json` says.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Frame, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

/// Serves until it is dropped.
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl HttpServer {
    pub(crate) async fn start(row: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, row) = (requests.clone(), Arc::new(row.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (counter, row) = (counter.clone(), row.clone());
                connections.spawn(async move {
                    let service =
                        service_fn(move |request: http::Request<hyper::body::Incoming>| {
                            counter.fetch_add(1, Ordering::Relaxed);
                            let row = row.clone();
                            async move {
                                let is_web = request.version() == Version::HTTP_11;
                                let _ = request.into_body().collect().await;
                                Ok::<_, Infallible>(respond(&row, is_web))
                            }
                        });
                    // The client may end the connection.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, requests, _tasks: tasks }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

type Frames = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn respond(row: &Value, is_web: bool) -> Response<Frames> {
    let mut headers = map(&row["headers"]);
    if row["is_grpc"] == true {
        let content_type = if is_web { "application/grpc-web+proto" } else { "application/grpc" };
        headers.insert("content-type", HeaderValue::from_static(content_type));
    }
    fill(&mut headers, &row["header_bytes"]);
    let mut body = STANDARD.decode(row["body_base64"].as_str().unwrap_or("")).unwrap();
    body.extend_from_slice(row["body"].as_str().unwrap_or("").as_bytes());
    if let Some(size) = row["message_bytes"].as_u64() {
        body.push(0);
        body.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
        body.resize(body.len() + usize::try_from(size).unwrap(), 0);
    }
    let mut trailers = map(&row["trailers"]);
    fill(&mut trailers, &row["trailer_bytes"]);
    if is_web && !trailers.is_empty() {
        let frame: Vec<u8> = trailers
            .iter()
            .flat_map(|(name, value)| {
                [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
            })
            .collect();
        body.push(0x80);
        body.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
        body.extend_from_slice(&frame);
        trailers.clear();
    }
    let mut frames = Vec::new();
    if !body.is_empty() {
        frames.push(Ok(Frame::data(Bytes::from(body))));
    }
    if !trailers.is_empty() {
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let mut response = Response::new(StreamBody::new(stream::iter(frames)));
    *response.status_mut() =
        StatusCode::from_u16(u16::try_from(row["status"].as_u64().unwrap()).unwrap()).unwrap();
    *response.headers_mut() = headers;
    response
}

fn map(texts: &Value) -> HeaderMap {
    let texts = texts.as_object().into_iter().flatten();
    texts
        .map(|(name, value)| {
            let name = HeaderName::try_from(name.as_str()).unwrap();
            (name, HeaderValue::from_str(value.as_str().unwrap()).unwrap())
        })
        .collect()
}

fn fill(headers: &mut HeaderMap, size: &Value) {
    if let Some(size) = size.as_u64() {
        let filler = "a".repeat(usize::try_from(size).unwrap());
        headers.insert("x-filler", HeaderValue::from_str(&filler).unwrap());
    }
}

//! A proxy like App Runner's: HTTP/1.1 only, with a time limit per request.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::TcpListener,
    time::{Instant, Sleep, sleep_until, timeout_at},
};

/// A proxy that runs until the test ends.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    /// Forwards requests to a server, and resets the connection of each that exceeds the time limit.
    pub(crate) async fn start(server: SocketAddr, time_limit: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let route = Route {
            server,
            time_limit,
            cuts: cuts.clone(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let route = route.clone();
                let service = service_fn(move |request| route.clone().forward(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // Fails if a request exceeded the limit or was not HTTP/1.1.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { address, cuts }
    }

    /// The number of requests that exceeded the limit.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct Route {
    server: SocketAddr,
    time_limit: Duration,
    cuts: Arc<AtomicUsize>,
    client: Client<HttpConnector, Incoming>,
}

impl Route {
    async fn forward(self, mut request: Request<Incoming>) -> io::Result<Response<CutBody>> {
        let until = Instant::now() + self.time_limit;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{}{path}", self.server).parse::<Uri>().unwrap();
        match timeout_at(until, self.client.request(request)).await {
            Ok(response) => {
                let response = response.map_err(io::Error::other)?;
                Ok(response.map(|body| CutBody {
                    body,
                    end: Box::pin(sleep_until(until)),
                    cuts: self.cuts,
                }))
            }
            Err(_) => Err(cut(&self.cuts)),
        }
    }
}

fn cut(cuts: &AtomicUsize) -> io::Error {
    cuts.fetch_add(1, Ordering::Relaxed);
    io::Error::other("the request took too long")
}

struct CutBody {
    body: Incoming,
    end: Pin<Box<Sleep>>,
    cuts: Arc<AtomicUsize>,
}

impl Body for CutBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(cut(&self.cuts))));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(io::Error::other)
    }
}

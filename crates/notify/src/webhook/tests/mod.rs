//! Webhooks against real receivers on loopback, and a real DNS server.

#![allow(clippy::unwrap_used, clippy::panic)]

mod hostile;
mod requests;
mod ssrf;
mod tls;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tara_export_clock::Clock;
use tara_export_events::{EventType, Names};
use tara_export_outbound::{Authorities, Proxies, Resolve};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use uuid::Uuid;

use super::{payload::Payload, sender::WebhookSender, *};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Always the same time.
#[derive(Debug)]
struct FixedClock(DateTime<Utc>);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }

    fn new_id(&self) -> Uuid {
        Uuid::nil()
    }
}

/// Resolves every host to these addresses.
#[derive(Debug)]
struct FixedResolver(Vec<IpAddr>);

#[async_trait::async_trait]
impl Resolve for FixedResolver {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

/// At `Sun, 06 Nov 1994 08:49:37 GMT`.
fn context() -> TargetContext {
    TargetContext {
        clock: Arc::new(FixedClock(DateTime::from_timestamp(784_111_777, 0).unwrap())),
        resolver: Arc::new(FixedResolver(vec![[127, 0, 0, 1].into()])),
        proxies: Proxies::default(),
        authorities: Authorities::of_system(),
        folder: PathBuf::from("/nonexistent"),
        templates: None,
        aws: None,
    }
}

/// A sender of CloudEvents to a URL, private networks included, with this time limit.
fn sender_with(url: &str, timeout: Duration, context: &TargetContext) -> WebhookSender {
    let receiver = CheckedUrl::parse(url, true, HostNames::Shown).unwrap();
    let secrets = vec![Secret::parse(SECRET).unwrap()];
    WebhookSender::new(receiver, secrets, Payload::CloudEvent, Names::Omitted, timeout, context)
        .unwrap()
}

fn sender(url: &str) -> WebhookSender {
    sender_with(url, Duration::from_secs(20), &context())
}

/// A request as a receiver read it.
#[derive(Debug)]
struct Received {
    first_line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads one request.
async fn receive(stream: &mut TcpStream) -> Received {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).await.unwrap();
    let first_line = line.trim_end().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut received = Received { first_line, headers, body: Vec::new() };
    let length = received.header("content-length").map_or(0, |text| text.parse().unwrap());
    received.body.resize(length, 0);
    reader.read_exact(&mut received.body).await.unwrap();
    received
}

/// A receiver that gives each connection to `serve`, and its URL.
async fn receiver<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    url
}

/// A receiver that answers every request with this text, and its requests.
async fn answering(answer: &str) -> (String, mpsc::UnboundedReceiver<Received>) {
    let (requests, received) = mpsc::unbounded_channel();
    let answer = answer.to_owned();
    let url = receiver(move |mut stream| {
        let (requests, answer) = (requests.clone(), answer.clone());
        async move {
            requests.send(receive(&mut stream).await).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    (url, received)
}

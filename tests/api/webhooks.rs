//! A receiver of webhooks, and servers that send to it.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State as Shared, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tara_export_client::proto::{
    Event, ListEventsRequest, automation_service_client::AutomationServiceClient, event::State,
};
use tara_export_clock::Clock as _;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tonic::transport::Channel;

use crate::harness::{Host, TestServer, endpoint, within};

type Automation = AutomationServiceClient<Channel>;

/// The key of all signatures.
const SECRET: &[u8] = b"01234567890123456789012345678901";

/// A request that a receiver got.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) event: Value,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap().strip_prefix("tara.export.v1.").unwrap()
    }

    pub(crate) fn export(&self) -> &str {
        self.event["data"]["export"].as_str().unwrap()
    }

    pub(crate) fn webhook_id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Panics unless the signature is that of the Standard Webhooks specification.
    pub(crate) fn verify_signature(&self) {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
        for part in [self.webhook_id(), ".", self.header("webhook-timestamp"), "."] {
            mac.update(part.as_bytes());
        }
        mac.update(&self.body);
        let signature = BASE64.encode(mac.finalize().into_bytes());
        assert_eq!(self.header("webhook-signature"), format!("v1,{signature}"));
    }
}

#[derive(Debug, Default)]
struct Inbox {
    received: Mutex<Vec<Received>>,
    /// The answers to the next requests; then 204.
    answers: Mutex<VecDeque<StatusCode>>,
    changed: Notify,
}

/// An HTTP server that records the events that it gets.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    inbox: Arc<Inbox>,
    serving: JoinHandle<()>,
}

async fn receive(Shared(inbox): Shared<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let answer = inbox.answers.lock().unwrap().pop_front().unwrap_or(StatusCode::NO_CONTENT);
    let event: Value = serde_json::from_slice(&body).unwrap();
    if answer.is_success() {
        inbox.received.lock().unwrap().push(Received { event, headers, body });
    }
    inbox.changed.notify_one();
    answer
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = Arc::new(Inbox::default());
        let router = Router::new().route("/hook", post(receive)).with_state(inbox.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, inbox, serving }
    }

    /// Answers the next requests with these codes.
    pub(crate) fn answer(&self, codes: &[u16]) {
        let codes = codes.iter().map(|code| StatusCode::from_u16(*code).unwrap());
        self.inbox.answers.lock().unwrap().extend(codes);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.inbox.received.lock().unwrap().clone()
    }

    /// Waits for so many events.
    pub(crate) async fn until(&self, count: usize) -> Vec<Received> {
        let waiting = async {
            while self.received().len() < count {
                self.inbox.changed.notified().await;
            }
            self.received()
        };
        within("the receiver gets its events", waiting).await
    }

    /// Waits until every planned answer was given.
    pub(crate) async fn until_answered(&self) {
        let waiting = async {
            while !self.inbox.answers.lock().unwrap().is_empty() {
                self.inbox.changed.notified().await;
            }
        };
        within("the receiver gave its answers", waiting).await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Writes a file with targets for a host, and returns its path.
pub(crate) fn write_targets(host: &Host, targets: &Value) -> PathBuf {
    let folder = host.data_dir().parent().unwrap().to_owned();
    let secret = format!("whsec_{}", BASE64.encode(SECRET));
    fs::write(folder.join("secret"), secret).unwrap();
    let path = folder.join("targets.json");
    fs::write(&path, json!({ "targets": targets }).to_string()).unwrap();
    path
}

pub(crate) fn hook(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name, "kind": "webhook", "url": format!("http://{address}/hook"),
        "secret_files": ["secret"], "private_network": true,
    })
}

pub(crate) fn notifying(host: Host, targets: &Value) -> Host {
    let path = write_targets(&host, targets);
    host.flags(&["--notify-file", path.to_str().unwrap()])
}

/// Gives a machine another name in claims than other ones: all test clocks have the same ids.
pub(crate) fn give_own_name(host: &Host, number: usize) {
    for _ in 0..number * 100 {
        host.clock.new_id();
    }
}

pub(crate) async fn automation(server: &TestServer) -> Automation {
    Automation::new(endpoint(server.address).connect().await.unwrap())
}

pub(crate) async fn events(server: &TestServer, state: State) -> Vec<Event> {
    let request = ListEventsRequest { state: state.into(), page_size: 100, ..Default::default() };
    automation(server).await.list_events(request).await.unwrap().into_inner().events
}

/// Waits until so many events are in this state.
pub(crate) async fn until_events(server: &TestServer, state: State, count: usize) -> Vec<Event> {
    let waiting = async {
        loop {
            let found = events(server, state).await;
            if found.len() == count {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    within("events are in their state", waiting).await
}

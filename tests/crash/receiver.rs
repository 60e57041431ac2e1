//! A receiver of webhooks that records what it processes, and can fail.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// How one request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The event is processed.
    Accept,
    /// The event is processed, and the answer follows later.
    Late(Duration),
    /// The event is processed, and the connection is closed without an answer.
    Lose,
    /// The event is not processed, and the answer has this status.
    Refuse(StatusCode),
    /// The event is not processed, and the connection is closed without an answer.
    Close,
}

/// An event that a target has processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The name of the target, which is the path of the request.
    pub(crate) target: String,
    /// The header `webhook-id`.
    pub(crate) event_id: String,
    /// The type without its prefix.
    pub(crate) event_type: String,
    /// The id of the export.
    pub(crate) export_id: String,
    /// The sender got no answer.
    pub(crate) is_answer_lost: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    deliveries: Mutex<Vec<Delivery>>,
    /// The next answers of each target. Afterwards it accepts.
    answers: Mutex<BTreeMap<String, VecDeque<Answer>>>,
}

/// A running receiver, which stops when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    serving: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = Arc::new(Inbox::default());
        let shared = inbox.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inbox = shared.clone();
                let service = service_fn(move |request| receive(inbox.clone(), request));
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // Ends with an error if the sender is killed, or does not get its answer.
                tokio::spawn(serving);
            }
        });
        Self { address, inbox, serving }
    }

    /// The target of this name in `NOTIFY_FILE`.
    pub(crate) fn target(&self, name: &str) -> Value {
        json!({
            "name": name, "kind": "webhook", "url": format!("http://{}/{name}", self.address),
            "secret_files": ["secret"], "private_network": true,
        })
    }

    /// Answers the next requests for a target in this way.
    pub(crate) fn answer(&self, target: &str, answers: impl IntoIterator<Item = Answer>) {
        let mut all = self.inbox.answers.lock().unwrap();
        all.entry(target.to_owned()).or_default().extend(answers);
    }

    /// Accepts all events from now on.
    pub(crate) fn accept_all(&self) {
        self.inbox.answers.lock().unwrap().clear();
    }

    /// What the targets have processed, in order.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.inbox.deliveries.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(
    inbox: Arc<Inbox>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let target = request.uri().path().trim_start_matches('/').to_owned();
    let event_id = request.headers()["webhook-id"].to_str()?.to_owned();
    // A request that a kill cut off is not processed.
    let body = request.into_body().collect().await?.to_bytes();
    let event: Value = serde_json::from_slice(&body)?;
    let answer = {
        let mut answers = inbox.answers.lock().unwrap();
        answers.get_mut(&target).and_then(VecDeque::pop_front).unwrap_or(Answer::Accept)
    };
    let text = |value: &Value, prefix: &str| {
        let text = value.as_str().expect("a text of the event");
        text.strip_prefix(prefix).expect("a known prefix").to_owned()
    };
    if !matches!(answer, Answer::Refuse(_) | Answer::Close) {
        let delivery = Delivery {
            target,
            event_type: text(&event["type"], "tara.export.v1."),
            export_id: match event["data"]["batch"].is_null() {
                true => text(&event["data"]["export"], "exports/"),
                false => text(&event["data"]["batch"], "batches/"),
            },
            event_id,
            is_answer_lost: answer == Answer::Lose,
        };
        inbox.deliveries.lock().unwrap().push(delivery);
    }
    let answered = |status| {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        Ok(response)
    };
    match answer {
        Answer::Accept => answered(StatusCode::NO_CONTENT),
        Answer::Late(pause) => {
            tokio::time::sleep(pause).await;
            answered(StatusCode::NO_CONTENT)
        }
        Answer::Refuse(status) => answered(status),
        Answer::Lose | Answer::Close => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
    }
}

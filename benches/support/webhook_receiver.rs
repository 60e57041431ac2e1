//! A receiver of webhooks that records when each event arrives.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post, serve::ListenerExt as _};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// One event that was received.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) event_id: String,
    pub(crate) time: DateTime<Utc>,
    /// From the event's time, which has milliseconds, to the request.
    pub(crate) delay: Duration,
}

#[derive(Debug, Default)]
struct Inbox {
    is_down: AtomicBool,
    arrivals: Mutex<Vec<Arrival>>,
    changed: Notify,
    refused: Notify,
}

impl Inbox {
    fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running receiver, stopped when dropped.
pub(crate) struct WebhookReceiver {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    serving: JoinHandle<()>,
}

async fn receive(State(inbox): State<Arc<Inbox>>, body: Bytes) -> StatusCode {
    let time = Utc::now();
    if inbox.is_down.load(Ordering::Relaxed) {
        inbox.refused.notify_waiters();
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let event: Value = serde_json::from_slice(&body).expect("a CloudEvent");
    let text = |name: &str| event[name].as_str().expect("a CloudEvent").to_owned();
    let event_time: DateTime<Utc> = text("time").parse().expect("a time");
    let delay = (time - event_time).to_std().unwrap_or_default();
    inbox.arrivals().push(Arrival { event_id: text("id"), time, delay });
    inbox.changed.notify_one();
    StatusCode::NO_CONTENT
}

impl WebhookReceiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let inbox = Arc::new(Inbox::default());
        let router = Router::new().route("/hook", post(receive)).with_state(inbox.clone());
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the receiver serves");
        });
        Self { address, inbox, serving }
    }

    /// A target of this receiver that gets these events.
    pub(crate) fn target(&self, name: &str, events: &[&str]) -> Value {
        json!({
            "name": name, "kind": "webhook", "url": format!("http://{}/hook", self.address),
            "secret_files": ["secret"], "private_network": true, "events": events,
        })
    }

    /// Lets it answer 503, or take events again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.inbox.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Waits until it answers 503 the next time.
    pub(crate) async fn until_refused(&self) {
        self.inbox.refused.notified().await;
    }

    pub(crate) fn count(&self) -> usize {
        self.inbox.arrivals().len()
    }

    /// Waits until it has that many events, and takes them.
    pub(crate) async fn take(&self, count: usize) -> Vec<Arrival> {
        while self.count() < count {
            self.inbox.changed.notified().await;
        }
        std::mem::take(&mut *self.inbox.arrivals())
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

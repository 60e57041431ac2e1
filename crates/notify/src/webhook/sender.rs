//! Sends one event as one signed request.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tara_export_events::{Event, Names};
use tara_export_outbound::{CheckedClient, CheckedUrl, ExchangeError};
use tokio::time::{self, Instant};

use super::{payload::Payload, retry_after, signature::Secret};
use crate::{SendError, SendErrorKind, Sender, TargetContext};

/// How much of a response's body is read and discarded, so that the receiver can finish writing it.
const BODY_LIMIT_BYTES: usize = 64 * 1024;
/// For how long, within the time of the delivery.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// The name of this program in requests.
const USER_AGENT: &str = concat!("tara-export/", env!("CARGO_PKG_VERSION"));

/// Sends events to a webhook.
pub(super) struct WebhookSender {
    client: CheckedClient,
    secrets: Vec<Secret>,
    payload: Payload,
    names: Names,
    timeout: Duration,
    context: TargetContext,
}

impl fmt::Debug for WebhookSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WebhookSender")
            .field("receiver", &self.client.url())
            .field("secrets", &self.secrets.len())
            .field("payload", &self.payload)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl WebhookSender {
    /// A sender that ends each request within `timeout`.
    ///
    /// # Errors
    /// A human-readable message if TLS cannot be configured.
    pub(super) fn new(
        receiver: CheckedUrl,
        secrets: Vec<Secret>,
        payload: Payload,
        names: Names,
        timeout: Duration,
        context: &TargetContext,
    ) -> Result<Self, String> {
        let client = CheckedClient::new(
            receiver,
            context.resolver.clone(),
            &context.proxies,
            &context.authorities,
        )?;
        let context = context.clone();
        Ok(Self { client, secrets, payload, names, timeout, context })
    }

    /// When a delivery that starts now ends at the latest.
    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    fn no_response(&self, error: &ExchangeError) -> SendError {
        match error {
            ExchangeError::TimedOut => {
                let seconds = self.timeout.as_secs_f64();
                self.unavailable(format!("no response within {seconds} s"))
            }
            error => self.unavailable(error),
        }
    }

    fn unavailable(&self, reason: impl fmt::Display) -> SendError {
        SendError::new(SendErrorKind::Unavailable, format!("{}: {reason}", self.client.url()))
    }

    async fn post(&self, event: &Event, deadline: Instant) -> Result<(), SendError> {
        let request = self.request(event)?;
        let read = |response: Response<Incoming>| async move {
            let (parts, body) = response.into_parts();
            // The status decides, whether the body ends or not.
            let end = deadline.min(Instant::now() + BODY_TIMEOUT);
            drop(time::timeout_at(end, discard(body)).await);
            self.verdict(&Response::from_parts(parts, ()))
        };
        let answered = self.client.exchange(request, deadline, read).await;
        answered.unwrap_or_else(|error| Err(self.no_response(&error)))
    }

    fn request(&self, event: &Event) -> Result<Request<Full<Bytes>>, SendError> {
        let refused = |reason: String| SendError::new(SendErrorKind::Refused, reason);
        let body =
            self.payload.render(event, self.names).map_err(|error| refused(error.to_string()))?;
        let (id, timestamp) = (event.id().to_string(), self.context.clock.now().timestamp());
        let signatures: Vec<String> =
            self.secrets.iter().map(|secret| secret.sign(&id, timestamp, &body)).collect();
        let uri = self.client.url().uri();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::post(target)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, self.payload.content_type())
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        if !signatures.is_empty() {
            request = request.header("webhook-signature", signatures.join(" "));
        }
        // Without the error, which could contain the URL.
        request.body(Full::from(body)).map_err(|_| refused("cannot create the request".to_owned()))
    }

    /// What a response means.
    fn verdict(&self, response: &Response<()>) -> Result<(), SendError> {
        let status = response.status();
        let kind = match status {
            status if status.is_success() => return Ok(()),
            StatusCode::GONE => SendErrorKind::Gone,
            StatusCode::TOO_MANY_REQUESTS => SendErrorKind::Unavailable,
            status if status.is_client_error() => SendErrorKind::Refused,
            // Servers that fail, and redirects: those fail for every event, until the URL is changed.
            _ => SendErrorKind::Unavailable,
        };
        let note = if status.is_redirection() { " (redirects are not followed)" } else { "" };
        let message = format!("{}: status {}{note}", self.client.url(), status.as_u16());
        let retry_after = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .and_then(|value| retry_after::parse(value, self.context.clock.now())),
            _ => None,
        };
        Err(SendError { kind, message, retry_after })
    }
}

#[async_trait]
impl Sender for WebhookSender {
    async fn send(&self, events: &[Event]) -> Result<(), SendError> {
        let deadline = self.deadline();
        for event in events {
            self.post(event, deadline).await?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), SendError> {
        let checked = self.client.check(self.deadline()).await;
        checked.map_err(|error| self.no_response(&error))
    }
}

/// Reads the start of a body.
async fn discard(mut body: Incoming) {
    let mut size_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        size_bytes += frame.data_ref().map_or(0, Bytes::len);
        if size_bytes > BODY_LIMIT_BYTES {
            return;
        }
    }
}

//! Keys that an issuer publishes at a URL.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tara_export_outbound::{Authorities, Environment, Proxies, ProxyConnector};
use tokio::{sync::Mutex, time::timeout};

use super::{AuthSetupError, keys::KeySet};

const LIMIT_BYTES: usize = 1024 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum interval between fetches after a failure or because of a token with an unknown key: such tokens
/// cost their sender nothing.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(10);

type HttpsClient = Client<HttpsConnector<ProxyConnector>, Empty<Bytes>>;

/// Keys that are fetched periodically.
#[derive(Debug)]
pub(super) struct PublishedKeys {
    uri: Uri,
    refresh_interval: Duration,
    client: HttpsClient,
    fetches: Arc<Mutex<FetchTimes>>,
    keys: RwLock<Option<Arc<KeySet>>>,
}

/// When the keys were fetched.
#[derive(Debug, Default)]
struct FetchTimes {
    last_attempt: Option<Instant>,
    last_success: Option<Instant>,
}

impl PublishedKeys {
    /// Fetches the keys. If the issuer does not respond, they are fetched later.
    pub(super) async fn open(
        url: &str,
        refresh_interval: Duration,
    ) -> Result<Self, AuthSetupError> {
        let invalid = |reason: &str| AuthSetupError(format!("JWT_JWKS_URL {url}: {reason}"));
        let uri: Uri = url.parse().map_err(|_| invalid("is not a URL"))?;
        let proxies = Proxies::of(&Environment::of_process());
        for warning in proxies.warnings() {
            tracing::warn!("{warning}");
        }
        let client = client(&uri, proxies).map_err(|reason| invalid(&reason))?;
        let (fetches, keys) = (Arc::default(), RwLock::new(None));
        let published = Self { uri, refresh_interval, client, fetches, keys };
        published.refresh().await;
        Ok(published)
    }

    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the keys if they are due.
    pub(super) async fn refresh(&self) {
        let mut fetches = self.fetches.lock().await;
        let is_due = |last: Option<Instant>, after| last.is_none_or(|last| last.elapsed() >= after);
        if is_due(fetches.last_success, self.refresh_interval)
            && is_due(fetches.last_attempt, MIN_FETCH_INTERVAL.min(self.refresh_interval))
        {
            self.update(&mut fetches, Instant::now()).await;
        }
    }

    /// Fetches the keys, unless that was done less than [`MIN_FETCH_INTERVAL`] before `now`. Concurrent callers wait
    /// for the same response.
    pub(super) async fn refresh_after_miss(self: &Arc<Self>, now: Instant) {
        let mut fetches = self.fetches.clone().lock_owned().await;
        if fetches
            .last_attempt
            .is_some_and(|last| now.saturating_duration_since(last) < MIN_FETCH_INTERVAL)
        {
            return;
        }
        let keys = self.clone();
        // A task: a caller that disconnects must not cancel the fetch that others wait for, or it could block new keys.
        let updating = tokio::spawn(async move { keys.update(&mut fetches, now).await });
        if let Err(error) = updating.await {
            tracing::error!(%error, "cannot fetch the issuer's keys (JWT_JWKS_URL)");
        }
    }

    async fn update(&self, fetches: &mut FetchTimes, now: Instant) {
        fetches.last_attempt = Some(now);
        let fetched = timeout(FETCH_TIMEOUT, self.fetch()).await;
        match fetched.unwrap_or_else(|_| Err(format!("no response within {FETCH_TIMEOUT:?}"))) {
            Ok(keys) => {
                fetches.last_success = Some(Instant::now());
                tracing::debug!(uri = %self.uri, ?keys, "fetched the issuer's keys");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
            }
            Err(error) => {
                let has_keys = self.current().is_some();
                tracing::error!(uri = %self.uri, error, has_keys, "cannot fetch the issuer's keys (JWT_JWKS_URL)");
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let request = Request::get(self.uri.clone())
            .header("accept", "application/jwk-set+json, application/json")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("HTTP {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), LIMIT_BYTES).collect().await;
        let body = body.map_err(|error| format!("cannot read the response: {error}"))?;
        KeySet::parse(&body.to_bytes()).map_err(|reason| format!("the response {reason}"))
    }
}

/// An HTTP client that trusts the certificate authorities of this machine, and uses its proxies except for loopback
/// hosts: only those may publish keys without TLS, which a proxy could replace.
fn client(uri: &Uri, proxies: Proxies) -> Result<HttpsClient, String> {
    let authorities = Authorities::of_system();
    if uri.scheme_str() == Some("https") && authorities.is_empty() {
        return Err("this machine has no certificate authorities to verify it with".to_owned());
    }
    let connector = ProxyConnector::new(&proxies.except_loopback(), &authorities)?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(authorities.client_config()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jsonwebtoken::Algorithm;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// The next request for the keys.
    async fn request(issuer: &TcpListener) -> TcpStream {
        let (mut stream, _) = issuer.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream
    }

    async fn respond(mut stream: TcpStream, id: &str) {
        let key = serde_json::json!({
            "kty": "EC", "crv": "P-256", "kid": id,
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let body = serde_json::json!({ "keys": [key] }).to_string();
        let length = body.len();
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(response.as_bytes()).await.unwrap();
    }

    fn has(keys: &PublishedKeys, id: &str) -> bool {
        keys.current().unwrap().candidates(Some(id), Algorithm::ES256).next().is_some()
    }

    #[tokio::test]
    async fn disconnected_caller_does_not_block_a_new_key() {
        let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", issuer.local_addr().unwrap());
        let opening = PublishedKeys::open(&url, Duration::from_secs(300));
        let (keys, ()) =
            tokio::join!(opening, async { respond(request(&issuer).await, "k1").await });
        let keys = Arc::new(keys.unwrap());
        assert!(has(&keys, "k1"));
        let later = Instant::now() + MIN_FETCH_INTERVAL;
        let pending = {
            let mut refreshing = Box::pin(keys.refresh_after_miss(later));
            tokio::select! {
                () = &mut refreshing => None,
                stream = request(&issuer) => Some(stream),
            }
        };
        tokio::join!(keys.refresh_after_miss(later), respond(pending.unwrap(), "k2"));
        assert!(has(&keys, "k2") && !has(&keys, "k1"));
    }

    #[tokio::test]
    async fn keys_are_fetched_at_most_once_per_interval() {
        let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", issuer.local_addr().unwrap());
        let opening = PublishedKeys::open(&url, Duration::from_secs(300));
        let (keys, ()) =
            tokio::join!(opening, async { respond(request(&issuer).await, "k1").await });
        let keys = Arc::new(keys.unwrap());
        // The issuer does not respond here: a request would not finish.
        let opened = keys.fetches.lock().await.last_attempt.unwrap();
        for millis in 0..10_000 {
            keys.refresh_after_miss(opened + Duration::from_millis(millis)).await;
        }
        let refreshing = keys.refresh_after_miss(opened + MIN_FETCH_INTERVAL);
        tokio::join!(refreshing, async { respond(request(&issuer).await, "k2").await });
        assert!(has(&keys, "k2"));
    }
}

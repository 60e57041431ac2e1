//! An issuer's keys where it publishes them.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{sync::Mutex, time::timeout};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use super::{AuthSetupError, keys::KeySet};

const LIMIT_BYTES: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon the issuer is asked again where that failed, or because of a token with a key nobody knows:
/// such tokens cost their sender nothing.
const SOONEST: Duration = Duration::from_secs(10);

/// Keys that are asked for again and again.
#[derive(Debug)]
pub(super) struct PublishedKeys {
    uri: Uri,
    every: Duration,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    asked: Mutex<Asked>,
    keys: RwLock<Option<Arc<KeySet>>>,
}

/// When the issuer was asked.
#[derive(Debug, Default)]
struct Asked {
    last: Option<Instant>,
    last_with_success: Option<Instant>,
}

impl PublishedKeys {
    /// Asks for the keys. An issuer that does not answer is asked again later.
    pub(super) async fn open(url: &str, every: Duration) -> Result<Self, AuthSetupError> {
        let wrong = |why: &str| AuthSetupError(format!("JWT_JWKS_URL {url}: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        let client = client(&uri).map_err(|why| wrong(&why))?;
        let (asked, keys) = (Mutex::default(), RwLock::new(None));
        let published = Self { uri, every, client, asked, keys };
        published.refresh().await;
        Ok(published)
    }

    pub(super) fn known(&self) -> Option<Arc<KeySet>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks where the keys are of an age.
    pub(super) async fn refresh(&self) {
        let mut asked = self.asked.lock().await;
        let is_due = |last: Option<Instant>, after| last.is_none_or(|last| last.elapsed() >= after);
        if is_due(asked.last_with_success, self.every)
            && is_due(asked.last, SOONEST.min(self.every))
        {
            self.ask(&mut asked).await;
        }
    }

    /// Asks unless that was done just now.
    pub(super) async fn look_again(&self) {
        let mut asked = self.asked.lock().await;
        if asked.last.is_none_or(|last| last.elapsed() >= SOONEST) {
            self.ask(&mut asked).await;
        }
    }

    async fn ask(&self, asked: &mut Asked) {
        asked.last = Some(Instant::now());
        let answer = timeout(PATIENCE, self.fetch()).await;
        match answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))) {
            Ok(keys) => {
                asked.last_with_success = Some(Instant::now());
                tracing::debug!(uri = %self.uri, ?keys, "the issuer's keys");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
            }
            Err(error) => {
                let has_keys = self.known().is_some();
                tracing::error!(uri = %self.uri, error, has_keys, "the issuer's keys can't be had (JWT_JWKS_URL)");
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let request = Request::get(self.uri.clone())
            .header("accept", "application/jwk-set+json, application/json")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("HTTP {}", answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), LIMIT_BYTES).collect().await;
        let body = body.map_err(|error| format!("the answer can't be read: {error}"))?;
        KeySet::parse(&body.to_bytes()).map_err(|why| format!("the answer {why}"))
    }
}

/// HTTP, with TLS by the system's certificates.
fn client(uri: &Uri) -> Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if uri.scheme_str() == Some("https") && roots.is_empty() {
        return Err("this machine has no certificates of authorities to check it with".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
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

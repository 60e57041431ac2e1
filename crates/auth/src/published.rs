//! Keys that an issuer publishes at a URL.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Empty, Limited};
use tokio::{sync::Mutex, time::timeout};

use super::{
    AuthSetupError,
    access::{Access, AccessFiles},
    discovery::{self, DiscoveryError},
    issuer::{KeyLocation, KeysState},
    keys::KeySet,
};

const LIMIT_BYTES: usize = 1024 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum interval between fetches after a failure or because of a token with an unknown key: such tokens
/// cost their sender nothing.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(10);

/// Keys that are fetched periodically.
#[derive(Debug)]
pub(super) struct PublishedKeys {
    location: Location,
    refresh_interval: Duration,
    files: AccessFiles,
    fetches: Arc<Mutex<FetchTimes>>,
    known: RwLock<Known>,
}

/// The result of the fetches.
#[derive(Debug, Default)]
struct Known {
    keys: Option<Arc<KeySet>>,
    /// When they were fetched.
    fetched: Option<Instant>,
    /// Why the last fetch failed.
    error: Option<String>,
}

#[derive(Debug)]
enum Location {
    Keys(Uri),
    /// The issuer's metadata, which name the URL of its keys.
    Metadata {
        issuer: String,
        uri: Uri,
    },
}

/// When the keys were fetched.
#[derive(Debug, Default)]
struct FetchTimes {
    last_attempt: Option<Instant>,
    last_success: Option<Instant>,
}

/// A fetch failed.
#[derive(Debug)]
enum FetchError {
    /// It may succeed later.
    Temporary(String),
    /// The settings are wrong.
    Settings(String),
}

impl From<String> for FetchError {
    fn from(message: String) -> Self {
        Self::Temporary(message)
    }
}

impl Location {
    fn of(location: KeyLocation) -> Result<Self, AuthSetupError> {
        match location {
            KeyLocation::Url(url) => {
                let uri = url.parse();
                uri.map(Self::Keys)
                    .map_err(|_| AuthSetupError(format!("JWT_JWKS_URL {url}: is not a URL")))
            }
            KeyLocation::Issuer(issuer) => {
                let uri = discovery::metadata_uri(&issuer);
                let uri = uri.ok_or_else(|| {
                    AuthSetupError(format!("JWT_ISSUER {issuer}: is not a URL of an issuer"))
                })?;
                Ok(Self::Metadata { issuer, uri })
            }
        }
    }

    fn uri(&self) -> &Uri {
        match self {
            Self::Keys(uri) | Self::Metadata { uri, .. } => uri,
        }
    }

    fn setting(&self) -> &'static str {
        match self {
            Self::Keys(_) => "JWT_JWKS_URL",
            Self::Metadata { .. } => "JWT_ISSUER",
        }
    }
}

impl PublishedKeys {
    /// Fetches the keys. If the issuer does not respond, they are fetched later.
    pub(super) async fn open(
        location: KeyLocation,
        refresh_interval: Duration,
        files: AccessFiles,
    ) -> Result<Self, AuthSetupError> {
        let location = Location::of(location)?;
        let (setting, uri) = (location.setting(), location.uri());
        let access = files.read().await;
        access
            .and_then(|access| access.check(uri))
            .map_err(|reason| AuthSetupError(format!("{setting} {uri}: {reason}")))?;
        let published = Self {
            location,
            refresh_interval,
            files,
            fetches: Arc::default(),
            known: RwLock::default(),
        };
        let mut fetches = published.fetches.lock().await;
        if let Err(FetchError::Settings(reason)) =
            published.update(&mut fetches, Instant::now()).await
        {
            return Err(AuthSetupError(reason));
        }
        drop(fetches);
        Ok(published)
    }

    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).keys.clone()
    }

    pub(super) fn state(&self) -> KeysState {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        KeysState {
            source: format!("{} {}", self.location.setting(), self.location.uri()),
            keys: known.keys.as_ref().map_or(0, |keys| keys.len()),
            age: known.fetched.map(|fetched| fetched.elapsed()),
            error: known.error.clone(),
        }
    }

    /// Fetches the keys if they are due.
    pub(super) async fn refresh(&self) {
        let mut fetches = self.fetches.lock().await;
        let is_due = |last: Option<Instant>, after| last.is_none_or(|last| last.elapsed() >= after);
        if is_due(fetches.last_success, self.refresh_interval)
            && is_due(fetches.last_attempt, MIN_FETCH_INTERVAL.min(self.refresh_interval))
        {
            // It has logged an error. The previous keys stay in use.
            let _ = self.update(&mut fetches, Instant::now()).await;
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
            tracing::error!(%error, "cannot fetch the issuer's keys");
        }
    }

    async fn update(&self, fetches: &mut FetchTimes, now: Instant) -> Result<(), FetchError> {
        fetches.last_attempt = Some(now);
        let fetched = timeout(FETCH_TIMEOUT, self.fetch()).await;
        let fetched =
            fetched.unwrap_or_else(|_| Err(format!("no response within {FETCH_TIMEOUT:?}").into()));
        let (uri, setting) = (self.location.uri(), self.location.setting());
        match fetched {
            Ok(keys) => {
                fetches.last_success = Some(Instant::now());
                tracing::debug!(%uri, ?keys, "fetched the issuer's keys");
                let (keys, fetched) = (Some(Arc::new(keys)), fetches.last_success);
                *self.known.write().unwrap_or_else(PoisonError::into_inner) =
                    Known { keys, fetched, error: None };
                Ok(())
            }
            Err(failed) => {
                let (FetchError::Temporary(error) | FetchError::Settings(error)) = &failed;
                let has_keys = self.current().is_some();
                tracing::error!(%uri, setting, error, has_keys, "cannot fetch the issuer's keys");
                self.known.write().unwrap_or_else(PoisonError::into_inner).error =
                    Some(error.clone());
                Err(failed)
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let access = self.files.read().await?;
        let token = access.authorization();
        let (keys_uri, token) = match &self.location {
            Location::Keys(uri) => (uri.clone(), token),
            Location::Metadata { issuer, uri } => {
                let metadata = get(&access, uri, token).await?;
                let keys_uri = discovery::keys_uri(&metadata, issuer).map_err(|error| {
                    let message = format!("JWT_ISSUER {issuer}: {uri} {error}");
                    match error {
                        DiscoveryError::OtherIssuer(_) => FetchError::Settings(message),
                        DiscoveryError::Malformed(_) => FetchError::Temporary(message),
                    }
                })?;
                // Only the configured origin gets the token.
                let is_same_origin =
                    keys_uri.scheme() == uri.scheme() && keys_uri.authority() == uri.authority();
                (keys_uri, token.filter(|_| is_same_origin))
            }
        };
        let keys = get(&access, &keys_uri, token).await?;
        let keys = KeySet::parse(&keys);
        keys.map_err(|reason| format!("the response of {keys_uri} {reason}").into())
    }
}

/// The body of a successful response. Does not follow redirections: the settings name where the keys are.
async fn get(access: &Access, uri: &Uri, token: Option<&HeaderValue>) -> Result<Bytes, String> {
    access.check(uri)?;
    let mut request = Request::get(uri.clone())
        .header("accept", "application/jwk-set+json, application/json")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let with_token = token.is_some();
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.clone());
    }
    let response = access.client().request(request).await;
    let response = response.map_err(|error| format!("{uri}: {}", chain(&error)))?;
    match response.status() {
        StatusCode::OK => {}
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            let hint = if with_token {
                "refuses the token of JWT_JWKS_TOKEN_FILE"
            } else {
                "requires a token: set JWT_JWKS_URL to this URL, and JWT_JWKS_TOKEN_FILE"
            };
            return Err(format!("{uri}: HTTP {}: the server {hint}", status.as_u16()));
        }
        status if status.is_redirection() => {
            let code = status.as_u16();
            return Err(format!("{uri}: HTTP {code}: redirections are not followed"));
        }
        status => return Err(format!("{uri}: HTTP {}", status.as_u16())),
    }
    let body = Limited::new(response.into_body(), LIMIT_BYTES).collect().await;
    let body = body.map_err(|error| format!("cannot read the response of {uri}: {error}"))?;
    Ok(body.to_bytes())
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

    async fn open(url: String) -> Result<PublishedKeys, AuthSetupError> {
        let files = AccessFiles::new(None, None).unwrap();
        PublishedKeys::open(KeyLocation::Url(url), Duration::from_secs(300), files).await
    }

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
        let opening = open(url);
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
        let opening = open(url);
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

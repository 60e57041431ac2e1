//! An issuer of JWTs and the web server that publishes its keys.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto::sign, encode, jwk::Jwk};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

pub(crate) const ISSUER: &str = "https://login.example.com/";
pub(crate) const AUDIENCE: &str = "tara-export";

pub(crate) struct SigningKey {
    id: String,
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

impl SigningKey {
    /// A key for ES256.
    pub(crate) fn new(id: &str) -> Self {
        Self::with(id, Algorithm::ES256)
    }

    /// A key for this algorithm.
    pub(crate) fn with(id: &str, algorithm: Algorithm) -> Self {
        let pair = KeyPair::generate_for(match algorithm {
            Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            Algorithm::ES384 => &PKCS_ECDSA_P384_SHA384,
            Algorithm::EdDSA => &PKCS_ED25519,
            _ => &PKCS_RSA_SHA256,
        })
        .unwrap();
        let der = pair.serialize_der();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_der(&der),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            // The key itself (PKCS #1) follows the header of PKCS #8, which has 26 bytes for 2048 bits.
            _ => EncodingKey::from_rsa_der(&der[26..]),
        };
        let mut jwk = match algorithm {
            // The library derives it from another form of the private key.
            Algorithm::EdDSA => json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA",
                "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw()),
            }),
            _ => serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap(),
        };
        jwk["kid"] = json!(id);
        Self { id: id.to_owned(), algorithm, key, jwk }
    }

    /// The public key.
    pub(crate) fn jwk(&self) -> Value {
        self.jwk.clone()
    }

    /// A valid token with these claims added or replaced.
    pub(crate) fn token(&self, claims: Value) -> String {
        let mut all = good_claims();
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.token_of(&all)
    }

    /// A signed token with exactly these claims.
    pub(crate) fn token_of(&self, claims: &Value) -> String {
        self.signed(self.header(), claims)
    }

    /// A signed token with exactly this header and these claims, valid JSON or not.
    pub(crate) fn raw_token(&self, header: &str, claims: &str) -> String {
        self.raw_token_with(header, claims, self.algorithm)
    }

    /// The same, signed with another algorithm of the key's kind.
    pub(crate) fn raw_token_with(
        &self,
        header: &str,
        claims: &str,
        algorithm: Algorithm,
    ) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = sign(signed.as_bytes(), &self.key, algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    /// A valid token except for a critical header parameter that the server does not support.
    pub(crate) fn critical_token(&self) -> String {
        let header = Header { crit: Some(vec!["policy".to_owned()]), ..self.header() };
        self.signed(header, &good_claims())
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) }
    }

    fn signed(&self, header: Header, claims: &Value) -> String {
        encode(&header, claims, &self.key).unwrap()
    }
}

pub(crate) fn good_claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "review-app", "exp": now() + 300, "roles": ["export", "read"],
    })
}

pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// The JSON Web Key Set of these keys.
pub(crate) fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// Flags of a server that accepts this issuer's tokens, without the location of the keys.
pub(crate) fn flags() -> Vec<String> {
    vec![format!("--jwt-issuer={ISSUER}"), format!("--jwt-audience={AUDIENCE}")]
}

/// A web server with one page, which can be missing.
pub(crate) struct Page {
    pub(crate) url: String,
    content: Arc<Mutex<Option<String>>>,
    hits: Arc<AtomicUsize>,
}

impl Page {
    pub(crate) async fn new(content: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (content, hits) = (Arc::new(Mutex::new(content)), Arc::new(AtomicUsize::new(0)));
        let (shown, counted) = (content.clone(), hits.clone());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match connection.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let (status, body) = match shown.lock().unwrap().clone() {
                    Some(content) => ("200 OK", content),
                    None => ("503 Service Unavailable", String::new()),
                };
                let length = body.len();
                let response = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = connection.write_all(response.as_bytes()).await;
            }
        });
        Self { url, content, hits }
    }

    pub(crate) fn set(&self, content: String) {
        *self.content.lock().unwrap() = Some(content);
    }

    /// Removes the page.
    pub(crate) fn remove(&self) {
        *self.content.lock().unwrap() = None;
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

/// A web server with pages of several hosts, for a proxy that leads every host to it. A page can require a bearer token.
pub(crate) struct Pages {
    address: SocketAddr,
    contents: Arc<Mutex<BTreeMap<String, String>>>,
    required_token: Arc<Mutex<Option<String>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Pages {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pages = Self {
            address: listener.local_addr().unwrap(),
            contents: Arc::default(),
            required_token: Arc::default(),
            requests: Arc::default(),
        };
        let (contents, token) = (pages.contents.clone(), pages.required_token.clone());
        let requests = pages.requests.clone();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let (contents, token) = (contents.clone(), token.clone());
                let requests = requests.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(connection.read_u8().await?);
                    }
                    let head = String::from_utf8(head).unwrap();
                    let header = |name: &str| {
                        let mut lines = head.lines();
                        lines.find_map(|line| line.strip_prefix(name)).unwrap_or_default()
                    };
                    let path = head.split(' ').nth(1).unwrap();
                    let url = format!("{}{path}", header("host: "));
                    requests.lock().unwrap().push(url.clone());
                    let expected =
                        token.lock().unwrap().as_ref().map(|token| format!("Bearer {token}"));
                    let is_allowed =
                        expected.is_none_or(|expected| header("authorization: ") == expected);
                    let content = contents.lock().unwrap().get(&url).cloned();
                    let (status, body) = match content {
                        _ if !is_allowed => ("401 Unauthorized", String::new()),
                        Some(content) => ("200 OK", content),
                        None => ("404 Not Found", String::new()),
                    };
                    let length = body.len();
                    let response = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                    );
                    connection.write_all(response.as_bytes()).await
                });
            }
        });
        pages
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a page at a URL without its scheme.
    pub(crate) fn set(&self, url: &str, content: String) {
        self.contents.lock().unwrap().insert(url.to_owned(), content);
    }

    /// Requires this bearer token from now on.
    pub(crate) fn require_token(&self, token: &str) {
        *self.required_token.lock().unwrap() = Some(token.to_owned());
    }

    /// The URLs of all requests, without their scheme, oldest first.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

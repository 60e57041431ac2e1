//! An issuer of JWTs and the web server that publishes its keys.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto::sign, encode, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

pub(crate) const ISSUER: &str = "https://login.example.com/";
pub(crate) const AUDIENCE: &str = "tara-export";

pub(crate) struct SigningKey {
    id: String,
    key: EncodingKey,
}

impl SigningKey {
    pub(crate) fn new(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self { id: id.to_owned(), key: EncodingKey::from_ec_der(&pair.serialize_der()) }
    }

    /// The public key.
    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    /// A valid token with these claims added or replaced.
    pub(crate) fn token(&self, claims: Value) -> String {
        let mut all = good_claims();
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.signed(self.header(), &all)
    }

    /// A signed token with exactly this header and these claims, valid JSON or not.
    pub(crate) fn raw_token(&self, header: &str, claims: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = sign(signed.as_bytes(), &self.key, Algorithm::ES256).unwrap();
        format!("{signed}.{signature}")
    }

    /// A valid token except for a critical header parameter that the server does not support.
    pub(crate) fn critical_token(&self) -> String {
        let header = Header { crit: Some(vec!["policy".to_owned()]), ..self.header() };
        self.signed(header, &good_claims())
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) }
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

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

//! Tokens that an issuer signed.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tara_export::proto::ListExportsRequest;
use tonic::Code;

use crate::{
    authorities::file,
    harness::{Host, within},
    issuer::{Page, SigningKey, flags, jwks, now},
    tokens::{client, flag, text},
};

/// What ListExports, which needs the role read, says to this token: nothing, or code and reason.
async fn outcome(address: SocketAddr, token: &str) -> Result<(), (Code, String)> {
    let client = client(address, token).await;
    match within("a list", client.list_page(ListExportsRequest::default())).await {
        Ok(_) => Ok(()),
        Err(error) => Err((error.code().unwrap(), error.reason().unwrap_or_default().to_owned())),
    }
}

fn invalid() -> Result<(), (Code, String)> {
    Err((Code::Unauthenticated, "CREDENTIALS_INVALID".to_owned()))
}

fn expired() -> Result<(), (Code, String)> {
    Err((Code::Unauthenticated, "CREDENTIALS_EXPIRED".to_owned()))
}

fn without_role() -> Result<(), (Code, String)> {
    Err((Code::PermissionDenied, "ROLE_MISSING".to_owned()))
}

fn all<'a>(flags: &'a [String], more: &'a [String]) -> Vec<&'a str> {
    flags.iter().chain(more).map(String::as_str).collect()
}

#[tokio::test]
async fn a_token_is_taken_for_what_its_issuer_says_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (SigningKey::new("k1"), SigningKey::new("k2"));
    let forger = SigningKey::new("k1");
    let keys = file(folder.path(), "jwks.json", &jwks(&[&other, &ours]));
    let more = [format!("--jwt-jwks-file={}", keys.display()), "--jwt-leeway=30s".to_owned()];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let address = server.address();
    for (claims, expected) in [
        (json!({}), Ok(())),
        (json!({"roles": "read write"}), Ok(())),
        (json!({"aud": ["tara-export", "another"]}), Ok(())),
        // Within the leeway, and beyond it.
        (json!({"exp": now() - 5}), Ok(())),
        (json!({"exp": now() - 60}), expired()),
        (json!({"nbf": now() + 5}), Ok(())),
        (json!({"nbf": now() + 120}), invalid()),
        (json!({"iss": "https://evil.example.com/"}), invalid()),
        (json!({"aud": "another"}), invalid()),
        (json!({"exp": null}), invalid()),
        (json!({"sub": ""}), invalid()),
        (json!({"sub": "line\nbreak"}), invalid()),
        (json!({"roles": ["export"]}), without_role()),
        (json!({"roles": ["owner", 7]}), without_role()),
        (json!({"roles": null}), without_role()),
    ] {
        let token = ours.token(claims.clone());
        assert_eq!(outcome(address, &token).await, expected, "{claims}");
    }
    assert_eq!(outcome(address, &other.token(json!({}))).await, Ok(()));
    assert_eq!(outcome(address, &forger.token(json!({}))).await, invalid());
    assert_eq!(outcome(address, &SigningKey::new("k3").token(json!({}))).await, invalid());

    assert_eq!(outcome(address, &ours.critical_token()).await, invalid());

    // Tokens that were tampered with.
    let token = ours.token(json!({"roles": ["export"]}));
    let [header, claims, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut more: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    more["roles"] = json!(["admin"]);
    let more = URL_SAFE_NO_PAD.encode(more.to_string());
    assert_eq!(outcome(address, &format!("{header}.{more}.{signature}")).await, invalid());
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    assert_eq!(outcome(address, &format!("{none}.{more}.")).await, invalid());
    // The public key as if it were a shared secret.
    let hmac = jsonwebtoken::encode(
        &jsonwebtoken::Header { kid: Some("k1".to_owned()), ..Default::default() },
        &json!({"sub": "x", "exp": now() + 60}),
        &jsonwebtoken::EncodingKey::from_secret(jwks(&[&ours]).as_bytes()),
    );
    assert_eq!(outcome(address, &hmac.unwrap()).await, invalid());
}

#[tokio::test]
async fn static_tokens_and_jwts_stand_side_by_side_and_roles_may_have_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let ours = SigningKey::new("k1");
    let keys = file(folder.path(), "jwks.json", &jwks(&[&ours]));
    let more = [
        format!("--jwt-jwks-file={}", keys.display()),
        "--jwt-roles-claim=scope".to_owned(),
        "--jwt-role-prefix=tara-export/".to_owned(),
        flag(folder.path(), &[("auditor", &["read"])]),
    ];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let address = server.address();
    assert_eq!(outcome(address, &text("auditor")).await, Ok(()));
    let token = ours.token(json!({"scope": "openid tara-export/read"}));
    assert_eq!(outcome(address, &token).await, Ok(()));
    let token = ours.token(json!({"scope": "openid read other/read"}));
    assert_eq!(outcome(address, &token).await, without_role());
}

#[tokio::test]
async fn new_keys_of_an_issuer_are_fetched_and_strange_tokens_make_nobody_ask_for_more() {
    let (old, new) = (SigningKey::new("k1"), SigningKey::new("k2"));
    let page = Page::new(Some(jwks(&[&old]))).await;
    let more = [format!("--jwt-jwks-url={}", page.url), "--jwt-jwks-refresh=1s".to_owned()];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let address = server.address();
    assert_eq!(outcome(address, &old.token(json!({}))).await, Ok(()));
    for _ in 0..20 {
        assert_eq!(outcome(address, &new.token(json!({}))).await, invalid());
    }
    assert_eq!(page.hits(), 1);
    page.set(jwks(&[&new]));
    let rotated = async {
        while outcome(address, &new.token(json!({}))).await != Ok(()) {
            server.look_again().notify_one();
        }
    };
    within("the new key", rotated).await;
    assert_eq!(outcome(address, &old.token(json!({}))).await, invalid());
}

#[tokio::test]
async fn while_an_issuer_is_away_nobody_is_let_in_and_callers_know_to_wait() {
    let key = SigningKey::new("k1");
    let page = Page::new(None).await;
    let more = [format!("--jwt-jwks-url={}", page.url), "--jwt-jwks-refresh=1s".to_owned()];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let address = server.address();
    let token = key.token(json!({}));
    let away = Err((Code::Unavailable, "KEYS_UNAVAILABLE".to_owned()));
    assert_eq!(outcome(address, &token).await, away);
    page.set(jwks(&[&key]));
    let back = async {
        while outcome(address, &token).await != Ok(()) {
            server.look_again().notify_one();
        }
    };
    within("the keys", back).await;
}

//! JWTs of an issuer.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tara_export_client::proto::{ListExportsRequest, storage_check::Status};
use tonic::Code;

use crate::harness::{
    Host,
    authorities::file,
    issuer::{ISSUER, Page, SigningKey, flags, good_claims, jwks, now},
    tokens::{client, flag, text},
    within,
};

/// Calls ListExports, which needs the role `read`, with this token. Returns the code and reason of an error.
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
async fn token_is_accepted_only_with_valid_claims_and_signature() {
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
    // The public key used as a shared secret.
    let hmac = jsonwebtoken::encode(
        &jsonwebtoken::Header { kid: Some("k1".to_owned()), ..Default::default() },
        &json!({"sub": "x", "exp": now() + 60}),
        &jsonwebtoken::EncodingKey::from_secret(jwks(&[&ours]).as_bytes()),
    );
    assert_eq!(outcome(address, &hmac.unwrap()).await, invalid());
}

/// The error message for a refused token.
async fn refusal(address: SocketAddr, token: &str) -> String {
    let client = client(address, token).await;
    let listing = within("a list", client.list_page(ListExportsRequest::default())).await;
    let error = listing.expect_err("refused");
    assert_eq!(error.code(), Some(Code::Unauthenticated), "{error}");
    assert_eq!(error.reason(), Some("CREDENTIALS_INVALID"), "{error}");
    error.to_string()
}

#[tokio::test]
async fn malformed_claim_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let ours = SigningKey::new("k1");
    let keys = file(folder.path(), "jwks.json", &jwks(&[&ours]));
    let more = [format!("--jwt-jwks-file={}", keys.display())];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let address = server.address();
    for (claims, part) in [
        (json!({"iss": [ISSUER]}), "(iss) is a list"),
        (json!({"iss": [ISSUER, "https://evil.example.com/"]}), "(iss) is a list"),
        (json!({"iss": {"name": ISSUER}}), "(iss) is not a string"),
        (json!({"iss": null}), "(iss) is not a string"),
        (json!({"aud": []}), "another audience"),
        (json!({"aud": ["tara-export", 7]}), "(aud) is neither"),
        (json!({"aud": {"name": "tara-export"}}), "(aud) is neither"),
        (json!({"sub": ["review-app"]}), "(sub) is not a string"),
        (json!({"sub": 7}), "(sub) is not a string"),
        (json!({"exp": (now() + 300).to_string()}), "(exp) is not a number"),
        (json!({"exp": [now() + 300]}), "(exp) is not a number"),
        (json!({"nbf": (now() - 300).to_string()}), "(nbf) is not a number"),
        (json!({"nbf": null}), "(nbf) is not a number"),
    ] {
        let message = refusal(address, &ours.token(claims.clone())).await;
        assert!(message.contains(part), "{claims}: {message}");
    }
    for claim in ["iss", "aud", "sub", "exp"] {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(claim);
        let token = ours.raw_token(r#"{"alg":"ES256","kid":"k1"}"#, &claims.to_string());
        let message = refusal(address, &token).await;
        assert!(message.contains(&format!("the token has no claim {claim}")), "{message}");
    }
    // Times may have fractions and may be before 1970.
    let token = ours.token(json!({"exp": now() as f64 + 60.5, "nbf": -1.5}));
    assert_eq!(outcome(address, &token).await, Ok(()));
}

#[tokio::test]
async fn duplicate_names_and_critical_headers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ours = SigningKey::new("k1");
    let keys = file(folder.path(), "jwks.json", &jwks(&[&ours]));
    let more = [format!("--jwt-jwks-file={}", keys.display())];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let address = server.address();
    let header = r#"{"alg":"ES256","kid":"k1"}"#;
    let claims = good_claims().to_string();
    assert_eq!(outcome(address, &ours.raw_token(header, &claims)).await, Ok(()));
    let twice = |more: &str| claims.replacen('{', &format!("{{{more},"), 1);
    for (header, claims, part) in [
        (header, twice(r#""roles":["admin"]"#), "claims are not"),
        (header, twice(r#""iss":"https://evil.example.com/""#), "claims are not"),
        (header, twice(r#""exp":1"#), "claims are not"),
        (header, twice(r#""x":1,"\u0078":2"#), "claims are not"),
        (header, "[]".to_owned(), "claims are not"),
        (header, format!("{claims} "), ""),
        (r#"{"alg":"ES256","kid":"k1","x":1,"x":1}"#, claims.clone(), "header is not"),
        (r#"{"alg":"ES256","kid":"k1","crit":null}"#, claims.clone(), "(crit)"),
        (r#"{"alg":"ES256","kid":"k1","crit":[]}"#, claims.clone(), "(crit)"),
        (r#"{"alg":"ES256","kid":"k1","crit":["b64"],"b64":true}"#, claims.clone(), "(crit)"),
    ] {
        let token = ours.raw_token(header, &claims);
        if part.is_empty() {
            assert_eq!(outcome(address, &token).await, Ok(()));
            continue;
        }
        let message = refusal(address, &token).await;
        assert!(message.contains(part), "{header} {claims}: {message}");
    }
}

/// As the kubelet does: a link to a folder is replaced, so that the file changes atomically.
#[tokio::test]
async fn new_key_in_a_mounted_secret_is_used_without_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (old, new) = (SigningKey::new("k1"), SigningKey::new("k2"));
    for (version, key) in [("1", &old), ("2", &new)] {
        std::fs::create_dir(path.join(version)).unwrap();
        file(&path.join(version), "jwks.json", &jwks(&[key]));
    }
    std::os::unix::fs::symlink("1", path.join("data")).unwrap();
    let keys = path.join("data/jwks.json");
    let host = Host::new();
    let more = [format!("--jwt-jwks-file={}", keys.display())];
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let address = server.address();
    assert_eq!(outcome(address, &new.token(json!({}))).await, invalid());
    std::os::unix::fs::symlink("2", path.join("next")).unwrap();
    std::fs::rename(path.join("next"), path.join("data")).unwrap();
    let rotated = async {
        while outcome(address, &new.token(json!({}))).await != Ok(()) {
            tokio::task::yield_now().await;
        }
    };
    within("the new key", rotated).await;
    assert_eq!(outcome(address, &old.token(json!({}))).await, invalid());
}

#[tokio::test]
async fn static_tokens_work_beside_jwts_and_roles_may_have_a_prefix() {
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
async fn new_issuer_keys_are_fetched_and_unknown_tokens_cause_no_fetch() {
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
            server.reload().notify_one();
        }
    };
    within("the new key", rotated).await;
    assert_eq!(outcome(address, &old.token(json!({}))).await, invalid());
}

#[tokio::test]
async fn unavailable_issuer_refuses_tokens_as_unavailable() {
    let key = SigningKey::new("k1");
    let page = Page::new(None).await;
    let more = [format!("--jwt-jwks-url={}", page.url), "--jwt-jwks-refresh=1s".to_owned()];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let address = server.address();
    let token = key.token(json!({}));
    let unavailable = Err((Code::Unavailable, "ISSUER_KEYS_UNAVAILABLE".to_owned()));
    assert_eq!(outcome(address, &token).await, unavailable);
    page.set(jwks(&[&key]));
    let available = async {
        while outcome(address, &token).await != Ok(()) {
            server.reload().notify_one();
        }
    };
    within("the keys", available).await;
}

#[tokio::test]
async fn preflight_has_a_row_for_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::new("k1");
    let page = Page::new(None).await;
    let more = [
        format!("--jwt-jwks-url={}", page.url),
        "--jwt-jwks-refresh=1s".to_owned(),
        flag(folder.path(), &[("operator", &["admin"])]),
    ];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let operator = client(server.address(), &text("operator")).await;
    let row = async || {
        let checks = within("the checks", operator.check_storage()).await.unwrap().checks;
        let row = checks.into_iter().find(|row| row.check == "server.issuer_keys");
        let row = row.expect("the row of the keys");
        (row.status(), row.message)
    };
    let wait_for = async |expected: Status| {
        let reached = async {
            loop {
                let (status, message) = row().await;
                if status == expected {
                    return message;
                }
                server.reload().notify_one();
            }
        };
        within("the row", reached).await
    };
    let (status, message) = row().await;
    assert_eq!(status, Status::Failed, "{message}");
    assert!(message.contains("HTTP 503"), "{message}");
    page.set(jwks(&[&key]));
    let message = wait_for(Status::Passed).await;
    assert!(message.starts_with("1 keys of JWT_JWKS_URL http://127.0.0.1:"), "{message}");
    page.remove();
    let message = wait_for(Status::Warning).await;
    assert!(message.contains("stay in use") && message.contains("HTTP 503"), "{message}");
    assert_eq!(outcome(server.address(), &key.token(json!({}))).await, Ok(()));

    // A file that is damaged after the start.
    let keys = file(folder.path(), "jwks.json", &jwks(&[&key]));
    let more = [
        format!("--jwt-jwks-file={}", keys.display()),
        flag(folder.path(), &[("operator", &["admin"])]),
    ];
    let host = Host::new();
    let (server, _disk) = host.serve(&all(&flags(), &more)).await;
    let operator = client(server.address(), &text("operator")).await;
    std::fs::write(&keys, "{").unwrap();
    let damaged = async {
        loop {
            let checks = operator.check_storage().await.unwrap().checks;
            let row = checks.iter().find(|row| row.check == "server.issuer_keys").unwrap();
            if row.status() == Status::Warning {
                assert!(row.message.contains("JWT_JWKS_FILE"), "{}", row.message);
                return;
            }
            server.reload().notify_one();
        }
    };
    within("the damaged file", damaged).await;
}

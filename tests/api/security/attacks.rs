//! Attacks with signed tokens: confusion of algorithms, keys, claims and issuers.

use std::{net::SocketAddr, path::Path};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tara_export::server::RunningServer;
use tara_export_client::proto::{ListExportsRequest, export_service_client::ExportServiceClient};
use tonic::{Code, Request};

use crate::harness::{
    Host,
    authorities::file,
    issuer::{ISSUER, SigningKey, flags, good_claims},
};

/// The result of ListExports, which needs the role `read`, with this token.
async fn list(address: SocketAddr, token: &str) -> Result<(), (Code, String)> {
    let mut client = ExportServiceClient::connect(format!("http://{address}")).await.unwrap();
    let mut request = Request::new(ListExportsRequest::default());
    let header = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    let listed = client.list_exports(request).await;
    listed.map(drop).map_err(|status| (status.code(), status.message().to_owned()))
}

/// The message of a call that is refused because of its token.
async fn refusal(address: SocketAddr, token: &str) -> String {
    let (code, message) = list(address, token).await.expect_err("the call is refused");
    assert_eq!(code, Code::Unauthenticated, "{message}");
    message
}

/// A server that knows these keys.
async fn serve(host: &Host, folder: &Path, keys: &Value, more: &[&str]) -> RunningServer {
    let path = file(folder, "jwks.json", &json!({ "keys": keys }).to_string());
    let keys = format!("--jwt-jwks-file={}", path.display());
    let flags = flags();
    let mut arguments: Vec<&str> = flags.iter().map(String::as_str).collect();
    arguments.push(&keys);
    arguments.extend(more);
    host.serve(&arguments).await.0
}

fn header(key: &str, algorithm: &str) -> String {
    json!({"alg": algorithm, "kid": key, "typ": "JWT"}).to_string()
}

#[tokio::test]
async fn each_kind_of_key_verifies_only_its_algorithms() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let kinds = [
        ("rs", Algorithm::RS256),
        ("es", Algorithm::ES256),
        ("es3", Algorithm::ES384),
        ("ed", Algorithm::EdDSA),
    ];
    let keys = kinds.map(|(id, algorithm)| SigningKey::with(id, algorithm));
    // Some providers do not name the algorithm: then all of the kind are accepted.
    let mut set: Vec<Value> = keys.iter().map(SigningKey::jwk).collect();
    for key in &mut set {
        key.as_object_mut().unwrap().remove("alg");
    }
    let server = serve(&host, folder.path(), &json!(set), &[]).await;
    let address = server.address();
    for key in &keys {
        assert_eq!(list(address, &key.token(json!({}))).await, Ok(()));
    }
    let claims = good_claims().to_string();
    let rsa = &keys[0];
    for (name, algorithm) in [("PS256", Algorithm::PS256), ("RS512", Algorithm::RS512)] {
        let token = rsa.raw_token_with(&header("rs", name), &claims, algorithm);
        assert_eq!(list(address, &token).await, Ok(()));
    }
    for (key, id, claimed) in [
        // The header names another algorithm than the signature's, or than the key's.
        (0, "rs", "PS256"),
        (0, "rs", "ES256"),
        (0, "es", "RS256"),
        (1, "es", "RS256"),
        (1, "es", "ES384"),
        (1, "es3", "ES256"),
        (3, "ed", "ES256"),
        (1, "ed", "EdDSA"),
        (0, "rs", "none"),
        (0, "rs", "None"),
        (0, "rs", "nOnE"),
        (0, "rs", "HS256"),
        (0, "rs", ""),
        (0, "rs", "RS1"),
    ] {
        let token = keys[key].raw_token(&header(id, claimed), &claims);
        let message = refusal(address, &token).await;
        assert!(message.starts_with("the token"), "{id} {claimed}: {message}");
    }
}

#[tokio::test]
async fn key_with_an_algorithm_verifies_only_that_one() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let key = SigningKey::with("rs", Algorithm::RS256);
    let server = serve(&host, folder.path(), &json!([key.jwk()]), &[]).await;
    let claims = good_claims().to_string();
    let token = key.raw_token_with(&header("rs", "PS256"), &claims, Algorithm::PS256);
    let message = refusal(server.address(), &token).await;
    assert!(message.contains("does not belong to its issuer"), "{message}");
}

#[tokio::test]
async fn public_key_is_no_shared_secret_in_any_form() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let key = SigningKey::with("rs", Algorithm::RS256);
    let jwk = key.jwk();
    let secret = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0LXRoYXQtaXMtcHVibGljLTEyMzQ1Njc4"});
    let server = serve(&host, folder.path(), &json!([jwk, secret]), &[]).await;
    let secrets = [
        jwk.to_string(),
        jwk["n"].as_str().unwrap().to_owned(),
        "secret-that-is-public-12345678".to_owned(),
        String::new(),
    ];
    for secret in secrets {
        for id in [Some("rs"), Some("oct"), None] {
            let header = jsonwebtoken::Header { kid: id.map(str::to_owned), ..Default::default() };
            let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
            let token = jsonwebtoken::encode(&header, &good_claims(), &key).unwrap();
            refusal(server.address(), &token).await;
        }
    }
}

#[tokio::test]
async fn keys_in_the_header_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let (ours, theirs) = (SigningKey::new("k1"), SigningKey::new("k1"));
    let server = serve(&host, folder.path(), &json!([ours.jwk()]), &[]).await;
    for more in [
        json!({"jwk": theirs.jwk()}),
        json!({"jku": "http://127.0.0.1:1/jwks.json"}),
        json!({"x5u": "http://127.0.0.1:1/chain.pem"}),
        json!({"x5c": ["MIIC8TCCAdmgAwIBAgIQ"]}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "k1' OR '1'='1"}),
        json!({"kid": "", "jwk": theirs.jwk()}),
    ] {
        let mut header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = theirs.raw_token(&header.to_string(), &good_claims().to_string());
        refusal(server.address(), &token).await;
    }
}

#[tokio::test]
async fn keys_with_the_same_id_are_tried_up_to_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let same: Vec<SigningKey> = (0..11).map(|_| SigningKey::new("same")).collect();
    let rsa = SigningKey::with("same", Algorithm::RS256);
    let mut set: Vec<Value> = same.iter().map(SigningKey::jwk).collect();
    set.insert(0, rsa.jwk());
    let server = serve(&host, folder.path(), &json!(set), &[]).await;
    let address = server.address();
    assert_eq!(list(address, &rsa.token(json!({}))).await, Ok(()));
    for key in &same[..10] {
        assert_eq!(list(address, &key.token(json!({}))).await, Ok(()));
    }
    // The eleventh is not tried: each try costs the server, and costs the sender nothing.
    for key in [&same[10], &SigningKey::new("same"), &SigningKey::with("same", Algorithm::RS256)] {
        let message = refusal(address, &key.token(json!({}))).await;
        assert_eq!(message, "the token's signature is invalid");
    }
}

#[tokio::test]
async fn tokens_for_other_purposes_are_refused_by_their_type() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let key = SigningKey::new("k1");
    let server = serve(&host, folder.path(), &json!([key.jwk()]), &[]).await;
    let with_type = |name: Value| {
        let header = json!({"alg": "ES256", "kid": "k1", "typ": name}).to_string();
        key.raw_token(&header, &good_claims().to_string())
    };
    for name in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt"] {
        assert_eq!(list(server.address(), &with_type(json!(name))).await, Ok(()), "{name}");
    }
    for name in ["logout+jwt", "secevent+jwt", "dpop+jwt", "JOSE", "", "JWT ", "xat+jwt"] {
        let message = refusal(server.address(), &with_type(json!(name))).await;
        assert!(message.contains("(typ) is neither JWT nor at+jwt"), "{name}: {message}");
    }
    for name in [json!(["JWT"]), json!(null), json!(7)] {
        refusal(server.address(), &with_type(name)).await;
    }
}

#[tokio::test]
async fn issuer_and_audience_are_compared_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let key = SigningKey::new("k1");
    let more = [
        "--jwt-issuer=https://login.example.com/,https://id.example.com/realms/a",
        "--jwt-audience=tara-export,b",
    ];
    let server = serve(&host, folder.path(), &json!([key.jwk()]), &more).await;
    let address = server.address();
    for changes in [json!({}), json!({"iss": "https://id.example.com/realms/a", "aud": ["b"]})] {
        assert_eq!(list(address, &key.token(changes)).await, Ok(()));
    }
    for issuer in [
        "https://login.example.com",
        "https://login.example.com//",
        "https://login.example.com/x",
        "https://login.example.com.evil.example/",
        "https://login.example.com/@evil.example",
        "http://login.example.com/",
        "HTTPS://login.example.com/",
        " https://login.example.com/",
        "https://login.example.com:443/",
        "https://id.example.com/realms/ab",
        "https://id.example.com/realms/",
        "https://login.example.com/,https://id.example.com/realms/a",
        "",
    ] {
        let message = refusal(address, &key.token(json!({ "iss": issuer }))).await;
        assert!(message.contains("another issuer"), "{issuer}: {message}");
        assert!(!message.contains(ISSUER), "{message}");
    }
    for audience in ["tara-export,b", "tara-export/", "tara", "B", " b", "*", ""] {
        let message = refusal(address, &key.token(json!({ "aud": audience }))).await;
        assert!(message.contains("another audience"), "{audience}: {message}");
    }
}

#[tokio::test]
async fn nested_duplicate_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let key = SigningKey::new("k1");
    let more = ["--jwt-roles-claim=/realm_access/roles"];
    let server = serve(&host, folder.path(), &json!([key.jwk()]), &more).await;
    let claims = good_claims().to_string();
    let token = |more: &str| {
        let claims = claims.replacen('{', &format!("{{{more},"), 1);
        key.raw_token(&header("k1", "ES256"), &claims)
    };
    let address = server.address();
    assert_eq!(list(address, &token(r#""realm_access":{"roles":["read"]}"#)).await, Ok(()));
    for more in [
        r#""realm_access":{"roles":["none"],"roles":["read"]}"#,
        r#""realm_access":{"roles":["read"],"\u0072oles":["admin"]}"#,
        r#""realm_access":{},"realm_access":{"roles":["read"]}"#,
        r#""realm_access":{"roles":["read"]},"x":[{"y":{"z":1,"z":2}}]"#,
    ] {
        let message = refusal(address, &token(more)).await;
        assert!(message.contains("unique names"), "{more}: {message}");
    }
    let deep = format!(r#""realm_access":{}1{}"#, "[".repeat(1_000), "]".repeat(1_000));
    refusal(address, &token(&deep)).await;
}

#[tokio::test]
async fn role_claim_grants_only_listed_strings() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let key = SigningKey::new("k1");
    let more = ["--jwt-roles-claim=/a/b", r#"--jwt-role-map={"auditors": "read"}"#];
    let server = serve(&host, folder.path(), &json!([key.jwk()]), &more).await;
    let address = server.address();
    for granted in [json!(["x", "auditors"]), json!("x auditors")] {
        assert_eq!(list(address, &key.token(json!({"a": {"b": granted}}))).await, Ok(()));
    }
    for claims in [
        json!({"a": {"b": {"auditors": true}}}),
        json!({"a": {"b": [["auditors"]]}}),
        json!({"a": {"b": [{"name": "auditors"}]}}),
        json!({"a": {"b": true}}),
        json!({"a": {"b": null}}),
        json!({"a": {"b": "auditors,x"}}),
        json!({"a": {"b": "auditors\tx"}}),
        json!({"a": {"b": ["auditors "]}}),
        json!({"a": {"b": ["read", "admin"]}}),
        json!({"a": [{"b": ["auditors"]}]}),
        json!({"a": ["auditors"]}),
        json!({"a": "auditors"}),
        json!({"/a/b": ["auditors"], "a/b": ["auditors"], "a.b": ["auditors"]}),
        json!({"roles": ["read", "admin"]}),
    ] {
        let (code, message) = list(address, &key.token(claims.clone())).await.unwrap_err();
        assert_eq!(code, Code::PermissionDenied, "{claims}: {message}");
    }
}

#[tokio::test]
async fn too_large_tokens_are_refused_before_they_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let key = SigningKey::new("k1");
    let server = serve(&host, folder.path(), &json!([key.jwk()]), &[]).await;
    let address = server.address();
    let token = |bytes: usize| key.token(json!({"groups": "g".repeat(bytes)}));
    // Base64 adds a third.
    assert_eq!(list(address, &token(11_000)).await, Ok(()));
    for bytes in [13_000, 40_000] {
        let message = refusal(address, &token(bytes)).await;
        assert_eq!(message, "the token has more than 16384 bytes");
    }
    // More than all headers may have.
    assert!(list(address, &token(100_000)).await.is_err());
    assert_eq!(list(address, &key.token(json!({}))).await, Ok(()));
}

//! Keys that are found from the issuer's metadata.

use serde_json::json;
use tonic::Code;

use super::{Internet, assert_accepted, list, page, recipe::Settings, reload, rsa, timed};
use crate::{harness::within, machine::Server};

const ISSUER: &str = "https://example.eu.auth0.com/";
const KEYS: &str = "https://example.eu.auth0.com/.well-known/jwks.json";
const METADATA: &str = "example.eu.auth0.com/.well-known/openid-configuration";

fn token(key: &crate::harness::issuer::SigningKey) -> String {
    key.token_of(&timed(json!({
        "iss": ISSUER, "sub": "ada", "aud": "https://export.example.com", "permissions": ["read"],
    })))
}

#[tokio::test(flavor = "multi_thread")]
async fn server_does_not_start_with_metadata_of_another_issuer() {
    let internet = Internet::new().await;
    let key = rsa("k");
    internet.publish(ISSUER, KEYS, &[&key]);
    let start = |issuer: &str| {
        let settings = Settings::of("Auth0").with("JWT_ISSUER", issuer);
        let mut variables = settings.variables();
        let authority = internet.machine.path().join("ca.pem").display().to_string();
        variables.extend([("HTTPS_PROXY", internet.proxy.url()), ("SSL_CERT_FILE", authority)]);
        let folder = tempfile::tempdir().unwrap();
        let mut server = Server::start(&folder, &variables, &[]);
        assert_eq!(server.exit_code(), Some(1));
        server.wait_for("the last message", |log| {
            log.iter().find(|line| !line.starts_with('{')).cloned()
        })
    };
    let message = start(ISSUER.trim_end_matches('/'));
    for part in
        ["JWT_ISSUER https://example.eu.auth0.com:", METADATA, &format!("{ISSUER:?}"), "exactly"]
    {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    // Entra's metadata for any tenant have a template as their issuer.
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let metadata = json!({"issuer": template, "jwks_uri": KEYS}).to_string();
    internet
        .pages
        .set("login.microsoftonline.com/any/v2.0/.well-known/openid-configuration", metadata);
    let message = start("https://login.microsoftonline.com/any/v2.0");
    assert!(message.contains("{tenantid}"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_metadata_and_keys_are_fetched_again_until_they_are_usable() {
    let internet = Internet::new().await;
    let key = rsa("k");
    let settings = Settings::of("Auth0").with("JWT_JWKS_REFRESH", "1s");
    let metadata = |keys: &str| json!({"issuer": ISSUER, "jwks_uri": keys}).to_string();
    let server = internet.serve(&settings);
    server.logged("HTTP 404");
    let many: Vec<_> = (0..5_000).map(|_| key.jwk()).collect();
    internet.pages.set(&page(KEYS), json!({ "keys": many }).to_string());
    for (document, part) in [
        ("<html>".to_owned(), "is not the metadata of an issuer"),
        (metadata("http://example.eu.auth0.com/jwks"), "neither an https:// URL"),
        (metadata("http://169.254.169.254/latest/meta-data"), "neither an https:// URL"),
        (metadata("https://example.eu.auth0.com/gone"), "/gone: HTTP 404"),
        // More than 1 MiB.
        (metadata(KEYS), "cannot read the response"),
    ] {
        internet.pages.set(METADATA, document);
        let logged = async {
            loop {
                reload(&server);
                let log = server.wait_for("the log", |log| Some(log.join("\n")));
                if log.contains(part) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        within(part, logged).await;
        let status = list(&server, &token(&key)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    internet.publish_keys(KEYS, &[&key]);
    let accepted = async {
        while list(&server, &token(&key)).await.is_err() {
            reload(&server);
        }
    };
    within("the keys", accepted).await;
    // Too many keys: the previous ones stay in use.
    let many: Vec<_> =
        (0..1_000).map(|number| json!({"kty": "RSA", "kid": number.to_string()})).collect();
    internet.pages.set(&page(KEYS), json!({ "keys": many }).to_string());
    let logged = async {
        loop {
            reload(&server);
            let log = server.wait_for("the log", |log| Some(log.join("\n")));
            if log.contains("has more than 100 keys") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within("the refused keys", logged).await;
    assert_accepted(&server, &token(&key)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_token_is_sent_to_the_configured_host_only() {
    let internet = Internet::new().await;
    let key = rsa("k");
    let elsewhere = "https://www.googleapis.com/keys";
    internet.publish(ISSUER, elsewhere, &[&key]);
    internet.pages.require_token("pod-token");
    let file = internet.machine.path().join("token");
    std::fs::write(&file, "pod-token").unwrap();
    let settings = Settings::of("Auth0").with("JWT_JWKS_TOKEN_FILE", file.to_str().unwrap());
    let server = internet.serve(&settings);
    // The host of the metadata got the token, that of the keys did not.
    server.logged("www.googleapis.com/keys: HTTP 401: the server requires a token");
    assert_eq!(internet.pages.requests(), [METADATA, "www.googleapis.com/keys"]);
}

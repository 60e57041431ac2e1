//! Projected tokens of service accounts. The keys are published with a certificate of the cluster's own authority, and
//! only for callers with a token.

use std::fs;

use serde_json::{Value, json};
use tonic::Code;

use super::{
    Internet, assert_accepted, is_refused, list, page,
    recipe::{Settings, refusals},
    refusal, reload, rsa, timed, with,
};
use crate::harness::{issuer::now, within};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const KEYS: &str = "https://kubernetes.default.svc/openid/v1/jwks";

fn claims() -> Value {
    timed(json!({
        "aud": ["tara-export"], "iss": ISSUER, "jti": "4e1b6a2e-4a5b-4c8e-8a7b-3c2d1e0f9a8b",
        "kubernetes.io": {
            "namespace": "review",
            "node": {"name": "node-1", "uid": "0a1b2c3d-0000-4000-8000-000000000001"},
            "pod": {"name": "review-app-5d9c7b", "uid": "0a1b2c3d-0000-4000-8000-000000000002"},
            "serviceaccount": {"name": "review-app", "uid": "0a1b2c3d-0000-4000-8000-000000000003"},
        },
        "nbf": now(), "sub": "system:serviceaccount:review:review-app",
    }))
}

/// The settings of the recipe with the files of a pod, which are in the folder of the machine.
fn settings(internet: &Internet) -> Settings {
    let mut settings = Settings::of("Kubernetes service accounts");
    for (setting, file) in [("JWT_JWKS_CA_FILE", "ca.crt"), ("JWT_JWKS_TOKEN_FILE", "token")] {
        assert_eq!(settings.get(setting), format!("/var/run/secrets/api-server/{file}"));
        let path = internet.machine.path().join(file).display().to_string();
        settings = settings.with(setting, &path);
    }
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn service_accounts_are_accepted_while_tokens_and_keys_rotate() {
    let internet = Internet::new().await;
    let path = |name: &str| internet.machine.path().join(name);
    let (old, new) = (rsa("old"), rsa("new"));
    assert_eq!(Settings::of("Kubernetes service accounts").get("JWT_JWKS_URL"), KEYS);
    internet.publish_keys(KEYS, &[&old]);
    internet.pages.require_token("pod-token-1");
    fs::write(path("ca.crt"), internet.front.authority_pem()).unwrap();
    fs::write(path("token"), "pod-token-1\n").unwrap();
    let settings = settings(&internet).with("JWT_JWKS_REFRESH", "1s");
    // The machine does not trust the cluster's authority.
    let server = internet.serve_with(&settings, &[]);
    let token = |changes: Value| old.token_of(&with(claims(), changes));
    assert_accepted(&server, &token(json!({}))).await;
    let tokens = [
        token(json!({"aud": [ISSUER]})),
        token(json!({"sub": "system:serviceaccount:review:default"})),
    ];
    let expected = refusals("Kubernetes service accounts");
    assert_eq!(expected.len(), tokens.len());
    for (token, expected) in tokens.iter().zip(expected) {
        assert_eq!(refusal(&server, token).await, expected);
    }
    for changes in [
        json!({"sub": "system:serviceaccount:other:review-app"}),
        json!({"sub": "x system:serviceaccount:review:review-app"}),
        json!({"sub": "system:serviceaccount:review:review-app:x"}),
        json!({"sub": ["system:serviceaccount:review:review-app"]}),
        json!({"iss": "kubernetes/serviceaccount"}),
        json!({"aud": null}),
        json!({"exp": null}),
    ] {
        assert!(is_refused(&server, &token(changes.clone())).await, "{changes}");
    }

    // The kubelet replaces the pod's token, and the API server signs with a new key.
    internet.publish_keys(KEYS, &[&new]);
    internet.pages.require_token("pod-token-2");
    let rotated = new.token_of(&claims());
    assert!(is_refused(&server, &rotated).await);
    reload(&server);
    // The previous token of the pod is refused. The previous keys stay in use.
    let failed = async {
        loop {
            reload(&server);
            let log = server.wait_for("the log", |log| Some(log.join("\n")));
            if log.contains("refuses the token of JWT_JWKS_TOKEN_FILE") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within("a failed fetch", failed).await;
    assert_accepted(&server, &token(json!({}))).await;
    fs::write(path("token.new"), "pod-token-2").unwrap();
    fs::rename(path("token.new"), path("token")).unwrap();
    let accepted = async {
        while list(&server, &rotated).await.is_err() {
            reload(&server);
        }
    };
    within("the new key", accepted).await;
    let (message, _) = refusal(&server, &token(json!({}))).await;
    assert_eq!(message, "the token is signed with a key that does not belong to its issuer");
    // The pod's tokens are never logged.
    let log = server.wait_for("the log", |log| Some(log.join("\n")));
    assert!(!log.contains("pod-token"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_authority_or_token_is_logged_with_its_setting() {
    let internet = Internet::new().await;
    let path = |name: &str| internet.machine.path().join(name);
    let key = rsa("k");
    internet.publish_keys(KEYS, &[&key]);
    internet.pages.require_token("pod-token");
    fs::write(path("ca.crt"), internet.front.authority_pem()).unwrap();
    fs::write(path("token"), "pod-token").unwrap();
    let complete = settings(&internet);
    for (setting, part) in [
        ("JWT_JWKS_TOKEN_FILE", "the server requires a token"),
        ("JWT_JWKS_CA_FILE", "UnknownIssuer"),
    ] {
        // The machine trusts another authority.
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
        fs::write(path("other.pem"), other.cert.pem()).unwrap();
        let system = ("SSL_CERT_FILE", path("other.pem").display().to_string());
        let server = internet.serve_with(&complete.clone().without(setting), &[system]);
        let line = server.logged("cannot fetch the issuer's keys");
        assert!(line.contains(part) && line.contains(&page(KEYS)), "{line}");
        let status = list(&server, &key.token_of(&claims())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn public_issuer_needs_no_files_and_namespaces_can_be_required() {
    let internet = Internet::new().await;
    let key = rsa("k");
    let public = Settings::of("Kubernetes service accounts")
        .changed_by("Kubernetes with a public issuer")
        .without("JWT_JWKS_URL")
        .without("JWT_JWKS_CA_FILE")
        .without("JWT_JWKS_TOKEN_FILE");
    let issuer = public.get("JWT_ISSUER").to_owned();
    internet.publish(&issuer, &format!("{issuer}/keys"), &[&key]);
    let server = internet.serve(&public);
    let token = |changes: Value| {
        let claims = with(claims(), json!({ "iss": issuer }));
        key.token_of(&with(claims, changes))
    };
    assert_accepted(&server, &token(json!({}))).await;
    for changes in [
        json!({"kubernetes.io": {"namespace": "other"}}),
        json!({"kubernetes.io": {"namespace": ["review"]}}),
        json!({"kubernetes.io": null}),
        json!({"kubernetes.io": null, "kubernetes.io/namespace": "review"}),
    ] {
        assert!(is_refused(&server, &token(changes.clone())).await, "{changes}");
    }
}

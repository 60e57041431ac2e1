//! Tokens as identity providers issue them, for a server with exactly the settings of `docs/identity-providers.md`. The
//! providers' hosts are reached through a proxy that leads to a web server of the test, over TLS.

mod kubernetes;
mod metadata;
mod providers;
mod real_keycloak;
mod recipe;

use std::fs;

use jsonwebtoken::Algorithm;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tara_export_client::proto::{ListExportsRequest, export_service_client::ExportServiceClient};
use tara_export_test_support::{ForwardProxy, TlsFront};
use tempfile::TempDir;
use tonic::{Code, Request, Status};

use crate::{
    harness::issuer::{Pages, SigningKey, now},
    machine::Server,
};
use recipe::Settings;

/// The providers' hosts, with one certificate.
const HOSTS: [&str; 11] = [
    "id.example.com",
    "cognito-idp.eu-central-1.amazonaws.com",
    "login.microsoftonline.com",
    "sts.windows.net",
    "example.eu.auth0.com",
    "example.okta.com",
    "accounts.google.com",
    "www.googleapis.com",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "oidc.eks.eu-central-1.amazonaws.com",
];

/// The web servers of all providers, and the machine of a server that uses them.
struct Internet {
    pages: Pages,
    front: TlsFront,
    proxy: ForwardProxy,
    machine: TempDir,
}

impl Internet {
    async fn new() -> Self {
        let pages = Pages::new().await;
        let front = TlsFront::start_as(&HOSTS, pages.address(), &[]).await;
        let proxy = ForwardProxy::start(front.address()).await;
        let machine = tempfile::tempdir().unwrap();
        fs::write(machine.path().join("ca.pem"), front.authority_pem()).unwrap();
        Self { pages, front, proxy, machine }
    }

    /// A provider that publishes these keys, and metadata that name their URL.
    fn publish(&self, issuer: &str, keys_url: &str, keys: &[&SigningKey]) {
        let metadata = json!({
            "issuer": issuer, "jwks_uri": keys_url, "authorization_endpoint": "https://id.example.com/auth",
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let base = page(issuer);
        let base = base.strip_suffix('/').unwrap_or(&base);
        self.pages.set(&format!("{base}/.well-known/openid-configuration"), metadata.to_string());
        self.publish_keys(keys_url, keys);
    }

    fn publish_keys(&self, keys_url: &str, keys: &[&SigningKey]) {
        let mut all: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        for key in &mut all {
            key["use"] = json!("sig");
            key["x5c"] = json!(["MIIC8TCCAdmgAwIBAgIQ"]);
        }
        self.pages.set(&page(keys_url), json!({ "keys": all }).to_string());
    }

    /// Starts a server with these settings, on a machine that trusts the authority of the providers.
    fn serve(&self, settings: &Settings) -> Server {
        let authority = self.machine.path().join("ca.pem").display().to_string();
        self.serve_with(settings, &[("SSL_CERT_FILE", authority)])
    }

    fn serve_with(&self, settings: &Settings, more: &[(&'static str, String)]) -> Server {
        let mut variables = settings.variables();
        variables.push(("HTTPS_PROXY", self.proxy.url()));
        variables.extend(more.iter().cloned());
        let folder = tempfile::tempdir_in(self.machine.path()).unwrap();
        let server =
            Server::start(&folder, &variables, &["--log-level=tara_export_auth=debug,info"]);
        server.url();
        // It is removed with the machine.
        let _ = folder.keep();
        server
    }
}

/// A URL without its scheme.
fn page(url: &str) -> String {
    url.split_once("://").unwrap().1.to_owned()
}

/// Calls ListExports, which needs the role `read`.
async fn list(server: &Server, token: &str) -> Result<(), Status> {
    let mut client = ExportServiceClient::connect(server.url()).await.unwrap();
    let mut request = Request::new(ListExportsRequest::default());
    let header = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    client.list_exports(request).await.map(drop)
}

async fn assert_accepted(server: &Server, token: &str) {
    if let Err(status) = list(server, token).await {
        let log = server.logged("refused");
        panic!("{}: {log}", status.message());
    }
}

/// Whether a call with this token is refused because of the token.
async fn is_refused(server: &Server, token: &str) -> bool {
    let code = list(server, token).await.err().map(|status| status.code());
    matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied))
}

/// The message for the caller and the detail in the log of a call that must be refused.
async fn refusal(server: &Server, token: &str) -> (String, String) {
    let lines = |log: &[String]| log.iter().filter(|line| line.contains(r#""refused""#)).count();
    let before = server.wait_for("the log", |log| Some(lines(log)));
    let status = list(server, token).await.expect_err("the call is refused");
    assert!(matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied), "{status:?}");
    let line = server.wait_for("a refusal", |log| {
        let mut refusals = log.iter().filter(|line| line.contains(r#""refused""#));
        refusals.nth(before).cloned()
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    let detail = line["detail"].as_str().unwrap_or_default().to_owned();
    (status.message().to_owned(), detail)
}

/// Sends SIGHUP, which fetches keys that are due.
fn reload(server: &Server) {
    let id = Pid::from_raw(i32::try_from(server.child.id()).unwrap()).unwrap();
    kill_process(id, Signal::HUP).unwrap();
}

/// These claims with times that are valid now.
fn timed(claims: Value) -> Value {
    with(claims, json!({"iat": now(), "exp": now() + 3600}))
}

/// The claims with some of them replaced; null removes one.
fn with(mut claims: Value, changes: Value) -> Value {
    let all = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => all.remove(name),
            value => all.insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn rsa(id: &str) -> SigningKey {
    SigningKey::with(id, Algorithm::RS256)
}

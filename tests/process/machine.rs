//! The variables of the machine: proxies, certificate authorities, credentials, settings of other programs.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tara_export_test_support::{ForwardProxy, TestS3, TlsFront};
use tempfile::TempDir;

use crate::{
    harness::issuer::{AUDIENCE, ISSUER, Page, SigningKey, jwks},
    observability::collector::Collector,
};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample-review");
/// Longer than any operation takes. A test that hangs fails with a message.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) type Variables<'a> = Vec<(&'a str, String)>;

fn command(folder: &TempDir, variables: &Variables<'_>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
    command
        .env_clear()
        .env("HOME", folder.path())
        .env("DATA_DIR", folder.path().join("data"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .args(arguments);
    command
}

fn run(folder: &TempDir, variables: &Variables<'_>, arguments: &[&str]) -> Output {
    command(folder, variables, arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A server and its log; killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(folder: &TempDir, variables: &Variables<'_>, flags: &[&str]) -> Self {
        let arguments = [&["serve", "--port=0", "--log-format=json"], flags].concat();
        let mut child =
            command(folder, variables, &arguments).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let log = Arc::<Mutex<Vec<String>>>::default();
        let collected = log.clone();
        std::thread::spawn(move || lines.for_each(|line| collected.lock().unwrap().push(line)));
        Self { child, log }
    }

    /// Waits until the log has a line with this text.
    pub(crate) fn logged(&self, text: &str) -> String {
        self.wait_for(text, |log| log.iter().find(|line| line.contains(text)).cloned())
    }

    pub(crate) fn wait_for<T>(&self, what: &str, condition: impl Fn(&[String]) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let log = self.log.lock().unwrap().clone();
            if let Some(found) = condition(&log) {
                return found;
            }
            assert!(start.elapsed() < LIMIT, "{what} is missing in: {}", log.join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the process ends by itself.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < LIMIT, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn url(&self) -> String {
        let line: serde_json::Value = serde_json::from_str(&self.logged("\"address\"")).unwrap();
        format!("http://{}", line["address"].as_str().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(url: &str) -> SocketAddr {
    url.split("://").nth(1).unwrap().parse().unwrap()
}

fn with<'a>(variables: &Variables<'a>, more: &[(&'a str, &str)]) -> Variables<'a> {
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    // The last one of a name wins.
    variables.iter().cloned().chain(more).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_settings_of_other_programs_are_reported_and_never_panic() {
    let s3 = TestS3::start().await;
    for (name, value) in [
        ("AWS_RETRY_MODE", "legacy"),
        ("AWS_RETRY_MODE", ""),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_MAX_ATTEMPTS", "5.0"),
        ("AWS_MAX_ATTEMPTS", ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let variables = with(&s3.environment(), &[(name, value)]);
        let output = run(&folder, &variables, &["export", SAMPLE, "--log-level=warn"]);
        assert_eq!(output.status.code(), Some(0), "{name}={value}: {}", text(&output));
        let is_reported = text(&output).contains(&format!("{name} is not used: "));
        assert_eq!(is_reported, !value.is_empty(), "{}", text(&output));
    }
    let folder = tempfile::tempdir().unwrap();
    let variables = with(&s3.environment(), &[("AWS_RETRY_MODE", "legacy")]);
    let server = Server::start(&folder, &variables, &[]);
    server.logged("AWS_RETRY_MODE is not used: this server has its own retries (S3_RETRY_BUDGET)");
    server.url();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_empty_variable_is_unset() {
    let s3 = TestS3::start().await;
    let folder = tempfile::tempdir().unwrap();
    let document = include_str!("../../docs/settings.md");
    let mut variables: Variables<'_> = Vec::new();
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap();
        variables.extend(cell.split('`').skip(1).step_by(2).map(|name| (name, String::new())));
    }
    assert!(variables.len() > 130, "{}", variables.len());
    variables.retain(|(name, _)| !["DATA_DIR", "AWS_EC2_METADATA_DISABLED"].contains(name));
    let variables: Variables<'_> = variables.into_iter().chain(s3.environment()).collect();
    let output = run(&folder, &variables, &["export", SAMPLE, "--log-level=warn"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(!text(&output).contains("not used"), "{}", text(&output));
    // The one empty value: the complete bucket.
    assert!(s3.objects().keys().any(|key| key.starts_with(".tara-export/exports/")));
    let server = Server::start(&folder, &variables, &["--bind-address=127.0.0.1"]);
    server.url();
    let check = run(&folder, &variables, &["check", "--server", &server.url()]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_authorities_come_from_the_machine() {
    let s3 = TestS3::start().await;
    let front = TlsFront::start(address(&s3.endpoint()), &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, front.authority_pem()).unwrap();
    let ca = ca.display().to_string();
    let s3 = with(&s3.environment(), &[("AWS_ENDPOINT_URL", &front.url())]);
    let check = |more: &[(&str, &str)]| run(&folder, &with(&s3, more), &["check"]);
    assert_eq!(check(&[]).status.code(), Some(1));
    for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let output = check(&[(name, &ca)]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output));
    }
    // Empty variables do not hide the system's authorities, which do not include this one.
    let output = check(&[("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", ""), ("AWS_CA_BUNDLE", "")]);
    assert!(text(&output).contains("UnknownIssuer"), "{}", text(&output));
    let output = check(&[("AWS_CA_BUNDLE", "/missing.pem")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("AWS_CA_BUNDLE: cannot read /missing.pem"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_is_reached_through_the_proxy_of_the_machine() {
    let s3 = TestS3::start().await;
    let proxy = ForwardProxy::start(address(&s3.endpoint())).await;
    let elsewhere =
        with(&s3.environment(), &[("AWS_ENDPOINT_URL", "http://s3.example.internal:9000")]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let folder = tempfile::tempdir().unwrap();
        let before = proxy.requests().len();
        let output = run(&folder, &with(&elsewhere, &[(name, &proxy.url())]), &["check"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output));
        assert!(proxy.requests().len() > before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_follows_its_credentials_file_and_reloads_at_sighup() {
    let s3 = TestS3::start().await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".aws")).unwrap();
    let write = |file: &Path, access: &str, secret: &str| {
        let text =
            format!("[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n");
        fs::write(file, text).unwrap();
    };
    let file = folder.path().join(".aws/credentials");
    write(&file, "AKIDEXPIRED", "wrong");
    let mut variables = s3.environment();
    variables.retain(|(name, _)| !name.contains("ACCESS_KEY"));
    let server =
        Server::start(&folder, &variables, &["--s3-outage-pause=10ms", "--s3-retry-budget=300ms"]);
    let url = server.url();
    let export = || run(&folder, &Vec::new(), &["export", SAMPLE, "--server", &url]).status.code();
    assert_eq!(export(), Some(3), "wrong credentials: the bundle falls back");
    write(&file, s3.access_key(), s3.secret_key());
    let start = Instant::now();
    while export() != Some(0) {
        assert!(start.elapsed() < LIMIT, "the new credentials are never read");
    }
    server.logged("a file with AWS credentials changed");
    // What fell back is sent to S3, too.
    let start = Instant::now();
    loop {
        let listed = run(
            &folder,
            &Vec::new(),
            &["list", "--server", &url, "--filter", "state = STATE_FELL_BACK", "--json"],
        );
        if listed.status.code() == Some(0) && !text(&listed).contains("exports/") {
            break;
        }
        assert!(start.elapsed() < LIMIT, "{}", text(&listed));
        std::thread::sleep(Duration::from_millis(50));
    }
    let id = i32::try_from(server.child.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::HUP).unwrap();
    server.logged(
        "SIGHUP: reloading certificates, tokens, keys, the credentials for S3 and NOTIFY_FILE",
    );
    assert_eq!(export(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_issuer_are_fetched_through_the_proxy() {
    let key = SigningKey::new("k1");
    let page = Page::new(Some(jwks(&[&key]))).await;
    let front = TlsFront::start(address(page.url.trim_end_matches("/jwks.json")), &[]).await;
    let proxy = ForwardProxy::start(front.address()).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, front.authority_pem()).unwrap();
    let variables = vec![
        ("HTTPS_PROXY", proxy.url()),
        ("SSL_CERT_FILE", ca.display().to_string()),
        ("JWT_ISSUER", ISSUER.to_owned()),
        ("JWT_AUDIENCE", AUDIENCE.to_owned()),
        ("JWT_JWKS_URL", "https://s3.example.internal/jwks".to_owned()),
    ];
    let server = Server::start(&folder, &variables, &["--log-level=tara_export_auth=debug,info"]);
    server.logged("fetched the issuer's keys");
    assert!(proxy.requests()[0].starts_with("CONNECT s3.example.internal:443 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_sent_through_the_proxy_with_and_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    for scheme in ["http", "https"] {
        let collector = Collector::start().await;
        let front = TlsFront::start(address(&collector.url), &["h2"]).await;
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, front.authority_pem()).unwrap();
        let to = if scheme == "http" { address(&collector.url) } else { front.address() };
        let proxy = ForwardProxy::start(to).await;
        let variables = vec![
            ("HTTP_PROXY", proxy.url()),
            ("HTTPS_PROXY", proxy.url()),
            ("SSL_CERT_FILE", ca.display().to_string()),
        ];
        let endpoint = format!("--trace-otlp-endpoint={scheme}://s3.example.internal:4317");
        let server = Server::start(&folder, &variables, &[&endpoint, "--trace-sample-ratio=1"]);
        let listed = run(&folder, &Vec::new(), &["list", "--server", &server.url()]);
        assert_eq!(listed.status.code(), Some(0), "{}", text(&listed));
        server.wait_for("a span", |_| (!collector.spans().is_empty()).then_some(()));
        assert!(proxy.requests()[0].starts_with("CONNECT s3.example.internal:4317 "));
    }
}

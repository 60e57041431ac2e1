//! What an S3 store takes from the variables and the profile of the machine: the table of docs/settings.md.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use tara_export_outbound::Environment;
use tara_export_store::{
    LinkRequest, PutOutcome, Store as _, StoreError,
    s3::{S3Settings, S3SettingsError, S3Store},
};
use tara_export_test_support::{ForwardProxy, Operation, TestS3, TlsFront};
use tempfile::TempDir;

use crate::{
    backends::settings,
    contract::{key, payload},
};

const SETTINGS_DOCUMENT: &str = include_str!("../../../../docs/settings.md");

/// A machine with a home directory and its own variables.
pub(crate) struct Machine {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    /// A machine without the metadata service.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let path = home.path().display().to_string();
        Self { home, variables: Vec::new() }
            .with("HOME", &path)
            .with("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn keys(self, server: &TestS3) -> Self {
        self.with("AWS_ACCESS_KEY_ID", server.access_key())
            .with("AWS_SECRET_ACCESS_KEY", server.secret_key())
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn profile(self, text: &str) -> Self {
        self.write(".aws/config", &format!("[default]\n{text}\n"));
        self
    }

    pub(crate) async fn connect(&self, settings: S3Settings) -> Result<S3Store, S3SettingsError> {
        let environment: Environment = self.variables.iter().cloned().collect();
        S3Store::connect(settings, environment, None).await
    }

    /// A store with no setting of this server but the bucket.
    async fn store(&self) -> S3Store {
        self.connect(only_bucket()).await.unwrap()
    }

    /// Where this machine sends requests: the beginning of a link, up to the bucket's name or key.
    async fn destination(self) -> String {
        let machine =
            self.with("AWS_ACCESS_KEY_ID", "AKID").with("AWS_SECRET_ACCESS_KEY", "secret");
        link(&machine.store().await).await.split("a.txt").next().unwrap().to_owned()
    }
}

/// Settings that leave endpoint, region and path style to the machine.
fn only_bucket() -> S3Settings {
    S3Settings {
        endpoint_url: None,
        region: None,
        path_style: false,
        base_path: String::new(),
        ..settings("", "test-bucket")
    }
}

async fn link(store: &S3Store) -> String {
    let request = LinkRequest {
        time_to_live: Duration::from_secs(60),
        file_name: "a.txt".to_owned(),
        media_type: "text/plain".to_owned(),
    };
    store.links().unwrap().link(&key("a.txt"), &request).await.unwrap().uri
}

/// Puts an object and reads it.
pub(crate) async fn put(store: &S3Store, name: &str) -> Result<(), StoreError> {
    let outcome = store.put_if_absent(&key(name), payload("text")).await?;
    assert_eq!(outcome, PutOutcome::Created);
    assert_eq!(store.head(&key(name)).await?.size_bytes, 4);
    Ok(())
}

fn address(server: &TestS3) -> SocketAddr {
    server.endpoint().strip_prefix("http://").unwrap().parse().unwrap()
}

#[tokio::test]
async fn endpoint_has_the_order_of_the_aws_sdks() {
    let services = "services = mine\nendpoint_url = http://profile:1\n[services mine]\ns3 =\n  endpoint_url = http://services:1";
    let path = |host: &str| format!("http://test-bucket.{host}/");
    let machine = || Machine::new().profile("endpoint_url = http://profile:1");
    assert_eq!(machine().destination().await, path("profile:1"));
    let machine = || Machine::new().profile(services);
    assert_eq!(machine().destination().await, path("services:1"));
    let machine = || machine().with("AWS_ENDPOINT_URL", "http://global:1");
    assert_eq!(machine().destination().await, path("global:1"));
    let machine = || machine().with("AWS_ENDPOINT_URL_S3", "http://specific:1");
    assert_eq!(machine().destination().await, path("specific:1"));
    let ignoring = machine().with("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    let store = ignoring.store().await;
    assert!(store.warnings()[0].starts_with("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS is set: "));
    assert_eq!(ignoring.destination().await, "https://test-bucket.s3.us-east-1.amazonaws.com/");
    let ignoring = Machine::new()
        .profile("ignore_configured_endpoint_urls = true\nendpoint_url = http://profile:1");
    assert_eq!(ignoring.destination().await, "https://test-bucket.s3.us-east-1.amazonaws.com/");
    // An explicit setting of this server wins. AWS_ENDPOINT_URL is one, but not more than a variable.
    let explicit = S3Settings { endpoint_url: Some("http://flag:1".to_owned()), ..only_bucket() };
    let machine = machine().with("AWS_ACCESS_KEY_ID", "a").with("AWS_SECRET_ACCESS_KEY", "b");
    let store = machine.connect(explicit.clone()).await.unwrap();
    assert!(link(&store).await.starts_with(&path("flag:1")));
    let of_variable = S3Settings { endpoint_url: Some("http://global:1".to_owned()), ..explicit };
    let store = machine.connect(of_variable).await.unwrap();
    assert!(link(&store).await.starts_with(&path("specific:1")));
}

#[tokio::test]
async fn invalid_endpoint_is_an_error_that_names_its_source() {
    for (variable, url) in [
        ("AWS_ENDPOINT_URL_S3", "localhost:9000"),
        ("AWS_ENDPOINT_URL_S3", "http://"),
        ("AWS_ENDPOINT_URL_S3", "http://user:password@localhost:9000"),
        ("AWS_ENDPOINT_URL", "ftp://localhost"),
    ] {
        let error = Machine::new().with(variable, url).connect(only_bucket()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("an http:// or https:// URL with a host"), "{text}");
        assert!(text.contains("environment variable"), "{text}");
    }
    let machine = Machine::new().profile("endpoint_url = nowhere");
    let text = machine.connect(only_bucket()).await.unwrap_err().to_string();
    assert!(text.contains("profile (`default`) key: `endpoint_url`"), "{text}");
}

#[tokio::test]
async fn endpoint_with_a_path_keeps_it() {
    for (url, path) in [
        ("http://a:1", ""),
        ("http://a:1/", ""),
        ("http://a:1/s3", "s3/"),
        ("http://a:1/x/s3/", "x/s3/"),
    ] {
        let machine = Machine::new().with("AWS_ENDPOINT_URL", url);
        let destination = machine.profile("s3 =\n  addressing_style = path").destination().await;
        assert_eq!(destination, format!("http://a:1/{path}test-bucket/"), "{url}");
    }
}

#[tokio::test]
async fn region_is_the_first_that_is_set_and_may_be_any_name() {
    let of = |machine: Machine| async move {
        let machine = machine.with("AWS_ACCESS_KEY_ID", "a").with("AWS_SECRET_ACCESS_KEY", "b");
        let uri = link(&machine.with("AWS_ENDPOINT_URL", "http://a:1").store().await).await;
        let scope = uri.split("X-Amz-Credential=").nth(1).unwrap();
        scope.split("%2F").nth(2).unwrap().to_owned()
    };
    assert_eq!(of(Machine::new()).await, "us-east-1");
    assert_eq!(of(Machine::new().profile("region = eu-central-1")).await, "eu-central-1");
    let machine =
        || Machine::new().profile("region = eu-central-1").with("AWS_DEFAULT_REGION", "RegionOne");
    assert_eq!(of(machine()).await, "RegionOne");
    assert_eq!(of(machine().with("AWS_REGION", "garage")).await, "garage");
    assert_eq!(of(machine().with("AWS_REGION", "")).await, "RegionOne");
    let invalid = Machine::new().with("AWS_DEFAULT_REGION", "not a region");
    let store = invalid.store().await;
    assert!(
        store.warnings()[0].starts_with("AWS_DEFAULT_REGION is not used: "),
        "{:?}",
        store.warnings()
    );
    assert_eq!(of(invalid).await, "us-east-1");
}

#[tokio::test]
async fn object_is_stored_in_a_region_of_any_name() {
    let server = TestS3::start().await;
    for region in ["garage", "default", "eu-isoe-west-1"] {
        let machine = Machine::new().keys(&server).with("AWS_REGION", region);
        let s3 = S3Settings { region: None, ..settings(&server.endpoint(), server.bucket()) };
        put(&machine.connect(s3).await.unwrap(), region).await.unwrap();
    }
}

#[tokio::test]
async fn endpoints_of_aws_have_their_variants_and_others_do_not() {
    let profile = |text: &str| Machine::new().profile(text);
    let variable = |name: &str| Machine::new().with(name, "true");
    for (machine, host) in [
        (variable("AWS_USE_FIPS_ENDPOINT"), "s3-fips.us-east-1"),
        (profile("use_fips_endpoint = true"), "s3-fips.us-east-1"),
        (variable("AWS_USE_DUALSTACK_ENDPOINT"), "s3.dualstack.us-east-1"),
        (profile("use_dualstack_endpoint = true"), "s3.dualstack.us-east-1"),
        (profile("s3 =\n  use_dualstack_endpoint = true"), "s3.dualstack.us-east-1"),
        (profile("s3 =\n  use_accelerate_endpoint = true"), "s3-accelerate"),
        (variable("AWS_DISABLE_REQUEST_COMPRESSION"), "s3.us-east-1"),
    ] {
        let expected = format!("https://test-bucket.{host}.amazonaws.com/");
        let elsewhere =
            Machine { home: tempfile::tempdir().unwrap(), variables: machine.variables.clone() };
        assert_eq!(machine.destination().await, expected);
        let elsewhere = elsewhere.with("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        assert_eq!(elsewhere.destination().await, "http://127.0.0.1:1/test-bucket/");
    }
    let machine = variable("AWS_USE_FIPS_ENDPOINT").with("AWS_ENDPOINT_URL", "http://a:1");
    let store = machine.store().await;
    assert!(store.warnings()[0].starts_with("AWS_USE_FIPS_ENDPOINT, "), "{:?}", store.warnings());
}

#[tokio::test]
async fn private_authorities_are_trusted_and_no_others() {
    let server = TestS3::start().await;
    let front = TlsFront::start(address(&server), &[]).await;
    let s3 = settings(&front.url(), server.bucket());
    let machine = || {
        let machine = Machine::new().keys(&server);
        machine.write("ca.pem", front.authority_pem());
        let path = machine.path("ca.pem").display().to_string();
        (machine, path)
    };
    let (untrusting, _) = machine();
    put(&untrusting.connect(s3.clone()).await.unwrap(), "a").await.unwrap_err();
    for (index, variable) in ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"].into_iter().enumerate() {
        let (machine, path) = machine();
        let store = machine.with(variable, &path).connect(s3.clone()).await.unwrap();
        put(&store, &format!("variable-{index}")).await.unwrap();
    }
    let (trusting, path) = machine();
    let trusting = trusting.profile(&format!("ca_bundle = {path}"));
    put(&trusting.connect(s3.clone()).await.unwrap(), "profile").await.unwrap();
    // The variable replaces the profile, and the bundle replaces the system's authorities.
    let other = TlsFront::start(address(&server), &[]).await;
    trusting.write("other.pem", other.authority_pem());
    let other_path = trusting.path("other.pem").display().to_string();
    let trusting = trusting.with("AWS_CA_BUNDLE", &other_path);
    put(&trusting.connect(s3.clone()).await.unwrap(), "b").await.unwrap_err();
    for path in ["/missing/ca.pem", "/dev/null", "/"] {
        let machine = Machine::new().with("AWS_CA_BUNDLE", path);
        let text = machine.connect(s3.clone()).await.unwrap_err().to_string();
        assert!(text.starts_with("AWS_CA_BUNDLE: ") && text.contains(path), "{text}");
    }
}

#[tokio::test]
async fn requests_pass_the_proxy_of_their_scheme() {
    let server = TestS3::start().await;
    let front = TlsFront::start(address(&server), &[]).await;
    let (plain, secure) =
        (ForwardProxy::start(address(&server)).await, ForwardProxy::start(front.address()).await);
    let with_user = |proxy: &ForwardProxy| proxy.url().replace("http://", "http://user:p%40ss@");
    let machine = || {
        let machine = Machine::new().keys(&server);
        machine.write("ca.pem", front.authority_pem());
        let path = machine.path("ca.pem").display().to_string();
        machine
            .with("AWS_CA_BUNDLE", &path)
            .with("HTTP_PROXY", &with_user(&plain))
            .with("https_proxy", &with_user(&secure))
    };
    let s3 = |url: &str| settings(url, server.bucket());
    put(&machine().connect(s3("http://s3.example.internal:9000")).await.unwrap(), "a")
        .await
        .unwrap();
    put(&machine().connect(s3("https://s3.example.internal")).await.unwrap(), "b").await.unwrap();
    let (plain_seen, secure_seen) = (plain.requests(), secure.requests());
    assert!(
        plain_seen[0].starts_with("PUT http://s3.example.internal:9000/test-bucket/"),
        "{plain_seen:?}"
    );
    assert!(secure_seen[0].starts_with("CONNECT s3.example.internal:443 "), "{secure_seen:?}");
    for request in [&plain_seen[0], &secure_seen[0]] {
        let lower = request.to_lowercase();
        assert!(lower.contains("proxy-authorization: basic dxnlcjpwqhnz"), "{request}");
    }
    // Hosts of NO_PROXY, and without proxies, are connected to directly.
    let direct = machine().with("NO_PROXY", "127.0.0.1,.example.internal");
    put(&direct.connect(s3(&server.endpoint())).await.unwrap(), "c").await.unwrap();
    put(&direct.connect(s3("http://s3.example.internal:9000")).await.unwrap(), "d")
        .await
        .unwrap_err();
    assert_eq!(
        (plain.requests().len(), secure.requests().len()),
        (plain_seen.len(), secure_seen.len())
    );
    // Both spellings, and ALL_PROXY for both schemes.
    for (index, name) in ["http_proxy", "ALL_PROXY", "all_proxy"].into_iter().enumerate() {
        let machine = Machine::new().keys(&server).with(name, &plain.url()).with("HTTP_PROXY", "");
        let store = machine.connect(s3("http://s3.example.internal:9000")).await.unwrap();
        put(&store, &format!("e{index}")).await.unwrap();
    }
    let socks = Machine::new().keys(&server).with("ALL_PROXY", "socks5://user:secret@127.0.0.1:1");
    let store = socks.connect(s3(&server.endpoint())).await.unwrap();
    put(&store, "f").await.unwrap();
    assert_eq!(
        store.warnings(),
        [
            "ALL_PROXY is not used: only proxies with http:// and https:// URLs are supported; connections are direct"
        ]
    );
}

/// The rows of a table in the section "Settings of the AWS SDK".
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let section = SETTINGS_DOCUMENT.split("\n## Settings of the AWS SDK\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows =
        section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| variable"));
    rows.map(|row| row.split('|').skip(1).map(str::trim).collect())
}

/// The names in backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[tokio::test]
async fn settings_that_are_not_used_are_reported_as_the_document_says() {
    let mut reported = 0;
    for row in rows().filter(|row| row[2].starts_with("Not used")) {
        let value = names(row[2]).first().map_or("1", |value| *value);
        for variable in names(row[0]) {
            let store = Machine::new().with(variable, value).store().await;
            let prefix = format!("{variable} is not used: ");
            assert!(store.warnings().iter().any(|line| line.starts_with(&prefix)), "{variable}");
            reported += 1;
        }
        for name in names(row[1]) {
            let machine = match name.strip_prefix("s3.") {
                Some(name) => Machine::new().profile(&format!("s3 =\n  {name} = {value}")),
                None => Machine::new().profile(&format!("{name} = {value}")),
            };
            let prefix = format!("{name} of the AWS profile is not used: ");
            let store = machine.store().await;
            assert!(store.warnings().iter().any(|line| line.starts_with(&prefix)), "{name}");
            reported += 1;
        }
    }
    assert!(reported > 30, "{reported}");
    assert!(Machine::new().store().await.warnings().is_empty());
}

/// Connects with each value and sends a request. Whatever the value is, nothing panics.
async fn try_values(server: Arc<TestS3>, base: fn(&str, &str) -> Machine, name: &'static str) {
    let s3 = || settings(&server.endpoint(), server.bucket());
    // Empty: as without it.
    let machine = base(name, "").keys(&server);
    let store = machine.connect(s3()).await.unwrap();
    put(&store, "empty").await.unwrap_or_else(|error| panic!("{name}: {error}"));
    for value in ["-1.5", "http://[ \u{1f600}"] {
        // Without keys, the other providers run.
        let needs_no_keys =
            ["CONTAINER", "ROLE", "TOKEN", "METADATA"].iter().any(|part| name.contains(part));
        let machine = match needs_no_keys {
            true => base(name, value),
            false => base(name, value).keys(&server),
        };
        match machine.connect(s3()).await {
            Ok(store) => {
                let any = key("any");
                let _ = tokio::time::timeout(Duration::from_millis(200), store.head(&any)).await;
            }
            Err(_) => assert!(
                name.to_uppercase().contains("CA_BUNDLE") || name.starts_with("AWS_ENDPOINT_URL"),
                "{name}"
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_any_setting_panics_and_empty_ones_are_unset() {
    fn variable(name: &str, value: &str) -> Machine {
        Machine::new().with(name, value)
    }
    fn of_profile(name: &str, value: &str) -> Machine {
        Machine::new().profile(&match name.strip_prefix("s3.") {
            Some(name) => format!("s3 =\n  {name} = {value}"),
            None => format!("{name} = {value}"),
        })
    }
    let server = Arc::new(TestS3::start().await);
    let mut tries = tokio::task::JoinSet::new();
    for row in rows() {
        for name in names(row[0]) {
            tries.spawn(try_values(server.clone(), variable, name));
        }
        for name in names(row[1]) {
            tries.spawn(try_values(server.clone(), of_profile, name));
        }
    }
    assert!(tries.len() > 100, "{}", tries.len());
    tries.join_all().await;
}

#[tokio::test]
async fn retry_settings_of_other_programs_do_not_matter() {
    let server = TestS3::start().await;
    let s3 = settings(&server.endpoint(), server.bucket());
    let values = ["standard", "adaptive", "legacy", "LEGACY", "0", "5.0", "abc", ""];
    let mut number = 0;
    for value in values {
        let key = |name: &str| format!("{name} = {value}");
        for machine in [
            Machine::new().with("AWS_RETRY_MODE", value),
            Machine::new().with("AWS_MAX_ATTEMPTS", value),
            Machine::new().with("AWS_DEFAULTS_MODE", value),
            Machine::new().profile(&key("retry_mode")),
            Machine::new().profile(&key("max_attempts")),
        ] {
            number += 1;
            let store = machine.keys(&server).connect(s3.clone()).await.unwrap();
            put(&store, &number.to_string()).await.unwrap();
        }
    }
    assert_eq!(server.requests_of(Operation::PutObject).len(), number, "one attempt each");
}

#[tokio::test]
async fn checksums_are_sent_for_every_value_of_the_sdk_setting() {
    let server = TestS3::start().await;
    let s3 = settings(&server.endpoint(), server.bucket());
    for (index, value) in
        ["when_required", "when_supported", "WHEN_REQUIRED", "other"].into_iter().enumerate()
    {
        let machine = Machine::new()
            .keys(&server)
            .with("AWS_REQUEST_CHECKSUM_CALCULATION", value)
            .with("AWS_RESPONSE_CHECKSUM_VALIDATION", value);
        put(&machine.connect(s3.clone()).await.unwrap(), &index.to_string()).await.unwrap();
    }
    for request in server.requests_of(Operation::PutObject) {
        assert!(request.headers.contains_key("x-amz-checksum-sha256"));
    }
}

#[tokio::test]
async fn profile_is_selected_and_a_missing_or_broken_one_is_reported() {
    let server = TestS3::start().await;
    let s3 = settings(&server.endpoint(), server.bucket());
    let text = format!(
        "[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n[other]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        server.access_key(),
        server.secret_key()
    );
    for (index, variable) in ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].into_iter().enumerate() {
        let machine = Machine::new().with(variable, "other");
        machine.write(".aws/credentials", &text);
        put(&machine.connect(s3.clone()).await.unwrap(), &index.to_string()).await.unwrap();
    }
    let missing = Machine::new().with("AWS_PROFILE", "missing").keys(&server);
    let store = missing.connect(s3.clone()).await.unwrap();
    assert!(store.warnings()[0].contains("the profile \"missing\""), "{:?}", store.warnings());
    put(&store, "missing").await.unwrap();
    let broken = Machine::new().keys(&server);
    broken.write(".aws/config", "[default\naws_secret_access_key = hidden\n");
    let store = broken.connect(s3.clone()).await.unwrap();
    let warning = &store.warnings()[0];
    assert!(warning.contains("malformed") && warning.contains("line 1"), "{warning}");
    assert!(!warning.contains("hidden"), "{warning}");
    put(&store, "broken").await.unwrap();
}

//! The Rust client in the scenarios that every client must pass (`clients/scenarios.json`), over gRPC and over
//! gRPC-Web on HTTP/1.1. `clients/README.md` defines each step.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::TryStreamExt as _;
use serde_json::{Map, Value, json};
use tara_export_client::{
    Client, ClientError, ConnectOptions, FollowPolicy, Protocol, Token,
    proto::{
        BatchCounts, BatchStartExportsRequest, Destination, Document, Export, ListEventsRequest,
        ListExportsRequest, RetryEventsRequest, StartExportRequest,
        document::{Kind, Source},
        event,
        export::State,
        export_event::Event,
        watch_batch_response::Event as BatchEvent,
    },
    request_from_json,
};
use tara_export_digest::Sha256;
use tara_export_test_support::World;
use tokio::time::{Instant, timeout};

use crate::{
    authorities::{Authority, file},
    http_server::HttpServer,
};

/// Longer than any scenario takes. One that hangs fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(120);

fn scenarios() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/scenarios.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A document of this size as the scenarios define it.
fn content(size_bytes: u64) -> Vec<u8> {
    (0..size_bytes).map(|offset| u8::try_from(offset * 31 % 251).unwrap()).collect()
}

struct Run<'a> {
    world: World,
    client: Client,
    defaults: &'a Value,
    exports: HashMap<String, Export>,
    /// Tokens, which must not be in any text.
    secrets: Vec<String>,
}

/// The results of a step, by the names of its expectations.
type Found = Map<String, Value>;

impl Run<'_> {
    async fn world(&mut self, command: &str) {
        self.world.run_command(command).await.unwrap();
    }

    fn name(&self, step: &Value) -> String {
        match step["of"].as_str() {
            Some(key) => self.exports[key].name.clone(),
            None => step["name"].as_str().unwrap().to_owned(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.folder().join(name)
    }

    async fn request(&self, step: &Value) -> Result<StartExportRequest, ClientError> {
        let of = |key: &str| if step[key].is_null() { &self.defaults[key] } else { &step[key] };
        let review = json!({
            "review": of("review"),
            "requestId": step["request_id"],
            "notifyEmails": step["notify_emails"],
        });
        let mut request = request_from_json(review.to_string()).unwrap();
        for document in of("documents").as_array().unwrap() {
            let file_name = document["file_name"].as_str().unwrap().to_owned();
            let source = match document["size_bytes"].as_u64() {
                None => Source::Content(document["text"].as_str().unwrap().to_owned().into()),
                Some(size_bytes) => {
                    let path = self.file(&file_name);
                    std::fs::write(&path, content(size_bytes)).unwrap();
                    Source::Upload(self.client.upload_file(&path, |_| {}).await?.name)
                }
            };
            request.documents.push(Document {
                kind: Kind::from_str_name(document["kind"].as_str().unwrap()).unwrap().into(),
                file_name,
                source: Some(source),
                ..Document::default()
            });
        }
        Ok(request)
    }

    async fn export(&mut self, step: &Value) -> Result<Found, ClientError> {
        let request = self.request(step).await?;
        let mut events = self.client.export(request);
        let (mut found, mut last) = (Found::new(), BTreeMap::<String, i64>::new());
        while let Some(event) = events.try_next().await? {
            let previous = last.entry(event.run_id.clone()).or_default();
            match event.event.unwrap() {
                // They repeat earlier sequence numbers and can overtake queued events.
                Event::ArtifactProgress(_) | Event::Heartbeat(_) => continue,
                Event::Completed(completed) => {
                    let export = completed.export.unwrap();
                    self.exports.insert(step["as"].as_str().unwrap().to_owned(), export.clone());
                    found.extend(values(&export));
                    continue;
                }
                Event::Accepted(accepted) if !accepted.resumed => {
                    for command in step["when_accepted"].as_array().into_iter().flatten() {
                        self.world(command.as_str().unwrap()).await;
                    }
                }
                Event::FellBack(fell_back) => {
                    found.insert("fell_back".to_owned(), fell_back.reason.into());
                }
                _ => {}
            }
            assert!(event.sequence > *previous, "{} after {previous}", event.sequence);
            *previous = event.sequence;
        }
        Ok(found)
    }

    /// Exports a batch, and counts the results by state.
    async fn batch(&self, step: &Value) -> Result<Found, ClientError> {
        let mut requests = Vec::new();
        for item in step["items"].as_array().unwrap() {
            requests.push(self.request(item).await?);
        }
        let batch_id = step["batch_id"].as_str().unwrap_or_default().to_owned();
        let mut results = self.client.export_batch(BatchStartExportsRequest { batch_id, requests });
        let (mut seen, mut counts) = (0, BatchCounts::default());
        while let Some(step) = results.try_next().await? {
            match step.event.unwrap() {
                BatchEvent::Item(_) => seen += 1,
                BatchEvent::Ended(batch) => counts = batch.counts.unwrap(),
                BatchEvent::Heartbeat(_) => {}
            }
        }
        assert_eq!(seen, counts.total);
        let batch = self.client.get_batch(results.name()).await?;
        assert_eq!(batch.counts, Some(counts));
        let found = json!({ "committed": counts.committed, "refused": counts.refused });
        Ok(found.as_object().unwrap().clone())
    }

    async fn take(&mut self, verb: &str, step: &Value) -> Result<Found, ClientError> {
        let found = match verb {
            "export" => return self.export(step).await,
            "batch" => return self.batch(step).await,
            "get" => return Ok(values(&self.client.get_export(self.name(step)).await?)),
            "list" => {
                let request = ListExportsRequest {
                    filter: step["filter"].as_str().unwrap().to_owned(),
                    page_size: i32::try_from(step["page_size"].as_i64().unwrap()).unwrap(),
                    ..ListExportsRequest::default()
                };
                let exports: Vec<Export> = self.client.list_exports(request).try_collect().await?;
                let keys: Vec<_> = exports.iter().map(|export| self.key_of(&export.name)).collect();
                json!({ "exports": keys })
            }
            "targets" | "test_target" | "events" | "retry_events" => {
                self.notifications(verb, step).await?
            }
            "download" => {
                let path = self.file("downloaded");
                let mut file = tokio::fs::File::create(&path).await.unwrap();
                let file_path = step["path"].as_str().unwrap();
                self.client.download_artifact(self.name(step), file_path, &mut file).await?;
                json!({ "sha256": Sha256::of(&std::fs::read(path).unwrap()).to_string() })
            }
            "bundle" => {
                let path = self.file("bundle.zip");
                let mut file = tokio::fs::File::create(&path).await.unwrap();
                self.client.download_bundle(self.name(step), &mut file).await?;
                let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
                for index in 0..archive.len() {
                    // Reading to the end checks its CRC-32.
                    let mut entry = archive.by_index(index).unwrap();
                    std::io::copy(&mut entry, &mut std::io::sink()).unwrap();
                }
                json!({ "files": archive.len() })
            }
            other => panic!("no such step: {other}"),
        };
        Ok(found.as_object().unwrap().clone())
    }

    /// The name of an export in the steps.
    fn key_of(&self, name: &str) -> Option<String> {
        self.exports.iter().find(|(_, one)| one.name == name).map(|(key, _)| key.clone())
    }

    async fn notifications(&self, verb: &str, step: &Value) -> Result<Value, ClientError> {
        let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        Ok(match verb {
            "targets" => {
                let targets = self.client.list_targets().await?.targets;
                let names: Vec<_> = targets.into_iter().map(|target| target.name).collect();
                json!({ "targets": names })
            }
            "test_target" => {
                let response = self.client.test_target(text("target")).await?;
                json!({ "delivered": response.delivered })
            }
            "events" => {
                let state = step["state"].as_str().unwrap_or("STATE_UNSPECIFIED");
                let request = ListEventsRequest {
                    state: event::State::from_str_name(state).unwrap().into(),
                    target: text("target"),
                    page_size: i32::try_from(step["page_size"].as_i64().unwrap()).unwrap(),
                    ..ListEventsRequest::default()
                };
                let events: Vec<_> = self.client.list_events(request).try_collect().await?;
                let keys: Vec<_> = events.iter().map(|event| self.key_of(&event.export)).collect();
                json!({ "events": keys })
            }
            _ => {
                let event_ids = step["event_ids"].as_array().into_iter().flatten();
                let request = RetryEventsRequest {
                    event_ids: event_ids.map(|id| id.as_str().unwrap().to_owned()).collect(),
                    all_dead: step["all_dead"] == true,
                    ..RetryEventsRequest::default()
                };
                let response = self.client.retry_events(request).await?;
                json!({
                    "event_count": response.event_count,
                    "missing_event_ids": response.missing_event_ids,
                })
            }
        })
    }

    async fn step(&mut self, step: &Value) {
        if let Some(command) = step["world"].as_str() {
            return self.world(command).await;
        }
        let mut entries = step.as_object().unwrap().iter();
        let (verb, details) =
            entries.find(|(key, _)| !["expect", "until"].contains(&key.as_str())).unwrap();
        if let Some(until) = step["until"].as_object() {
            let started = Instant::now();
            loop {
                let found = self.take(verb, details).await.unwrap();
                if self.matches(&found, until) {
                    return;
                }
                assert!(started.elapsed() < TEST_TIMEOUT, "{step}: {found:?}");
            }
        }
        let expected = step["expect"].as_object().unwrap();
        let found = match self.take(verb, details).await {
            Ok(found) => found,
            Err(error) => {
                self.check_secrets(&format!("{error} {error:?}"));
                refusal(&error)
            }
        };
        assert!(self.matches(&found, expected), "found {found:?} in {step}");
    }

    fn check_secrets(&self, text: &str) {
        for secret in &self.secrets {
            assert!(!text.contains(secret.as_str()), "a token is in {text}");
        }
    }

    fn matches(&self, found: &Found, expected: &Found) -> bool {
        expected.iter().all(|(key, value)| match key.as_str() {
            "same_as" => {
                let other = values(&self.exports[value.as_str().unwrap()]);
                ["name", "manifest_sha256"].iter().all(|key| found.get(*key) == other.get(*key))
            }
            "sha256_of_size_bytes" => {
                let sha256 = Sha256::of(&content(value.as_u64().unwrap()));
                found.get("sha256") == Some(&sha256.to_string().into())
            }
            _ => found.get(key) == Some(value),
        })
    }
}

fn values(export: &Export) -> Found {
    let values = json!({
    "name": export.name,
        "state": State::try_from(export.state).unwrap().as_str_name(),
        "stored_in": Destination::try_from(export.stored_in).unwrap().as_str_name(),
        "artifact_count": export.artifact_count,
        "document_name": export.document_name,
        "reviewer": export.reviewer,
        "manifest_sha256": export.manifest_sha256,
    });
    values.as_object().unwrap().clone()
}

fn refusal(error: &ClientError) -> Found {
    if let ClientError::Token(source) = error {
        return json!({ "token_error": source.to_string() }).as_object().unwrap().clone();
    }
    let rejection = error.rejection().unwrap_or_else(|| panic!("{error}"));
    let fields: Vec<&str> =
        rejection.field_violations.iter().map(|violation| violation.field.as_str()).collect();
    // The name of the code in gRPC's notation: INVALID_ARGUMENT.
    let code = format!("{:?}", rejection.code);
    let mut name = String::new();
    for letter in code.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    let refusal = json!({ "code": name, "reason": rejection.reason, "fields": fields });
    refusal.as_object().unwrap().clone()
}

/// The variables of the server of a scenario.
fn server_environment(
    server: &Value,
    authority: &Authority,
    folder: &Path,
    receiver: SocketAddr,
) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    let mut add = |name: &str, path: PathBuf| {
        environment.push((name.to_owned(), path.display().to_string()));
    };
    if let Some(tokens) = server["tokens"].as_array() {
        let tokens: Vec<Value> = tokens
            .iter()
            .enumerate()
            .map(|(index, token)| {
                let sha256 = Sha256::of(token["token"].as_str().unwrap().as_bytes()).to_string();
                json!({ "name": format!("caller{index}"), "roles": token["roles"], "sha256": sha256 })
            })
            .collect();
        add(
            "AUTH_TOKENS_FILE",
            file(folder, "tokens.json", &json!({ "tokens": tokens }).to_string()),
        );
    }
    if server["tls"] == true || server["mutual_tls"] == true {
        authority.server().write(folder);
        add("TLS_CERT_FILE", folder.join("cert.pem"));
        add("TLS_KEY_FILE", folder.join("key.pem"));
    }
    if server["mutual_tls"] == true {
        add("TLS_CLIENT_CA_FILE", file(folder, "ca.pem", &authority.pem));
    }
    if !server["notify"].is_null() {
        // `whsec_` and 32 bytes.
        file(folder, "secret", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let text = server["notify"].to_string().replace("RECEIVER", &receiver.to_string());
        add("NOTIFY_FILE", file(folder, "notify.json", &text));
    }
    if let Some(domains) = server["notify_recipients"].as_str() {
        environment.push(("NOTIFY_RECIPIENTS".to_owned(), domains.to_owned()));
    }
    environment
}

/// The options of the client of a scenario, and its tokens.
fn client_options(client: &Value, authority: &Authority) -> (ConnectOptions, Vec<String>) {
    let mut options =
        if client["ca"] == true { authority.trust() } else { ConnectOptions::default() };
    if client["certificate"] == true {
        options.identity = Some(authority.client("spiffe://example.com/client").identity());
    }
    let mut secrets = Vec::new();
    if let Some(token) = client["token"].as_str() {
        options.token = Some(Token::new(token).unwrap());
        secrets.push(token.to_owned());
    }
    if let Some(tokens) = client["tokens"].as_array() {
        secrets.extend(tokens.iter().map(|token| token.as_str().unwrap().to_owned()));
        let (tokens, calls) = (secrets.clone(), AtomicUsize::new(0));
        options.token = Some(Token::from_fn(move || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            let token = tokens[call.min(tokens.len() - 1)].clone();
            async { Ok(token) }
        }));
    }
    if let Some(message) = client["token_error"].as_str().map(ToOwned::to_owned) {
        options.token = Some(Token::from_fn(move || {
            let message = message.clone();
            async { Err(message.into()) }
        }));
    }
    (options, secrets)
}

async fn all_scenarios(protocol: Protocol) {
    let file = scenarios();
    let receiver = HttpServer::start(&json!({ "status": 204 })).await;
    for scenario in file["scenarios"].as_array().unwrap() {
        let name = scenario["name"].as_str().unwrap();
        println!("{name}");
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("test authority");
        let environment =
            server_environment(&scenario["server"], &authority, folder.path(), receiver.address);
        let binary = Path::new(env!("CARGO_BIN_EXE_tara-export"));
        let world = World::start_with(binary, &environment).await.unwrap();
        let mut address = match protocol {
            Protocol::Grpc => world.grpc(),
            Protocol::GrpcWeb => world.http1(),
        };
        if scenario["server"]["tls"] == true || scenario["server"]["mutual_tls"] == true {
            address = format!("https://{address}");
        }
        let (options, secrets) = client_options(&scenario["client"], &authority);
        let options = ConnectOptions { protocol, ..options };
        let client = Client::connect_with(&address, options).await.unwrap();
        let client = client.with_follow_policy(FollowPolicy {
            min_delay: Duration::from_millis(10),
            ..FollowPolicy::default()
        });
        let (defaults, exports) = (&file["request"], HashMap::new());
        let mut run = Run { world, client, defaults, exports, secrets };
        run.check_secrets(&format!("{:?}", run.client));
        let steps = async {
            for step in scenario["steps"].as_array().unwrap() {
                run.step(step).await;
            }
        };
        timeout(TEST_TIMEOUT, steps).await.unwrap_or_else(|_| panic!("{name:?} hangs"));
        run.world.shut_down().await.unwrap();
    }
}

#[tokio::test]
async fn scenarios_pass_over_grpc() {
    all_scenarios(Protocol::Grpc).await;
}

#[tokio::test]
async fn scenarios_pass_over_grpc_web_on_http_1() {
    all_scenarios(Protocol::GrpcWeb).await;
}

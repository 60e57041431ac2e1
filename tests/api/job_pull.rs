//! Jobs of the kind `pull`: they export the sessions of a source, page by page, and survive what sources do.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State as Shared},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tara_export_client::proto::{ListExportsRequest, StartExportRequest, job_run::State};
use tara_export_test_support::{Fault, FaultRule, Operation, TestS3};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    harness::{Client, Host, TestServer, s3::store_of, until},
    jobs::{run_job, with_jobs},
    requests::request,
    webhooks::automation,
};

/// What a source was asked.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    after: DateTime<Utc>,
    limit: usize,
    authorization: Option<String>,
}

enum Reply {
    Page(Value),
    Raw(Response),
    Hang,
}

type Script = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

struct Inner {
    asked: Mutex<Vec<Asked>>,
    script: Mutex<Arc<Script>>,
}

/// A review application that answers as its script says, which gets the number of the request.
struct Source {
    address: SocketAddr,
    inner: Arc<Inner>,
    serving: JoinHandle<()>,
}

async fn answer(Shared(inner): Shared<Arc<Inner>>, request: Request) -> Response {
    let query = request.uri().query().unwrap();
    let (after, limit) =
        query.strip_prefix("completed_after=").unwrap().split_once("&limit=").unwrap();
    let header = request.headers().get(header::AUTHORIZATION);
    let asked = Asked {
        path: request.uri().path().to_owned(),
        after: after.parse().unwrap(),
        limit: limit.parse().unwrap(),
        authorization: header.map(|value| value.to_str().unwrap().to_owned()),
    };
    let number = {
        let mut all = inner.asked.lock().unwrap();
        all.push(asked.clone());
        all.len()
    };
    let script = inner.script.lock().unwrap().clone();
    match script(&asked, number) {
        Reply::Page(page) => {
            ([(header::CONTENT_TYPE, "application/json")], page.to_string()).into_response()
        }
        Reply::Raw(response) => response,
        Reply::Hang => pending().await,
    }
}

impl Source {
    async fn start(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Script> = Arc::new(script);
        let inner = Arc::new(Inner { asked: Mutex::default(), script: Mutex::new(script) });
        let router = Router::new().fallback(answer).with_state(inner.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, inner, serving }
    }

    fn answer_by(&self, script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) {
        *self.inner.script.lock().unwrap() = Arc::new(script);
    }

    fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.inner.asked.lock().unwrap())
    }

    fn asked_count(&self) -> usize {
        self.inner.asked.lock().unwrap().len()
    }

    /// A job that pulls from a path of this source.
    fn job(&self, name: &str, more: Value) -> Value {
        let mut job = json!({
            "name": name, "kind": "pull", "url": format!("http://{}/{name}", self.address),
            "private_network": true, "limit": 5,
        });
        for (field, value) in more.as_object().unwrap() {
            job[field] = value.clone();
        }
        job
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The time at which a session was completed: one a minute, before the clock of the tests.
fn completed(number: usize) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2026-11-22T18:00:00Z".parse().unwrap();
    first + TimeDelta::minutes(number.try_into().unwrap())
}

/// The request of a session, without an id.
fn session(number: usize) -> Value {
    let mut request = StartExportRequest {
        request_id: String::new(),
        ..request(1, &format!("report {number}.docx"))
    };
    request.review.as_mut().unwrap().session_id = format!("session-{number}");
    serde_json::from_str(&tara_export_client::to_json(&request)).unwrap()
}

/// A page as the contract has it, of sessions 1 to this number.
fn page(asked: &Asked, count: usize) -> Reply {
    let numbers: Vec<usize> =
        (1..=count).filter(|number| completed(*number) >= asked.after).take(asked.limit).collect();
    let requests: Vec<Value> = numbers.iter().map(|number| session(*number)).collect();
    let cursor = numbers.last().map(|number| completed(*number).to_rfc3339());
    Reply::Page(json!({"requests": requests, "cursor": cursor}))
}

async fn export_count(client: &mut Client) -> usize {
    let request = ListExportsRequest { page_size: 1_000, ..Default::default() };
    client.list_exports(request).await.unwrap().into_inner().exports.len()
}

fn reports(s3: &TestS3) -> usize {
    s3.objects().keys().filter(|key| key.ends_with("/report.json")).count()
}

#[tokio::test]
async fn sessions_are_exported_page_by_page_and_an_overlap_makes_no_duplicates() {
    let s3 = TestS3::start().await;
    let source = Source::start(|asked, _| page(asked, 12)).await;
    let host = Host::with_s3(store_of(&s3));
    std::fs::create_dir_all(host.data_dir()).unwrap();
    std::fs::write(host.data_dir().parent().unwrap().join("token"), "s3cret\n").unwrap();
    let job = source.job("sessions", json!({"token_file": "token"}));
    let host = with_jobs(host, &json!([job]));
    let mut server = host.start().await;
    let run = run_job(&server, "sessions").await.unwrap();
    assert_eq!(run.state(), State::Succeeded, "{run:?}");
    // A page starts with the last session of the one before.
    assert_eq!(
        run.message,
        "14 sessions on 3 pages: 14 stored, 0 fell back, 0 refused, 0 failed; cursor 2026-11-22T18:12:00Z"
    );
    assert_eq!(export_count(&mut server.client).await, 12);
    assert_eq!(reports(&s3), 3);
    let asked = source.take_asked();
    let afters: Vec<DateTime<Utc>> = asked.iter().map(|asked| asked.after).collect();
    assert_eq!(afters, [DateTime::UNIX_EPOCH, completed(5), completed(9)]);
    for asked in &asked {
        assert_eq!((asked.path.as_str(), asked.limit), ("/sessions", 5));
        assert_eq!(asked.authorization.as_deref(), Some("Bearer s3cret"));
    }

    // After a restart, the next run starts an hour before the cursor: the same sessions, exports and batches.
    server.stop().await;
    let mut server = host.start().await;
    let run = run_job(&server, "sessions").await.unwrap();
    assert!(run.message.starts_with("14 sessions on 3 pages: 14 stored"), "{run:?}");
    assert_eq!(source.take_asked()[0].after, completed(12) - TimeDelta::hours(1));
    assert_eq!(export_count(&mut server.client).await, 12);
    assert_eq!(reports(&s3), 3);
    // One more session.
    source.answer_by(|asked, _| page(asked, 13));
    let run = run_job(&server, "sessions").await.unwrap();
    assert!(run.message.ends_with("cursor 2026-11-22T18:13:00Z"), "{run:?}");
    assert_eq!(export_count(&mut server.client).await, 13);
    server.stop().await;
}

#[tokio::test]
async fn run_that_is_lost_between_pages_is_continued_from_its_cursor() {
    let s3 = TestS3::start().await;
    let source = Source::start(|asked, number| match number {
        1 => page(asked, 12),
        _ => Reply::Hang,
    })
    .await;
    let host = Host::with_s3(store_of(&s3)).flags(&["--shutdown-timeout=0s"]);
    let job = source.job("sessions", json!({"overlap": "1m", "max_run": "10m"}));
    let host = with_jobs(host, &json!([job]));
    let server = host.start().await;
    // Its end is never written.
    let unwritten = s3.fail(
        FaultRule::new(Fault::SERVICE_UNAVAILABLE).on(Operation::PutObject).key_ends_with(".done"),
    );
    let mut caller = automation(&server).await;
    let running = tokio::spawn(async move {
        let request =
            tara_export_client::proto::RunJobRequest { job: "sessions".to_owned(), number: 0 };
        drop(caller.run_job(request).await);
    });
    until("the second page is asked for", || source.asked_count() == 2).await;
    running.abort();
    server.stop().await;
    s3.clear_fault(unwritten);
    source.answer_by(|asked, _| page(asked, 12));
    source.take_asked();
    host.clock.advance(TimeDelta::hours(2));
    let mut server = host.start().await;
    let run = run_job(&server, "sessions").await.unwrap();
    assert_eq!((run.number, run.state()), (2, State::Succeeded), "{run:?}");
    assert_eq!(source.take_asked()[0].after, completed(5) - TimeDelta::minutes(1));
    assert_eq!(export_count(&mut server.client).await, 12);
    server.stop().await;
}

#[tokio::test]
async fn bad_session_is_reported_and_stops_no_other() {
    let source = Source::start(|asked, _| {
        let mut page = json!({"cursor": completed(5).to_rfc3339()});
        let mut nothing = session(3);
        nothing.as_object_mut().unwrap().remove("documents");
        nothing["review"] = json!({"sessionId": "session-3"});
        let mut nameless = session(4);
        nameless["review"]["sessionId"] = json!("");
        let wrong_type = json!({"review": {"documentName": 5}});
        page["requests"] = json!([wrong_type, session(1), nothing, nameless, session(1)]);
        match asked.after < completed(5) {
            true => Reply::Page(page),
            false => Reply::Page(json!({"requests": []})),
        }
    })
    .await;
    let host = with_jobs(Host::new(), &json!([source.job("sessions", json!({"limit": 6}))]));
    let mut server = host.start().await;
    let run = run_job(&server, "sessions").await.unwrap();
    assert_eq!(run.state(), State::Failed);
    for part in [
        "5 sessions on 1 page: 1 stored, 0 fell back, 4 refused, 0 failed; cursor 2026-11-22T18:05:00Z",
        "page 1, requests[0]: review.document_name: ",
        " at line 1 column ",
        "page 1, requests[2]: review.document_name: is required: 1 to 2048 bytes, documents: nothing to export",
        "requests[3]: request_id: is required, because review.session_id is empty",
        "requests[4]: its id is that of requests[1] as well",
    ] {
        assert!(run.message.contains(part), "{part}: {}", run.message);
    }
    assert_eq!(export_count(&mut server.client).await, 1);
    // The cursor has advanced.
    source.take_asked();
    run_job(&server, "sessions").await.unwrap();
    assert_eq!(source.take_asked()[0].after, completed(5) - TimeDelta::hours(1));
    server.stop().await;
}

#[tokio::test]
async fn session_that_changed_is_refused_in_each_run_until_it_is_the_same_again() {
    let source = Source::start(|asked, _| page(asked, 1)).await;
    let host = with_jobs(Host::new(), &json!([source.job("sessions", json!({}))]));
    let mut server = host.start().await;
    assert_eq!(run_job(&server, "sessions").await.unwrap().state(), State::Succeeded);
    source.answer_by(|_, _| {
        let mut changed = session(1);
        changed["review"]["reviewer"] = json!("Grace");
        Reply::Page(json!({"requests": [changed], "cursor": completed(1).to_rfc3339()}))
    });
    for _ in 0..2 {
        host.clock.advance(TimeDelta::minutes(1));
        let run = run_job(&server, "sessions").await.unwrap();
        assert_eq!(run.state(), State::Failed, "{run:?}");
        assert!(run.message.contains("(session \"session-1\", exports/"), "{run:?}");
        assert!(run.message.contains("REQUEST_ID_REUSED"), "{run:?}");
    }
    source.answer_by(|asked, _| page(asked, 1));
    assert_eq!(run_job(&server, "sessions").await.unwrap().state(), State::Succeeded);
    assert_eq!(export_count(&mut server.client).await, 1);
    server.stop().await;
}

fn raw(status: u16, content_type: &str, body: &str) -> Reply {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, content_type);
    Reply::Raw(response.body(Body::from(body.to_owned())).unwrap())
}

/// A full page with this cursor.
fn full(cursor: &str) -> Reply {
    let requests: Vec<Value> = (1..=5).map(session).collect();
    Reply::Page(json!({"requests": requests, "cursor": cursor}))
}

fn hostile(asked: &Asked) -> Reply {
    let json = "application/json";
    match asked.path.as_str() {
        "/token" => raw(401, json, "{}"),
        "/forbidden" => raw(403, json, "{}"),
        "/missing" => raw(404, "text/html", ""),
        "/broken" => raw(503, json, "{}"),
        "/redirect" => {
            let response = Response::builder().status(StatusCode::FOUND);
            let response = response.header(header::LOCATION, "/sessions").body(Body::empty());
            Reply::Raw(response.unwrap())
        }
        "/html" => raw(200, "text/html; charset=utf-8", "<html>"),
        "/text" => raw(200, json, "{\"requests\": [\n  {},,"),
        "/empty" => raw(200, json, ""),
        "/huge" => {
            let chunk = || Ok::<_, std::io::Error>(vec![b' '; 16 * 1024]);
            let endless = Body::from_stream(stream::repeat_with(chunk));
            let response = Response::builder().header(header::CONTENT_TYPE, json);
            Reply::Raw(response.body(endless).unwrap())
        }
        "/slow" => Reply::Hang,
        "/many" => {
            let requests: Vec<Value> = (1..=6).map(session).collect();
            Reply::Page(json!({"requests": requests, "cursor": "2026-11-22T18:05:00Z"}))
        }
        "/backwards" if asked.after == DateTime::UNIX_EPOCH => full("2026-11-22T18:05:00Z"),
        "/backwards" => full("2026-11-22T18:04:00Z"),
        "/endless" => full("2026-11-22T18:05:00Z"),
        "/future" => full("2026-12-22T18:05:00Z"),
        "/nocursor" => Reply::Page(json!({"requests": [session(1)]})),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn hostile_sources_fail_the_run_with_a_message_that_says_what_to_do() {
    let source = Source::start(|asked, _| hostile(asked)).await;
    let cases = [
        ("token", "status 401: the source refused the token: check \"token_file\""),
        ("forbidden", "status 403: the source refused the token: check \"token_file\""),
        ("missing", "status 404: this is not the source of the contract: check \"url\""),
        ("broken", "status 503: the source failed"),
        ("redirect", "status 302: redirects are not followed: set \"url\""),
        ("html", "content type \"text/html\" instead of application/json: check \"url\""),
        (
            "text",
            "page 1 (completed_after 1970-01-01T00:00:00Z): the page is not valid: expected value at line 2 column 6",
        ),
        ("empty", "the page is not valid: EOF while parsing a value at line 1 column 0"),
        ("huge", "the page has more than 262144 bytes (MAX_REQUEST_SIZE): lower \"limit\""),
        ("slow", "no complete response within 1s: check \"url\""),
        ("many", "requests: has 6 elements, but \"limit\" is 5"),
        ("backwards", "it must not go backwards (5 sessions on 1 page"),
        (
            "endless",
            "its cursor does not advance: more than 5 sessions have this time. Raise \"limit\"",
        ),
        ("future", "is more than 1 hour after the time of this server"),
        ("nocursor", "cursor: is missing"),
    ];
    let jobs: Vec<Value> =
        cases.iter().map(|(name, _)| source.job(name, json!({"timeout": "1s"}))).collect();
    let host = with_jobs(Host::new().flags(&["--max-request-size=256KiB"]), &json!(jobs));
    let server = host.start().await;
    for (name, part) in cases {
        let run = run_job(&server, name).await.unwrap();
        assert_eq!(run.state(), State::Failed, "{name}: {run:?}");
        assert!(run.message.contains(part), "{name}: {}", run.message);
        assert!(run.message.len() < 1_000, "{name}: {}", run.message);
    }
    server.stop().await;
}

#[tokio::test]
async fn source_that_does_not_listen_fails_the_run() {
    let source = Source::start(|asked, _| page(asked, 0)).await;
    let job = source.job("sessions", json!({}));
    let host = with_jobs(Host::new(), &json!([job]));
    let server = host.start().await;
    assert_eq!(run_job(&server, "sessions").await.unwrap().state(), State::Succeeded);
    drop(source);
    let failed = async |server: &TestServer| {
        let run = run_job(server, "sessions").await.unwrap();
        (run.state(), run.message)
    };
    let (state, message) = failed(&server).await;
    assert_eq!(state, State::Failed);
    assert!(message.contains("127.0.0.1: "), "{message}");
    assert!(
        message.contains("check \"url\", and whether the review application runs"),
        "{message}"
    );
    server.stop().await;
}

#[tokio::test]
async fn wrong_sources_are_faults_of_the_file() {
    let pull = |fields: Value| {
        let mut job = json!({"name": "a", "kind": "pull"});
        for (field, value) in fields.as_object().unwrap() {
            job[field] = value.clone();
        }
        json!([job])
    };
    for (fields, part) in [
        (json!({"url": "http://example.com/"}), "jobs[0].url: must be an https:// URL"),
        (json!({"url": "http://127.0.0.1/"}), "needs \"private_network\": true"),
        (json!({"url": "https://10.0.0.1/"}), "private ones need \"private_network\": true"),
        (
            json!({"url": "https://169.254.169.254/", "private_network": true}),
            "jobs[0].url: must not be the URL of an address that is never allowed",
        ),
        (json!({"url": "https://a:b@example.com/"}), "must not contain a user name"),
        (json!({"url": "https://example.com/?a=b"}), "must have no query and no fragment"),
        (json!({"url": "https://example.com/#a"}), "must have no query and no fragment"),
        (
            json!({"url": "https://example.com/", "token_file": "missing"}),
            "jobs[0].token_file: cannot read ",
        ),
    ] {
        let host = with_jobs(Host::new(), &pull(fields));
        let error = host.try_setup().await.unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

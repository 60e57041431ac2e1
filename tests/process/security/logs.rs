//! The log of the built binary while it processes secrets and confidential content.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use tara_export_test_support::TestS3;

use crate::harness::{
    authorities::{Authority, file},
    issuer::{SigningKey, flags as issuer_flags, jwks, now},
    tokens::{flag, text},
};

fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
    command.env_clear().args(arguments);
    command
}

/// A server process with its complete log.
struct LoggedServer {
    child: Child,
    address: String,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl LoggedServer {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut address = None;
        while address.is_none() {
            let line = lines.next().expect("the server listens");
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            let is_ours = json["target"].as_str().is_some_and(|target| target == "tara_export");
            if is_ours && let Some(listening) = json["address"].as_str() {
                address = Some(listening.to_owned());
            }
            seen.lock().unwrap().push(line);
        }
        let collected = seen.clone();
        let reader = std::thread::spawn(move || {
            lines.for_each(|line| collected.lock().unwrap().push(line));
        });
        Self { child, address: address.unwrap(), lines: seen, reader: Some(reader) }
    }

    /// Stops the server. Returns its log.
    fn end(mut self) -> Vec<String> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.reader.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

impl Drop for LoggedServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a request in which every text of the caller is easy to find.
fn write_request(folder: &Path) {
    let item = serde_json::json!({
        "id": "1",
        "description": "SECRET-DESCRIPTION",
        "suggestion": "SECRET-SUGGESTION",
        "additionalFields": {"comment": "SECRET-FREE-FIELD"},
    });
    let request = serde_json::json!({
        "requestId": "6f1c7a52-3b0e-4c59-9d7e-00000000cafe",
        "review": {
            "documentName": "incident report.docx",
            "sessionId": "session-1",
            "suggestions": [{"name": "Summary", "items": [item]}],
            "chatHistory": [{"role": "user", "content": "SECRET-CHAT"}],
        },
        "documents": [
            {"kind": "KIND_BEFORE", "content": "U0VDUkVULURPQ1VNRU5U"},
        ],
    });
    file(folder, "request.json", &request.to_string());
}

#[test]
fn debug_log_has_callers_and_refusals_but_no_secrets_or_content() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let s3 = runtime.block_on(TestS3::start());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let authority = Authority::new("ours");
    let key = SigningKey::new("k1");
    let jwt = key.token(serde_json::json!({"sub": "review-app", "roles": ["export"]}));
    let expired = key.token(serde_json::json!({"sub": "late-app", "exp": now() - 3600}));
    let jwks_file = file(path, "jwks.json", &jwks(&[&key]));
    let ca = file(path, "ca.pem", &authority.pem);
    write_request(path);

    let server = authority.server();
    let mut arguments =
        vec!["serve".to_owned(), "--port=0".to_owned(), "--log-format=json".to_owned()];
    arguments.extend(server.flags(path));
    arguments.extend(issuer_flags());
    arguments.push(format!("--jwt-jwks-file={}", jwks_file.display()));
    arguments.push(flag(path, &[("auditor", &["read"])]));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = binary(&arguments);
    command.envs(s3.environment()).env("DATA_DIR", path.join("data"));
    command.env("LOG_LEVEL", "debug").env("S3_EXPECTED_BUCKET_OWNER", "111122223333");
    let logged = LoggedServer::start(command);

    let url = format!("https://{}", logged.address);
    let run = |token: &str, arguments: &[&str]| {
        let mut command = binary(arguments);
        command.args(["--server", &url, "--tls-ca-file", ca.to_str().unwrap()]);
        command.env("TARA_EXPORT_TOKEN", token).env("LOG_LEVEL", "debug");
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), stderr)
    };
    let request = path.join("request.json");
    let id = "exports/6f1c7a52-3b0e-4c59-9d7e-00000000cafe";
    let mut client_logs = String::new();
    let (code, _, log) = run(&jwt, &["export", request.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{log}");
    client_logs += &log;
    let auditor = text("auditor");
    let (code, report, log) = run(&auditor, &["report", id]);
    assert_eq!(code, Some(0), "{log}");
    assert!(report.contains("DOCUMENT REVIEW REPORT"));
    client_logs += &log;
    let archive = path.join("bundle.zip");
    let (code, _, log) = run(&auditor, &["download", id, "--output", archive.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{log}");
    client_logs += &log;
    let (code, link, log) = run(&auditor, &["link", id, "readable_report.txt"]);
    assert_eq!(code, Some(0), "{log}");
    client_logs += &log;
    // What does not exist is in the access log, too, with the name that was asked for.
    let missing = "exports/6f1c7a52-3b0e-4c59-9d7e-00000000dead";
    for arguments in [&["report", missing][..], &["link", missing, "readable_report.txt"]] {
        let (code, _, log) = run(&auditor, arguments);
        assert_eq!(code, Some(1), "{log}");
        client_logs += &log;
    }
    let signature = link.split("X-Amz-Signature=").nth(1).expect("a signed link");
    let signature: String = signature.chars().take_while(char::is_ascii_hexdigit).collect();
    for (token, arguments, reason) in [
        ("guessed-invalid-token", &["list"][..], "CREDENTIALS_INVALID"),
        (&expired, &["list"], "CREDENTIALS_EXPIRED"),
        (&auditor, &["check"], "ROLE_MISSING"),
    ] {
        let (code, _, log) = run(token, arguments);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(reason), "{log}");
        client_logs += &log;
    }
    let log = logged.end();

    // The log has debug lines, also of the libraries.
    let debug = log.iter().filter(|line| line.contains(r#""level":"DEBUG""#)).count();
    assert!(debug > 20, "{debug} lines");
    let key_text = fs::read_to_string(path.join("key.pem")).unwrap();
    let key_line = key_text.lines().nth(1).unwrap().to_owned();
    let secrets = [
        s3.secret_key().to_owned(),
        jwt.clone(),
        jwt.rsplit('.').next().unwrap().to_owned(),
        expired.rsplit('.').next().unwrap().to_owned(),
        auditor.clone(),
        "guessed-invalid-token".to_owned(),
        signature,
        key_line,
        "SECRET-DOCUMENT".to_owned(),
        "U0VDUkVULURPQ1VNRU5U".to_owned(),
        "SECRET-DESCRIPTION".to_owned(),
        "SECRET-SUGGESTION".to_owned(),
        "SECRET-FREE-FIELD".to_owned(),
        "SECRET-CHAT".to_owned(),
    ];
    // The bundle contains the texts that the log must not contain.
    let bundle = fs::read(&archive).unwrap();
    let mut bundle = zip::ZipArchive::new(std::io::Cursor::new(bundle)).unwrap();
    let mut content = String::new();
    for index in 0..bundle.len() {
        let mut file = bundle.by_index(index).unwrap();
        std::io::Read::read_to_string(&mut file, &mut content).unwrap();
    }
    for text in ["DOCUMENT", "DESCRIPTION", "SUGGESTION", "FREE-FIELD", "CHAT"] {
        assert!(content.contains(&format!("SECRET-{text}")), "no {text} in the bundle");
    }
    for secret in &secrets {
        assert!(secret.len() > 8);
        for line in log.iter().map(String::as_str).chain(client_logs.lines()) {
            assert!(!line.contains(secret.as_str()), "{secret} is in the log: {line}");
        }
    }

    let parsed = log.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let ours: Vec<serde_json::Value> = parsed
        .filter(|line| {
            line["target"].as_str().is_some_and(|target| target.starts_with("tara_export"))
        })
        .collect();
    let has = |fields: &[(&str, &str)]| {
        let matches =
            |line: &&serde_json::Value| fields.iter().all(|(name, value)| line[name] == *value);
        assert!(ours.iter().any(|line| matches(&line)), "no line with {fields:?}");
    };
    has(&[("method", "StartExport"), ("caller", "review-app"), ("name", id), ("code", "OK")]);
    for method in ["GetReport", "CreateDownloadLink"] {
        let not_found = [("name", missing), ("code", "NOT_FOUND")];
        has(&[&[("method", method), ("caller", "auditor")], &not_found[..]].concat());
    }
    has(&[("method", "GetReport"), ("caller", "auditor"), ("name", id)]);
    has(&[("method", "DownloadBundle"), ("caller", "auditor"), ("name", id)]);
    has(&[
        ("method", "CreateDownloadLink"),
        ("caller", "auditor"),
        ("path", "readable_report.txt"),
    ]);
    for (method, reason) in [
        ("/tara.export.v1.ExportService/ListExports", "CREDENTIALS_INVALID"),
        ("/tara.export.v1.ExportService/ListExports", "CREDENTIALS_EXPIRED"),
        ("/tara.export.v1.ExportService/CheckStorage", "ROLE_MISSING"),
    ] {
        has(&[("method", method), ("reason", reason), ("message", "refused")]);
    }
    for line in ours.iter().filter(|line| line["message"] == "refused") {
        let peer: std::net::SocketAddr = line["peer"].as_str().unwrap().parse().unwrap();
        assert!(peer.ip().is_loopback(), "{line}");
    }
    // Every S3 request names the expected bucket owner.
    let requests = s3.requests();
    assert!(requests.len() > 10);
    for request in &requests {
        assert_eq!(
            request.header("x-amz-expected-bucket-owner"),
            Some("111122223333"),
            "{request:?}"
        );
    }
}

/// The binary refuses unauthenticated access from other machines, and warns if it is allowed.
#[test]
fn insecure_public_server_needs_explicit_permission() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let mut refused = binary(&["serve", "--port=0", "--bind-address=0.0.0.0"]);
    let output = refused.env("DATA_DIR", &data_dir).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in ["BIND_ADDRESS 0.0.0.0", "TLS_CERT_FILE", "AUTH_TOKENS_FILE", "ALLOW_INSECURE=true"]
    {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert!(!data_dir.exists(), "nothing is written before the check");

    let mut open = binary(&[
        "serve",
        "--port=0",
        "--bind-address=0.0.0.0",
        "--allow-insecure",
        "--log-format=json",
    ]);
    open.env("DATA_DIR", &data_dir);
    let log = LoggedServer::start(open).end();
    assert!(
        log.iter().any(|line| line.contains("WARN") && line.contains("ALLOW_INSECURE")),
        "{log:?}"
    );
}

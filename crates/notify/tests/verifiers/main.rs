//! The official libraries of Standard Webhooks and Svix verify requests of this program. `.ci/run webhooks` installs
//! them and runs this test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::json;
use tara_export_events::{EventContent, EventType, testing::sample};
use tara_export_notify::{SendErrorKind, TargetContext, Targets};

const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];

/// A receiver with these secrets, and its URL.
struct Receiver(Child, String);

impl Receiver {
    fn start(secrets: &[&str]) -> Self {
        let python = env::var_os("TARA_TEST_WEBHOOK_PYTHON").expect(
            "TARA_TEST_WEBHOOK_PYTHON is a Python with the packages standardwebhooks and svix",
        );
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers/receiver.py");
        let mut process =
            Command::new(python).arg(script).args(secrets).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(process, format!("http://127.0.0.1:{}/hook", port.trim()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A target with both secrets.
fn targets(url: &str, template: &str) -> Targets {
    let folder = tempfile::tempdir().unwrap();
    for (number, secret) in SECRETS.iter().enumerate() {
        fs::write(folder.path().join(number.to_string()), secret).unwrap();
    }
    let file = json!({"targets": [{"name": "hook", "kind": "webhook", "url": url, "secret_files": ["0", "1"],
        "include_names": true, "private_network": true, "template": template, "timeout": "1m"}]});
    let context = TargetContext::new(folder.path().to_owned(), None);
    Targets::parse(&file.to_string(), &context).unwrap()
}

#[tokio::test]
#[ignore = "needs Python packages: .ci/run webhooks"]
async fn official_libraries_verify_requests() {
    let receiver = Receiver::start(&SECRETS);
    for template in ["cloudevents", "slack", "teams"] {
        let targets = targets(&receiver.1, template);
        let target = targets.get("hook").unwrap();
        for event_type in EventType::ALL.into_iter().chain([EventType::Test]) {
            let mut event = sample(event_type, 1);
            if let EventContent::Export(exported) = &mut event.content {
                exported.export.document_name = "\u{fc}\u{1f600}\"\\\u{2028}\r\n".to_owned();
            }
            target.sender.send(&[event]).await.unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "needs Python packages: .ci/run webhooks"]
async fn official_libraries_refuse_other_secrets() {
    let receiver = Receiver::start(&["whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"]);
    let targets = targets(&receiver.1, "cloudevents");
    let result = targets.get("hook").unwrap().sender.send(&[sample(EventType::Failed, 1)]).await;
    assert_eq!(result.unwrap_err().kind, SendErrorKind::Refused);
}

//! Targets of AWS: against a real implementation of SNS, SQS and EventBridge (`real_aws`, run by
//! `.ci/real-aws-events`), and against servers that fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod failing_server;
mod failures;
mod real_aws;
mod secrets;
mod settings;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tara_export_notify::{AwsContext, Target, TargetContext, Targets};
use tara_export_outbound::Environment;
use tara_export_settings_file::InvalidFile;
use tara_export_store::s3::AwsServices;

/// A secret key, and a session token, that no message may contain.
const SECRET: &str = "wJalrXUtnFEMI-secret";
const TOKEN: &str = "session-token-secret";

/// The variables of a machine with credentials and without profile.
fn machine(more: &[(&str, &str)]) -> Environment {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", TOKEN),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/nonexistent/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials"),
    ];
    // An empty one of `more` removes the variable.
    let variables: BTreeMap<_, _> = variables.iter().chain(more).copied().collect();
    variables.into_iter().collect()
}

/// The error codes of refused credentials.
type Refusals = Arc<Mutex<Vec<String>>>;

/// The context of a server on a machine.
async fn context(environment: Environment) -> (TargetContext, Refusals) {
    let services = AwsServices::load(environment).await.unwrap();
    let refusals = Refusals::default();
    let seen = refusals.clone();
    let sdk = services.sdk_config().clone();
    let credentials_refused = Arc::new(move |service: &str, code: &str| {
        seen.lock().unwrap().push(format!("{service} {code}"));
        services.credentials_refused(service, code);
    });
    let aws = Some(AwsContext { sdk, credentials_refused });
    (TargetContext { aws, ..TargetContext::new(PathBuf::from("/nonexistent"), None) }, refusals)
}

/// The target with these settings.
fn target(settings: Value, context: &TargetContext) -> Result<Target, InvalidFile> {
    let mut settings = settings;
    settings["name"] = "aws".into();
    let text = json!({ "targets": [settings] }).to_string();
    Targets::parse(&text, context).map(|targets| targets.get("aws").unwrap().clone())
}

//! Every source of credentials in the table of docs/settings.md, with a server that returns them.

use std::sync::Arc;

use tara_export_store::s3::S3Store;
use tara_export_test_support::{
    TestS3,
    raw_server::{RequestHead, serve},
};

use crate::{
    backends::settings,
    s3_credentials::until,
    s3_machine::{Machine, put},
};

/// SHA-1 of the text `corp`: the name of its file in the cache, as `aws sso login` writes it.
const CORP_TOKEN_FILE: &str = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
const EXPIRATION: &str = "2099-01-01T00:00:00Z";

/// Starts a server whose answers depend on a request's head and body. `None` is status 403.
async fn answering(
    answer: impl Fn(&RequestHead, &str) -> Option<String> + Send + Sync + 'static,
) -> String {
    let answer = Arc::new(answer);
    serve(move |mut connection| {
        let answer = answer.clone();
        async move {
            let Some(head) = connection.head().await else { return };
            let body = connection.body(head.content_length()).await.unwrap();
            let (status, body) = match answer(&head, &String::from_utf8_lossy(&body)) {
                Some(body) => ("200 OK", body),
                None => ("403 Forbidden", String::new()),
            };
            let length = body.len();
            // Only the metadata service sends the lifetime of a token; the others' clients ignore it.
            let response = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\
                 x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n{body}"
            );
            connection.send(&response).await;
        }
    })
    .await
}

/// The credentials of a server as containers and the metadata service return them.
fn json(server: &TestS3) -> String {
    let (access, secret) = (server.access_key(), server.secret_key());
    format!(
        r#"{{"Code": "Success", "AccessKeyId": "{access}", "SecretAccessKey": "{secret}",
            "Token": "", "Expiration": "{EXPIRATION}", "LastUpdated": "2026-01-01T00:00:00Z"}}"#
    )
}

async fn store(machine: &Machine, server: &TestS3) -> S3Store {
    machine.connect(settings(&server.endpoint(), server.bucket())).await.unwrap()
}

#[tokio::test]
async fn token_of_single_sign_on_is_used_and_read_again_after_a_login() {
    let server = TestS3::start().await;
    let (access, secret) = (server.access_key().to_owned(), server.secret_key().to_owned());
    let portal = answering(move |head, _| {
        let is_valid = head.header("x-amz-sso_bearer_token") == Some("new");
        let is_role = head.target().contains("role_name=exporter&account_id=123456789012");
        (is_valid && is_role && head.target().starts_with("/federation/credentials")).then(|| {
            format!(
                r#"{{"roleCredentials": {{"accessKeyId": "{access}", "secretAccessKey": "{secret}",
                    "sessionToken": "", "expiration": 4070908800000}}}}"#
            )
        })
    })
    .await;
    let token = |token: &str| {
        format!(
            r#"{{"accessToken": "{token}", "expiresAt": "{EXPIRATION}", "region": "eu-west-1"}}"#
        )
    };
    let machine = Machine::new().with("AWS_ENDPOINT_URL_SSO", &portal).profile(
        "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = exporter\n\n\
         [sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.example/start",
    );
    machine.write(CORP_TOKEN_FILE, &token("old"));
    let store = store(&machine, &server).await;
    put(&store, "a").await.unwrap_err();
    machine.write(CORP_TOKEN_FILE, &token("new"));
    until(&store, true).await;
}

#[tokio::test]
async fn credentials_of_containers_are_used_with_their_token() {
    for with_file in [false, true] {
        let server = TestS3::start().await;
        let body = json(&server);
        let agent = answering(move |head, _| {
            let is_allowed = head.header("authorization") == Some("pod-token");
            (is_allowed && head.target() == "/v1/credentials").then(|| body.clone())
        })
        .await;
        let uri = format!("{agent}/v1/credentials");
        let mut machine = Machine::new().with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri);
        machine.write("token", "pod-token");
        let file = machine.path("token").display().to_string();
        machine = match with_file {
            true => machine.with("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file),
            false => machine.with("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token"),
        };
        put(&store(&machine, &server).await, "a").await.unwrap();
    }
}

/// A metadata service (version 2) with a role. Version 1 gets status 403.
async fn metadata_service(server: &TestS3) -> String {
    let body = json(server);
    answering(move |head, _| {
        if head.method() == "PUT" {
            return (head.target() == "/latest/api/token").then(|| "session".to_owned());
        }
        if head.header("x-aws-ec2-metadata-token") != Some("session") {
            return None;
        }
        match head.target().trim_end_matches('/') {
            "/latest/meta-data/iam/security-credentials" => Some("exporter".to_owned()),
            "/latest/meta-data/iam/security-credentials/exporter" => Some(body.clone()),
            _ => None,
        }
    })
    .await
}

#[tokio::test]
async fn role_of_the_metadata_service_is_used() {
    let server = TestS3::start().await;
    let metadata = metadata_service(&server).await;
    let of_variable = Machine::new()
        .with("AWS_EC2_METADATA_DISABLED", "false")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata);
    let of_profile = Machine::new()
        .with("AWS_EC2_METADATA_DISABLED", "false")
        .profile(&format!("ec2_metadata_service_endpoint = {metadata}"));
    for machine in [of_variable, of_profile] {
        put(&store(&machine, &server).await, "a").await.unwrap();
    }
    let disabled = Machine::new().with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata);
    put(&store(&disabled, &server).await, "a").await.unwrap_err();
}

#[tokio::test]
async fn role_is_assumed_with_other_credentials() {
    let server = TestS3::start().await;
    let (access, secret) = (server.access_key().to_owned(), server.secret_key().to_owned());
    let sts = answering(move |head, body| {
        let is_signed = head.header("authorization")?.contains("Credential=AKIDSOURCE/");
        let is_role = body.contains("Action=AssumeRole&")
            && body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fexporter")
            && body.contains("ExternalId=of-a-partner");
        (is_signed && is_role).then(|| {
            format!(
                "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleResult><Credentials><AccessKeyId>{access}</AccessKeyId>\
                 <SecretAccessKey>{secret}</SecretAccessKey><SessionToken></SessionToken>\
                 <Expiration>{EXPIRATION}</Expiration></Credentials></AssumeRoleResult>\
                 </AssumeRoleResponse>"
            )
        })
    })
    .await;
    let role = "role_arn = arn:aws:iam::123456789012:role/exporter\nexternal_id = of-a-partner\n";
    let source = "aws_access_key_id = AKIDSOURCE\naws_secret_access_key = source\n";
    let of_profile = Machine::new()
        .with("AWS_ENDPOINT_URL_STS", &sts)
        .profile(&format!("{role}source_profile = source\n\n[profile source]\n{source}"));
    let agent = answering(|_, _| {
        let keys = r#""AccessKeyId": "AKIDSOURCE", "SecretAccessKey": "source", "Token": """#;
        Some(format!(r#"{{{keys}, "Expiration": "{EXPIRATION}"}}"#))
    })
    .await;
    let of_container = Machine::new()
        .with("AWS_ENDPOINT_URL_STS", &sts)
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent)
        .profile(&format!("{role}credential_source = EcsContainer"));
    for machine in [of_profile, of_container] {
        put(&store(&machine, &server).await, "a").await.unwrap();
    }
}

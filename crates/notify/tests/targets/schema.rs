//! `docs/notify.schema.json` agrees with the reader.

use serde_json::{Value, json};

use super::{faults::Of, *};

fn schema() -> jsonschema::Validator {
    let text = include_str!("../../../../docs/notify.schema.json");
    let schema: Value = serde_json::from_str(text).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn schema_accepts_valid_files() {
    let schema = schema();
    for text in VALID {
        let errors: Vec<_> = schema
            .iter_errors(&serde_json::from_str(text).unwrap())
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{text}: {errors:?}");
    }
}

#[test]
fn schema_rejects_faults_of_the_shape() {
    let schema = schema();
    for (of, text, _, _) in faults::faults() {
        match (of, serde_json::from_str::<Value>(&text)) {
            (Of::Shape, file) => assert!(!schema.is_valid(&file.unwrap()), "{text}"),
            (Of::Content, Ok(file)) => assert!(schema.is_valid(&file), "{text}"),
            (Of::Content, Err(_)) => {}
        }
    }
}

#[test]
fn schema_knows_every_kind() {
    let schema = schema();
    let email = json!({"name": "ops", "kind": "email", "smtp": "smtps://mail.example.com", "username": "x",
        "password_file": "p", "from": "audit@example.com", "to": ["ops@example.com"], "events": ["failed"],
        "reply_to": "help@example.com", "locale": "de", "digest": "1m", "timeout": "30s", "template": "own"});
    let sns = json!({"name": "topic", "kind": "sns", "topic_arn": "arn:aws:sns:us-east-1:123456789012:a",
        "endpoint_url": "https://sns.example.com", "timeout": "10s"});
    let bus = json!({"name": "bus", "kind": "eventbridge", "event_bus": "default", "region": "us-east-1"});
    let is_valid = |target: &Value| schema.is_valid(&json!({"targets": [target]}));
    for target in [&email, &sns, &bus] {
        assert!(is_valid(target), "{target}");
        for name in target.as_object().unwrap().keys() {
            let mut wrong = target.clone();
            wrong[name] = json!(7);
            assert!(!is_valid(&wrong), "{wrong}");
        }
        let mut extra = target.clone();
        extra["url"] = json!("https://example.com/");
        assert!(!is_valid(&extra), "{extra}");
    }
    for (name, value, expected) in [
        ("to", json!("requested"), true),
        ("to", json!("ops@example.com"), false),
        ("to", json!([]), false),
        ("locale", json!("it"), false),
        ("smtp", json!("https://mail.example.com"), false),
    ] {
        let mut target = email.clone();
        target[name] = value;
        assert_eq!(is_valid(&target), expected, "{target}");
    }
}

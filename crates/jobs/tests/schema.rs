//! `docs/jobs.schema.json` agrees with the reader.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::{Value, json};
use tara_export_jobs::Jobs;

fn schema() -> jsonschema::Validator {
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/jobs.schema.json")).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn schema_and_reader_accept_the_same_files() {
    let job = json!({"name": "a", "kind": "redeliver"});
    let with = |field: &str, value: Value| {
        let mut job = job.clone();
        job[field] = value;
        json!({ "jobs": [job] })
    };
    let extended = |mut job: Value, fields: Value| {
        for (name, value) in fields.as_object().unwrap() {
            job[name] = value.clone();
        }
        job
    };
    let report = |fields| extended(json!({"name": "a", "kind": "report", "target": "ops"}), fields);
    let url = "https://example.com/completed";
    let pull = |fields| extended(json!({"name": "a", "kind": "pull", "url": url}), fields);
    let schema = schema();
    for (file, is_valid) in [
        (json!({"jobs": []}), true),
        (json!({"$schema": "jobs.schema.json", "jobs": [job]}), true),
        (with("schedule", json!("*/5 * * * MON-FRI")), true),
        (with("timezone", json!("Europe/Berlin")), true),
        (with("max_run", json!("1h 30m")), true),
        (with("targets", json!(["hook"])), true),
        (json!({"jobs": [report(json!({}))]}), true),
        (json!({"jobs": [report(json!({"to": ["ops@example.com"]}))]}), true),
        (json!({"jobs": [report(json!({"to": []}))]}), false),
        (json!({"jobs": [report(json!({"targets": ["ops"]}))]}), false),
        (json!({"jobs": [report(json!({"target": ""}))]}), false),
        (json!({"jobs": [{"name": "a", "kind": "report"}]}), false),
        (with("target", json!("ops")), false),
        (with("to", json!(["ops@example.com"])), false),
        (json!({"jobs": [pull(json!({}))]}), true),
        (
            json!({"jobs": [pull(json!({"private_network": true, "token_file": "token", "limit": 500,
            "overlap": "7d", "since": "2026-11-30T00:00:00Z", "timeout": "5m"}))]}),
            true,
        ),
        (json!({"jobs": [pull(json!({"limit": 501}))]}), false),
        (json!({"jobs": [pull(json!({"limit": 1}))]}), false),
        (json!({"jobs": [pull(json!({"limit": "5"}))]}), false),
        (json!({"jobs": [pull(json!({"private_network": "yes"}))]}), false),
        (json!({"jobs": [pull(json!({"url": ""}))]}), false),
        (json!({"jobs": [pull(json!({"target": "ops"}))]}), false),
        (json!({"jobs": [{"name": "a", "kind": "pull"}]}), false),
        (json!({"jobs": [report(json!({"url": "https://example.com/"}))]}), false),
        (json!({}), false),
        (json!({"jobs": [job], "x": 1}), false),
        (json!({"jobs": vec![job.clone(); 17]}), false),
        (json!({"jobs": [{"name": "a"}]}), false),
        (with("name", json!("A")), false),
        (with("kind", json!("verify")), false),
        (with("schedule", json!("")), false),
        (with("schedule", json!(5)), false),
        (with("max_run", json!("soon")), false),
        (with("targets", json!("hook")), false),
        (with("targets", json!(vec!["hook"; 17])), false),
        (with("url", json!("x")), false),
    ] {
        assert_eq!(schema.is_valid(&file), is_valid, "schema: {file}");
        assert_eq!(
            Jobs::parse(&file.to_string(), Path::new("")).is_ok(),
            is_valid,
            "reader: {file}"
        );
    }
}

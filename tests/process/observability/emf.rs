//! Metrics on standard output in CloudWatch's embedded metric format.

use std::collections::BTreeSet;

use serde_json::Value;
use tara_export_telemetry::names::{ALL, Declaration};
use tara_export_test_support::TestS3;

use super::process::Process;
use crate::{following::committed, requests::request};

fn declared(name: &str) -> &'static Declaration {
    ALL.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}"))
}

#[tokio::test]
async fn emf_lines_are_valid_and_name_declared_metrics() {
    let s3 = TestS3::start().await;
    let server = Process::start(&s3, &["--metrics-emf-namespace=TaraExport"]);
    let mut client = server.client().await;
    for number in 1..=3 {
        committed(&mut client, request(number, "incident report.docx")).await;
    }
    // The server writes the remaining metrics when it stops.
    let (_, output) = server.end();
    let mut written = BTreeSet::new();
    let mut exports = 0.0;
    for line in output.lines() {
        assert!(line.len() < 256 * 1024);
        let document: Value = serde_json::from_str(line).unwrap();
        let timestamp = document["_aws"]["Timestamp"].as_u64().unwrap();
        assert!(timestamp > 1_700_000_000_000, "milliseconds: {timestamp}");
        let directives = document["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives.len(), 1);
        let directive = &directives[0];
        assert_eq!(directive["Namespace"], "TaraExport");
        let sets = directive["Dimensions"].as_array().unwrap();
        assert_eq!(sets[0], serde_json::json!([]), "the sum over all dimensions");
        for dimension in sets.iter().flat_map(|set| set.as_array().unwrap()) {
            let value = document[dimension.as_str().unwrap()].as_str().unwrap();
            assert!(!value.is_empty() && value.len() < 60, "{value}");
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            let name = metric["Name"].as_str().unwrap();
            let declaration = declared(name);
            let last: Vec<&str> =
                sets.last().unwrap().as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(last, declaration.labels, "{name}");
            assert_eq!(metric["Unit"], cloudwatch(declaration.unit), "{name}");
            match &document[name] {
                Value::Number(_) => {}
                Value::Object(distribution) => {
                    let length = distribution["Values"].as_array().unwrap().len();
                    assert!((1..=100).contains(&length));
                    assert_eq!(distribution["Counts"].as_array().unwrap().len(), length);
                }
                other => panic!("{name} is {other}"),
            }
            if name == "tara_export_exports_total" {
                exports += document[name].as_f64().unwrap();
            }
            written.insert(name.to_owned());
        }
    }
    assert!((exports - 3.0).abs() < f64::EPSILON, "{output}");
    for name in [
        "tara_export_export_duration_seconds",
        "tara_export_s3_requests_total",
        "tara_export_s3_cost_nanodollars_total",
        "tara_export_backlog_exports",
        "tara_export_journal_bytes",
    ] {
        assert!(written.contains(name), "{name} is not among {written:?}");
    }
}

/// CloudWatch's name of a unit.
fn cloudwatch(unit: metrics::Unit) -> &'static str {
    match unit {
        metrics::Unit::Seconds => "Seconds",
        metrics::Unit::Bytes => "Bytes",
        metrics::Unit::Count => "Count",
        other => panic!("CloudWatch has no {other:?}"),
    }
}

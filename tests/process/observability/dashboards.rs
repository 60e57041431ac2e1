//! Dashboards, alarms and the operations guide cover every metric and name only existing metrics and labels.

use std::{collections::BTreeSet, fs, path::Path};

use tara_export::proto::export_service_server::SERVICE_NAME;
use tara_export::server::LIVENESS;
use tara_export_telemetry::names::{ALL, Declaration, Kind};
use tara_export_test_support::TestS3;

use super::process::Process;

/// The files that name metrics.
const FILES: [&str; 4] = [
    "deploy/grafana/tara-export.json",
    "deploy/cloudformation/monitoring.yaml",
    PROMETHEUS_RULES,
    "docs/operations.md",
];

const PROMETHEUS_RULES: &str = "deploy/prometheus/rules.yaml";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All words that are Prometheus names in this service's namespace.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("tara_export_")).collect()
}

/// The metric of a Prometheus name, which can be a series of a histogram.
fn declared(name: &str) -> Option<&'static Declaration> {
    let exact = ALL.iter().find(|metric| metric.name == name);
    exact.or_else(|| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end))?;
        ALL.iter().find(|metric| metric.kind == Kind::Histogram && metric.name == base)
    })
}

#[test]
fn every_monitored_metric_exists() {
    for file in FILES {
        let text = read(file);
        let names = names(&text);
        assert!(names.len() >= 5, "{file} names {names:?}");
        for name in names {
            assert!(declared(name).is_some(), "{file}: there is no metric {name}");
        }
    }
}

#[test]
fn every_metric_is_monitored() {
    let texts = FILES.map(read);
    let monitored: BTreeSet<&str> = texts
        .iter()
        .flat_map(|text| names(text))
        .filter_map(|name| Some(declared(name)?.name))
        .collect();
    for metric in ALL {
        assert!(monitored.contains(metric.name), "no file names {}", metric.name);
    }
}

/// A CloudWatch search must name all dimensions of a metric: `{${Namespace},a,b} MetricName="…"`.
#[test]
fn cloudwatch_searches_name_all_dimensions() {
    let text = read("deploy/cloudformation/monitoring.yaml");
    let searches: Vec<&str> = text.split("SEARCH(").skip(1).collect();
    assert!(searches.len() >= 5);
    for search in searches {
        let schema = search.split("{${Namespace},").nth(1).and_then(|rest| rest.split('}').next());
        let schema = schema.unwrap_or_else(|| panic!("no dimensions in {search:.120}"));
        let quoted = search.split("MetricName=").nth(1).expect("a metric's name");
        let name = quoted.trim_start_matches(['\\', '"']).split(['\\', '"']).next().unwrap();
        let metric = declared(name).unwrap_or_else(|| panic!("there is no metric {name}"));
        assert_eq!(schema.split(',').collect::<Vec<_>>(), metric.labels, "{name}");
    }
}

/// Labels in Grafana's queries: `sum by (reason) (…)`, and `name{label="…"}`.
#[test]
fn grafana_queries_use_existing_labels() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/tara-export.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<&str> = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() >= 15, "{}", queries.len());
    for query in queries {
        let metrics: Vec<&Declaration> =
            names(query).into_iter().map(|name| declared(name).unwrap()).collect();
        assert!(!metrics.is_empty(), "{query}");
        let has = |label: &str| {
            ["le", "instance"].contains(&label)
                || metrics.iter().any(|metric| metric.labels.contains(&label))
        };
        for by in query.split("by (").skip(1) {
            let labels = by.split(')').next().unwrap().split(',').map(str::trim);
            for label in labels {
                assert!(has(label), "{label} in {query}");
            }
        }
        for selector in query.split('{').skip(1) {
            for part in selector.split('}').next().unwrap().split(',') {
                let label = part.split(['=', '!', '~']).next().unwrap().trim();
                assert!(has(label), "{label} in {query}");
            }
        }
    }
}

/// Every alarm has an entry in the operations guide that says what to do.
#[test]
fn operations_guide_explains_every_alarm() {
    let (alarms, guide) =
        (read("deploy/cloudformation/monitoring.yaml"), read("docs/operations.md"));
    let names: Vec<&str> = alarms
        .lines()
        .filter_map(|line| line.trim().strip_prefix("AlarmName: !Sub \"${Namespace} "))
        .map(|name| name.trim_end_matches('"'))
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(
            guide.contains(&format!("**{name}**")),
            "docs/operations.md does not explain {name}"
        );
    }
}

/// Each alarm of CloudWatch is one of Prometheus, with a test.
#[test]
fn prometheus_has_the_same_alarms() {
    let (rules, tests) = (read(PROMETHEUS_RULES), read("deploy/prometheus/rules_test.yaml"));
    let alarms = |text: &str, key: &str| -> BTreeSet<String> {
        let values = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        values.map(|name| name.trim_matches('"').to_owned()).collect()
    };
    let cloudwatch =
        alarms(&read("deploy/cloudformation/monitoring.yaml"), "AlarmName: !Sub \"${Namespace} ");
    assert!(cloudwatch.len() >= 6, "{cloudwatch:?}");
    assert_eq!(alarms(&rules, "alarm: "), cloudwatch);
    assert_eq!(alarms(&tests, "- name: "), cloudwatch);
}

/// A rule on a series that appears with its first value does not see that value as an increase.
#[tokio::test]
async fn every_series_of_an_alarm_exists_before_the_first_event() {
    let s3 = TestS3::start().await;
    let folder = tempfile::tempdir().unwrap();
    let targets = folder.path().join("targets.json");
    fs::write(&targets, r#"{"targets": []}"#).unwrap();
    let notify_file = format!("--notify-file={}", targets.display());
    let server = Process::start(&s3, &["--metrics-listen-addr=127.0.0.1:0", &notify_file]);
    // The states of the journal and of the notifications are reported soon after the start.
    let seen = server
        .scrape_until(|seen| {
            seen.has("tara_export_exports", &[])
                && seen.has("tara_export_batches", &[])
                && seen.has("tara_export_notification_dead_letters", &[])
        })
        .await;
    let rules = read(PROMETHEUS_RULES);
    let mut checked = 0;
    for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        for name in names(expression) {
            // Their labels are names in NOTIFY_FILE and JOBS_FILE. Pools and histograms appear with their first value:
            // rates need none before it.
            let is_configured = declared(name).is_some_and(|metric| {
                metric.labels.iter().any(|label| ["target", "job_name"].contains(label))
            });
            let is_histogram = declared(name).is_some_and(|metric| metric.kind == Kind::Histogram);
            if is_configured || is_histogram {
                continue;
            }
            let selector = expression.split(name).nth(1).unwrap();
            let selector = selector.strip_prefix('{').and_then(|rest| rest.split('}').next());
            let labels: Vec<(&str, &str)> = selector
                .into_iter()
                .flat_map(|selector| selector.split(", "))
                .map(|label| label.split_once('=').unwrap())
                .map(|(name, value)| (name, value.trim_matches('"')))
                .collect();
            assert!(seen.has(name, &labels), "{name} {labels:?} does not exist at the start");
            checked += 1;
        }
    }
    assert!(checked >= 12, "{checked}");
    server.end();
}

/// A probe with a name that the server does not have always fails.
#[test]
fn deployment_probes_use_existing_names() {
    let pods = read("deploy/kubernetes/statefulset.yaml");
    let names: Vec<&str> = pods
        .split("grpc: {port: 8080")
        .skip(1)
        .map(|rest| rest.split('}').next().unwrap().trim_start_matches(", service: "))
        .collect();
    assert_eq!(names, ["", SERVICE_NAME, LIVENESS], "startup, readiness, liveness");
    let task = read("deploy/cloudformation/ecs.yaml");
    assert!(task.contains(&format!("[CMD, /tara-export, health, --service, {LIVENESS}]")));
    let image = read("deploy/Dockerfile");
    let command = format!(r#"CMD ["/tara-export", "health", "--service", "{LIVENESS}"]"#);
    assert!(image.contains(&command));
    assert!(read("deploy/cloudformation/apprunner.yaml").contains("Path: /livez"));
}

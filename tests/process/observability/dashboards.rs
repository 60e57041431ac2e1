//! Dashboards, alarms and the operations guide cover every metric and name only existing metrics and labels.

use std::{collections::BTreeSet, fs, path::Path};

use tara_export::proto::export_service_server::SERVICE_NAME;
use tara_export::server::LIVENESS;
use tara_export_telemetry::names::{ALL, Declaration, Kind};

/// The files that name metrics.
const FILES: [&str; 3] = [
    "deploy/grafana/tara-export.json",
    "deploy/cloudformation/monitoring.yaml",
    "docs/operations.md",
];

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

//! The content of `apprunner.yaml`.

use std::time::Duration;

use yaml_rust2::{Yaml, YamlLoader};

/// App Runner's time limit per request, including reading it (AWS App Runner Developer Guide, "Developing
/// application code for App Runner").
pub(crate) const PLATFORM_LIMIT: Duration = Duration::from_secs(120);

/// The `run` section.
pub(crate) struct Configuration {
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// The variable in which App Runner passes the port.
    pub(crate) port_variable: String,
}

impl Configuration {
    pub(crate) fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/apprunner.yaml");
        let documents = YamlLoader::load_from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let run = &documents[0]["run"];
        let text = |yaml: &Yaml| yaml.as_str().unwrap().to_owned();
        let variables = run["env"].as_vec().unwrap();
        Self {
            command: text(&run["command"]).split_whitespace().map(str::to_owned).collect(),
            environment: variables
                .iter()
                .map(|variable| (text(&variable["name"]), text(&variable["value"])))
                .collect(),
            port_variable: text(&run["network"]["env"]),
        }
    }

    pub(crate) fn value(&self, variable: &str) -> &str {
        let found = self.environment.iter().find(|(name, _)| name == variable);
        &found.unwrap_or_else(|| panic!("{variable} is not set")).1
    }
}

#[test]
fn apprunner_yaml_sets_what_the_platform_needs() {
    let configuration = Configuration::read();
    assert_eq!(configuration.value("AWS_REGION"), "us-east-1");
    assert_eq!(configuration.value("S3_BUCKET_NAME"), "felix-s3-bucket");
    assert_eq!(configuration.value("S3_BASE_PATH"), "tara/");
    assert_eq!(configuration.value("BIND_ADDRESS"), "0.0.0.0");
    assert_eq!(configuration.value("ALLOWED_HOSTS"), ".awsapprunner.com");
    assert_eq!(configuration.value("EPHEMERAL_DISK"), "true");
    assert_eq!(configuration.value("JOURNAL"), "store");
    assert_eq!(configuration.port_variable, "PORT");
    let longest = humantime::parse_duration(configuration.value("MAX_STREAM_TIME")).unwrap();
    // Leaves time for the last bytes.
    assert!(longest + Duration::from_secs(5) <= PLATFORM_LIMIT, "{longest:?}");
}

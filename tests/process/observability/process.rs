//! The built binary as a process, with its complete output.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;
use tara_export_client::proto::export_service_client::ExportServiceClient;
use tara_export_test_support::TestS3;
use tempfile::TempDir;
use tokio::time;

use crate::harness::{Client, http::get};

/// Longer than any operation takes. A test that hangs fails with a message.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub address: String,
    pub metrics: Option<String>,
    log: Arc<Mutex<Vec<Value>>>,
    readers: Vec<JoinHandle<()>>,
    output: Arc<Mutex<String>>,
    _data_dir: TempDir,
}

impl Process {
    pub(crate) fn start(s3: &TestS3, flags: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tara-export"))
            .env_clear()
            .envs(s3.environment())
            .env("DATA_DIR", data_dir.path())
            .args(["serve", "--port=0", "--log-format=json"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let first = lines.next().expect("the server listens");
        let first: Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("{first}"));
        let url = |name: &str| first[name].as_str().map(|address| format!("http://{address}"));
        let (address, metrics) = (url("address").expect("its address"), url("metrics"));
        let log = Arc::new(Mutex::new(vec![first]));
        let output = Arc::new(Mutex::new(String::new()));
        let (collected, mut stdout, printed) =
            (log.clone(), child.stdout.take().unwrap(), output.clone());
        let readers = vec![
            std::thread::spawn(move || {
                for line in lines {
                    let line = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                    collected.lock().unwrap().push(line);
                }
            }),
            std::thread::spawn(move || {
                let mut text = String::new();
                stdout.read_to_string(&mut text).unwrap();
                *printed.lock().unwrap() = text;
            }),
        ];
        Self { child, address, metrics, log, readers, output, _data_dir: data_dir }
    }

    pub(crate) async fn client(&self) -> Client {
        ExportServiceClient::connect(self.address.clone()).await.unwrap()
    }

    /// The current metrics, as Prometheus scrapes them.
    pub(crate) async fn scrape(&self) -> Scrape {
        let (status, headers, body) =
            get(&format!("{}/metrics", self.metrics.as_ref().unwrap())).await;
        assert_eq!(status, 200);
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        Scrape::parse(std::str::from_utf8(&body).unwrap())
    }

    /// The metrics as soon as they match `condition`. Some are updated every few seconds.
    pub(crate) async fn scrape_until(&self, condition: impl Fn(&Scrape) -> bool) -> Scrape {
        let scraping = async {
            loop {
                let scrape = self.scrape().await;
                if condition(&scrape) {
                    return scrape;
                }
                time::sleep(Duration::from_millis(100)).await;
            }
        };
        match time::timeout(TEST_TIMEOUT, scraping).await {
            Ok(scrape) => scrape,
            Err(_) => panic!("timed out: {:#?}", self.scrape().await),
        }
    }

    /// Stops the server. Returns its log and its standard output.
    pub(crate) fn end(mut self) -> (Vec<Value>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        (log, std::mem::take(&mut *self.output.lock().unwrap()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One sample in Prometheus' text format: `name{label="value"} 1.5`.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// The content of `/metrics`.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub samples: Vec<Sample>,
    /// Names with their kinds, from `# TYPE` lines.
    pub types: Vec<(String, String)>,
}

impl Scrape {
    fn parse(text: &str) -> Self {
        let (mut samples, mut types) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                types.push((name.to_owned(), kind.to_owned()));
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').unwrap();
                let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
                    let (name, value) = label.split_once('=').unwrap();
                    (name.to_owned(), value.trim_matches('"').to_owned())
                });
                samples.push(Sample {
                    name: name.to_owned(),
                    labels: labels.collect(),
                    value: value.parse().unwrap(),
                });
            }
        }
        Self { samples, types }
    }

    /// The sum over all series of this name that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|sample| sample.value).sum()
    }

    /// Whether there is a series of this name that has these labels.
    pub(crate) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.series(name, labels).next().is_some()
    }

    fn series(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(name, value)| {
                    sample.labels.iter().any(|(own, is)| own == name && is == value)
                })
        })
    }
}

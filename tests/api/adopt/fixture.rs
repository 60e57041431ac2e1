//! A store with folders that the review application wrote.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use tara_export::adopt::{AdoptSettings, Adoption, FolderOutcome, FolderReport};
use tara_export_clock::Clock;
use tara_export_store::{Store, local::LocalStore};
use tara_export_test_support::TestS3;
use uuid::Uuid;

use crate::{
    bundles,
    harness::{Host, s3::store_of, within},
};

/// A folder name in the form that the review application used.
pub(crate) const FOLDER: &str = "20240229_235959_incident_report_0000";

/// A store, and a host that can serve its content.
pub(crate) struct Fixture {
    pub(crate) host: Host,
    pub(crate) s3: Option<TestS3>,
}

impl Fixture {
    pub(crate) fn local() -> Self {
        Self { host: Host::new(), s3: None }
    }

    pub(crate) async fn s3() -> Self {
        let s3 = TestS3::start().await;
        Self { host: Host::with_s3(store_of(&s3)), s3: Some(s3) }
    }

    pub(crate) async fn both() -> [Self; 2] {
        [Self::local(), Self::s3().await]
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match &self.s3 {
            Some(s3) => store_of(s3),
            None => Arc::new(LocalStore::open(self.host.data_dir()).unwrap()),
        }
    }

    /// Writes a file directly, not through the store.
    pub(crate) fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        match &self.s3 {
            Some(s3) => s3.put_raw(format!("tara/{path}"), content.into()),
            None => {
                let path = self.host.data_dir().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content.into()).unwrap();
            }
        }
    }

    pub(crate) fn put_folder(&self, folder: &str, files: &BTreeMap<String, Vec<u8>>) {
        for (path, content) in files {
            self.put(&format!("{folder}/{path}"), content.clone());
        }
    }

    /// All files by their keys, except those of the probe.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files: BTreeMap<String, Vec<u8>> = match &self.s3 {
            Some(s3) => s3
                .objects()
                .into_iter()
                .map(|(key, object)| (key["tara/".len()..].to_owned(), object.bytes.into()))
                .collect(),
            None => {
                let files = bundles::files(&self.host.data_dir()).into_iter();
                files.map(|(path, content)| (key_of(path), content)).collect()
            }
        };
        files.retain(|path, _| {
            !path.starts_with(".tara-export/probe/") && !path.starts_with(".tara-export/tmp/")
        });
        files
    }
}

/// The key of a file in the data directory. Index entries are in shards.
fn key_of(path: String) -> String {
    match (path.strip_prefix(".tara-export/index-shards/"), path.rsplit_once('/')) {
        (Some(_), Some((_, name))) => format!(".tara-export/index/{name}"),
        _ => path,
    }
}

/// The files that the review application wrote for the sample: reports, logs and documents.
pub(crate) fn old_files() -> BTreeMap<String, Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/expected");
    let mut files = bundles::files(&golden);
    files.insert("readable_report.txt".to_owned(), b"DOCUMENT REVIEW REPORT\n".to_vec());
    files.insert("documents/before_incident_report_0000.docx".to_owned(), vec![7; 70_000]);
    files.insert("documents/after report (final) \u{e4}.docx".to_owned(), Vec::new());
    files.insert("notes/reviewer's own.txt".to_owned(), b"of no layout".to_vec());
    assert_eq!(files.len(), 12);
    files
}

/// A clock ahead of the machine's clock, which stores use for modification times.
#[derive(Debug)]
pub(crate) struct AheadClock(pub(crate) TimeDelta);

impl Clock for AheadClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.0
    }

    fn new_id(&self) -> Uuid {
        panic!("adoption must not generate ids")
    }
}

pub(crate) async fn adoption(store: Arc<dyn Store>, write: bool) -> Adoption {
    let settings =
        AdoptSettings { write, min_age: Duration::from_secs(3600), allow_unsafe_store: false };
    let clock = Arc::new(AheadClock(TimeDelta::hours(2)));
    Adoption::new(store, clock, settings).await.unwrap()
}

/// Adopts all folders. Returns the outcome of each.
pub(crate) async fn adopt(store: Arc<dyn Store>, write: bool) -> BTreeMap<String, FolderOutcome> {
    let adoption = adoption(store, write).await;
    let reports: Vec<FolderReport> =
        within("every folder", adoption.folders().try_collect()).await.unwrap();
    assert!(reports.is_sorted_by_key(|report| &report.folder));
    reports.into_iter().map(|report| (report.folder, report.outcome)).collect()
}

/// The export name of the only adopted folder.
pub(crate) fn adopted(outcomes: &BTreeMap<String, FolderOutcome>) -> String {
    let mut exports = outcomes.values().filter_map(|outcome| match outcome {
        FolderOutcome::Adopted { export, .. } => Some(export.clone()),
        _ => None,
    });
    let export = exports.next().unwrap_or_else(|| panic!("nothing was adopted: {outcomes:?}"));
    assert_eq!(exports.next(), None);
    export
}

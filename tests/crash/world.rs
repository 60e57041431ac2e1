//! The disk, the S3 and the ledger, which outlive the server's processes, and the checks of them at
//! any moment and at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use futures::{TryStreamExt as _, future::join_all};
use serde_json::Value;
use tara_export_client::{
    Client,
    proto::{Destination, Export, ListExportsRequest, export::State},
};
use tara_export_digest::Sha256;
use tara_export_test_support::{Operation, TestS3};
use tempfile::TempDir;

use crate::{
    callers::send,
    ledger::{ExportCase, Ledger, Observed, is_in_s3},
    notified::{Notified, Totals},
    process::{End, Process, until, within},
    receiver::Receiver,
    stores::{FoundBundle, Snapshot},
};

/// The server's settings, with short pauses.
const SETTINGS: [(&str, &str); 7] = [
    ("LOG_FORMAT", "json"),
    ("PORT", "0"),
    ("S3_OUTAGE_PAUSE", "20ms"),
    ("ACCEPT_TIMEOUT", "100ms"),
    // Enough for the disk on a busy machine.
    ("SHUTDOWN_TIMEOUT", "1s"),
    ("BACKLOG_CONCURRENCY", "3"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// The prefix of journal entries in S3, which are removed. Only with `JOURNAL=store`.
const STORE_JOURNAL: &str = ".tara-export/journal/";

/// The names of the files in a data directory's journal, including temporary ones.
pub(crate) fn journal_in(data_dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["journal", "journal/tmp"] {
        let Ok(entries) = fs::read_dir(data_dir.join(".tara-export").join(folder)) else {
            continue;
        };
        let files = entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
        names.extend(files.map(|entry| entry.file_name().into_string().unwrap()));
    }
    names
}

pub(crate) struct World {
    folder: TempDir,
    retry_budget: &'static str,
    pub(crate) s3: TestS3,
    pub(crate) ledger: Arc<Ledger>,
    /// `None` without targets.
    pub(crate) notified: Option<Notified>,
    /// Settings in addition to [`SETTINGS`].
    settings: &'static [(&'static str, &'static str)],
    /// The digests of all objects that S3 ever had.
    seen: BTreeMap<String, Sha256>,
}

impl World {
    /// An empty machine, and the setting S3_RETRY_BUDGET.
    pub(crate) async fn new(retry_budget: &'static str) -> Self {
        Self {
            retry_budget,
            folder: tempfile::tempdir().unwrap(),
            s3: TestS3::start().await,
            ledger: Arc::default(),
            notified: None,
            settings: &[],
            seen: BTreeMap::new(),
        }
    }

    /// Adds targets that get all events.
    pub(crate) async fn notifying(mut self, targets: impl FnOnce(&Receiver) -> Vec<Value>) -> Self {
        self.notified = Some(Notified::new(self.folder.path(), targets).await);
        self
    }

    /// Adds settings of the server.
    pub(crate) fn with_settings(self, settings: &'static [(&'static str, &'static str)]) -> Self {
        Self { settings, ..self }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("exports")
    }

    /// Starts a server with these failpoints.
    pub(crate) fn start(&self, failpoints: &str) -> Process {
        Process::start(self.command(failpoints, self.retry_budget))
    }

    /// The command that starts a server.
    pub(crate) fn command(&self, failpoints: &str, retry_budget: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
        command
            .arg("serve")
            .env_clear()
            .env("DATA_DIR", self.data_dir())
            .env("FAILPOINTS", failpoints)
            .env("S3_RETRY_BUDGET", retry_budget)
            .envs(SETTINGS)
            .envs(self.settings.iter().copied())
            .envs(self.s3.environment());
        if let Some(notified) = &self.notified {
            command.env("NOTIFY_FILE", notified.file());
        }
        command
    }

    /// Sends all cases concurrently and waits until each ends or loses its server.
    pub(crate) async fn send_all(&self, url: &str, cases: &[ExportCase]) {
        let callers = cases.iter().map(|case| send(url, &self.ledger, *case));
        for caller in within("the callers", join_all(callers)).await {
            caller.expect("a caller got a wrong event");
        }
    }

    /// The names of the journal's files, including temporary ones.
    pub(crate) fn journal(&self) -> Vec<String> {
        journal_in(&self.data_dir())
    }

    /// The ids of the entries in quarantine, where they wait for an operator.
    pub(crate) fn quarantined(&self) -> Vec<String> {
        let folder = self.data_dir().join(".tara-export/journal/quarantine");
        let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".export")).map(|name| name[..36].to_owned()).collect()
    }

    /// Waits until every accepted export is settled.
    pub(crate) async fn until_done(&self) {
        until("the journal is empty", || self.journal().is_empty()).await;
    }

    /// Checks that must pass whenever no server runs.
    pub(crate) fn check(&mut self) {
        let (s3, local) = (Snapshot::of_s3(&self.s3), Snapshot::of_folder(&self.data_dir()));
        self.check_s3(&s3);
        let (in_s3, in_local) = (s3.bundles(), local.bundles());
        let (journal, quarantined) = (self.journal(), self.quarantined());
        self.record_required_events(&quarantined);
        for (case, observed) in self.ledger.observed() {
            let id = case.export_id();
            let has_session = |found: &&FoundBundle| found.manifest.session_id == case.session_id();
            let remote = in_s3.get(&id).filter(has_session);
            let in_local_store = in_local.get(&id).filter(has_session);
            let has_failed = self.has_failed(&case);
            // Random kills can meet the same export three times, which is then suspected of them.
            let is_waiting = journal.iter().chain(&quarantined).any(|name| name.starts_with(&id));
            if observed.accepted {
                let is_at_destination =
                    if case.is_local { in_local_store.is_some() } else { remote.is_some() };
                assert!(
                    is_waiting || is_at_destination || has_failed,
                    "{case:?} was accepted and is lost: {observed:?}\n{}",
                    self.ledger.history_of(&case)
                );
            }
            for export in &observed.completed {
                if is_in_s3(export) {
                    let found =
                        remote.unwrap_or_else(|| panic!("{case:?} was in S3 and is missing"));
                    assert_eq!(found.manifest_sha256, export.manifest_sha256);
                } else {
                    assert!(
                        in_local_store.or(remote).is_some(),
                        "{case:?} was completed and is missing"
                    );
                }
            }
            if has_failed || observed.failed {
                assert!(case.no_fallback, "{case:?} failed");
                assert!(has_failed, "{case:?}: its failure record is missing");
                assert!(
                    remote.is_none() && in_local_store.is_none(),
                    "{case:?} failed, and has a bundle"
                );
            }
        }
    }

    /// Records the end of a process for the checks of events, and the events that must be delivered.
    fn record_required_events(&mut self, quarantined: &[String]) {
        let data_dir = self.data_dir();
        let Some(notified) = &mut self.notified else { return };
        notified.process_ended(&data_dir);
        for (case, observed) in self.ledger.observed() {
            if observed.completed.iter().any(|export| export.state() == State::FellBack) {
                notified.require_fell_back(&case.export_id(), &data_dir);
            }
        }
        for id in quarantined {
            notified.require(id, "quarantined");
        }
    }

    /// Checks that no object in S3 was changed or removed, and that no request could have done so.
    fn check_s3(&mut self, s3: &Snapshot) {
        for (key, sha256) in &self.seen {
            let now = s3.0.get(key).map(|bytes| Sha256::of(bytes));
            assert_eq!(now, Some(*sha256), "{key} has changed");
        }
        let kept = s3.0.iter().filter(|(key, _)| !key.starts_with(STORE_JOURNAL));
        self.seen = kept.map(|(key, bytes)| (key.clone(), Sha256::of(bytes))).collect();
        for request in self.s3.requests() {
            match request.operation {
                Operation::PutObject | Operation::CompleteMultipartUpload => {
                    assert_eq!(request.header("if-none-match"), Some("*"), "{}", request.key);
                }
                // The journal entries in S3, if `JOURNAL=store`.
                Operation::DeleteObject if request.key.contains("/.tara-export/journal/") => {}
                Operation::DeleteObject | Operation::DeleteObjects | Operation::CopyObject => {
                    panic!("{request:?}")
                }
                _ => {}
            }
        }
        self.s3.reset_requests();
    }

    fn has_failed(&self, case: &ExportCase) -> bool {
        let record = format!(".tara-export/failed/{}.json", case.export_id());
        let record = fs::read_to_string(self.data_dir().join(record));
        record.is_ok_and(|record| record.contains(&case.session_id()))
    }

    /// Lets a server settle every export and deliver every event, with both stores and all receivers working, and checks
    /// the result.
    pub(crate) async fn finish(&mut self) -> Totals {
        self.s3.clear_faults();
        self.s3.latency(Duration::ZERO);
        if let Some(notified) = &self.notified {
            notified.receiver.accept_all();
        }
        // A long retry budget, so that a busy machine does not look like an outage.
        let mut process = Process::start(self.command("", "60s"));
        let url = process.url().await.expect("the server starts without faults");
        self.until_done().await;
        let parts = self.data_dir().join(".tara-export/parts");
        // Recorded multipart uploads are aborted.
        until("no multipart upload is recorded", || {
            fs::read_dir(&parts).map_or(0, Iterator::count) == 0
        })
        .await;
        self.until_notified().await;
        self.check_listing(&url).await;
        process.terminate();
        assert_eq!(process.ended().await, End::Exited(Some(0)));
        self.check();
        self.check_no_leftovers();
        self.check_events()
    }

    /// Waits until no event waits for a delivery.
    pub(crate) async fn until_notified(&self) {
        let data_dir = self.data_dir();
        if self.notified.is_some() {
            until("all events are delivered", || Notified::is_idle(&data_dir)).await;
        }
    }

    fn check_events(&self) -> Totals {
        let Some(notified) = &self.notified else { return Totals::default() };
        let bundles = self.bundles_in_one_store().into_keys().collect();
        let cases = self.ledger.observed().into_keys();
        let failed = cases.filter(|case| self.has_failed(case)).map(|case| case.export_id());
        notified.check(&self.data_dir(), &bundles, &failed.collect())
    }

    /// Checks that lists and reads show every export once, in the right state.
    async fn check_listing(&self, url: &str) {
        let client = Client::connect(url).await.unwrap();
        let listed: Vec<Export> =
            client.list_exports(ListExportsRequest::default()).try_collect().await.unwrap();
        let names: BTreeSet<&str> = listed.iter().map(|export| export.name.as_str()).collect();
        assert_eq!(names.len(), listed.len(), "listed twice: {listed:#?}");
        let bundles = self.bundles_in_one_store();
        let failed =
            self.ledger.observed().into_keys().filter(|case| self.has_failed(case)).count();
        assert_eq!(listed.len(), bundles.len() + failed, "{listed:#?}");
        for export in &listed {
            let got = client.get_export(export.name.as_str()).await.unwrap();
            assert_eq!(got.state(), export.state(), "{got:?}");
            let id = export.name.strip_prefix("exports/").unwrap();
            match bundles.get(id) {
                Some((destination, bundle)) => {
                    assert_eq!((got.state(), got.stored_in()), (State::Committed, *destination));
                    assert_eq!(got.folder_name, bundle.folder);
                    assert_eq!(got.manifest_sha256, bundle.manifest_sha256);
                }
                None => assert_eq!(got.state(), State::Failed),
            }
        }
        let checks = client.check_storage().await.unwrap().checks;
        let row = checks.iter().find(|check| check.check == "exports.journal").unwrap();
        let numbers: Vec<u64> = row
            .message
            .split_once("started ")
            .map(|(_, counts)| counts.split(|c: char| !c.is_ascii_digit()))
            .into_iter()
            .flatten()
            .filter_map(|number| number.parse().ok())
            .collect();
        assert_eq!(numbers[0], numbers[1..7].iter().sum::<u64>(), "{}", row.message);
    }

    fn bundles_in_one_store(&self) -> BTreeMap<String, (Destination, FoundBundle)> {
        let remote = Snapshot::of_s3(&self.s3).bundles().into_iter();
        let local = Snapshot::of_folder(&self.data_dir()).bundles().into_iter();
        let remote = remote.map(|(id, bundle)| (id, (Destination::S3, bundle)));
        let local = local.map(|(id, bundle)| (id, (Destination::Local, bundle)));
        let mut all = BTreeMap::new();
        for (id, found) in remote.chain(local) {
            let twice = all.insert(id, found);
            assert!(twice.is_none(), "in both stores: {twice:?}");
        }
        all
    }

    fn check_no_leftovers(&self) {
        let bundles = self.bundles_in_one_store();
        for (case, Observed { accepted, .. }) in self.ledger.observed() {
            let destination = if case.is_local { Destination::Local } else { Destination::S3 };
            match bundles.get(&case.export_id()) {
                Some((found, _)) => assert_eq!(*found, destination, "{case:?}"),
                None => assert!(!accepted || self.has_failed(&case), "{case:?} has no bundle"),
            }
        }
        // The local store may have only its bundles and the ignored files.
        let local = Snapshot::of_folder(&self.data_dir());
        let mut expected =
            BTreeSet::from([".tara-export/lock", ".tara-export/stores.json"].map(str::to_owned));
        for (_, bundle) in
            bundles.values().filter(|(destination, _)| *destination == Destination::Local)
        {
            expected.extend(local.keys_of(bundle));
        }
        let ignored = [
            ".tara-export/receipts/",
            ".tara-export/failed/",
            ".tara-export/probe/",
            // Removed when they expire.
            ".tara-export/uploads/",
            ".tara-export/journal/quarantine/",
            ".tara-export/batches/ended/",
            ".tara-export/events/owner.json",
            ".tara-export/events/delivered/",
            ".tara-export/events/dead/",
        ];
        let left: Vec<&String> = local
            .0
            .keys()
            .filter(|key| !expected.contains(*key))
            .filter(|key| !ignored.iter().any(|prefix| key.starts_with(prefix)))
            .collect();
        assert!(left.is_empty(), "left in the local store: {left:#?}");
    }
}

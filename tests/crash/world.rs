//! What outlives the server's processes: its disk, S3, what callers were told. And what must hold
//! of them at any moment, and at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use futures::{TryStreamExt as _, future::join_all};
use tara_export::{
    client::Client,
    digest::Sha256,
    proto::{Destination, Export, ListExportsRequest, export::State},
};
use tara_export_test_support::{Operation, TestS3};
use tempfile::TempDir;

use crate::{
    callers::send,
    ledger::{Ledger, Told, Wish, is_in_s3},
    process::{End, Process, until, within},
    stores::{FoundBundle, Snapshot},
};

/// The server's settings: everything that waits waits shortly.
const SETTINGS: [(&str, &str); 7] = [
    ("LOG_FORMAT", "json"),
    ("PORT", "0"),
    ("S3_OUTAGE_PAUSE", "20ms"),
    ("ACCEPT_TIMEOUT", "100ms"),
    // The disk work of a busy machine has to be done in it.
    ("SHUTDOWN_TIMEOUT", "1s"),
    ("BACKLOG_CONCURRENCY", "3"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

pub(crate) struct World {
    folder: TempDir,
    retry_budget: &'static str,
    pub(crate) s3: TestS3,
    pub(crate) ledger: Arc<Ledger>,
    /// Digests of everything that S3 ever had.
    seen: BTreeMap<String, Sha256>,
}

impl World {
    /// A machine with nothing on it, and a server's setting S3_RETRY_BUDGET.
    pub(crate) async fn new(retry_budget: &'static str) -> Self {
        Self {
            retry_budget,
            folder: tempfile::tempdir().unwrap(),
            s3: TestS3::start().await,
            ledger: Arc::default(),
            seen: BTreeMap::new(),
        }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("exports")
    }

    /// Starts a server, which dies where these failpoints say.
    pub(crate) fn start(&self, failpoints: &str) -> Process {
        Process::start(self.command(failpoints, self.retry_budget))
    }

    /// What starts a server here.
    pub(crate) fn command(&self, failpoints: &str, retry_budget: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
        command
            .arg("serve")
            .env_clear()
            .env("DATA_DIR", self.data_dir())
            .env("FAILPOINTS", failpoints)
            .env("S3_RETRY_BUDGET", retry_budget)
            .envs(SETTINGS)
            .envs(self.s3.environment());
        command
    }

    /// Sends all of these side by side, and waits until each has its end, or lost its server.
    pub(crate) async fn send_all(&self, url: &str, wishes: &[Wish]) {
        let callers = wishes.iter().map(|wish| send(url, &self.ledger, *wish));
        for caller in within("the callers", join_all(callers)).await {
            caller.expect("a caller was told something wrong");
        }
    }

    /// The names of the journal's entries and of whatever is on its way there.
    pub(crate) fn journal(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["journal", "journal/tmp"] {
            let folder = self.data_dir().join(".tara-export").join(folder);
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let files = entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
            names.extend(files.map(|entry| entry.file_name().into_string().unwrap()));
        }
        names
    }

    /// Waits until everything that was accepted is where it belongs.
    pub(crate) async fn until_done(&self) {
        until("the journal is empty", || self.journal().is_empty()).await;
    }

    /// What must hold whenever no server runs.
    pub(crate) fn check(&mut self) {
        let (s3, local) = (Snapshot::of_s3(&self.s3), Snapshot::of_folder(&self.data_dir()));
        self.check_s3(&s3);
        let (in_s3, in_local) = (s3.bundles(), local.bundles());
        let journal = self.journal();
        for (wish, told) in self.ledger.told() {
            let id = wish.export_id();
            let is_wanted = |found: &&FoundBundle| found.manifest.session_id == wish.session_id();
            let remote = in_s3.get(&id).filter(is_wanted);
            let kept = in_local.get(&id).filter(is_wanted);
            let has_failed = self.has_failed(&wish);
            let is_journaled = journal.iter().any(|name| name.starts_with(&id));
            if told.accepted {
                let is_where_asked = if wish.is_local { kept.is_some() } else { remote.is_some() };
                assert!(
                    is_journaled || is_where_asked || has_failed,
                    "nothing is left of {wish:?}, which was accepted: {told:?}\n{}",
                    self.ledger.history_of(&wish)
                );
            }
            for export in &told.completed {
                if is_in_s3(export) {
                    let found = remote.unwrap_or_else(|| panic!("{wish:?} was in S3, and is gone"));
                    assert_eq!(found.manifest_sha256, export.manifest_sha256);
                } else {
                    assert!(kept.or(remote).is_some(), "{wish:?} was completed, and is gone");
                }
            }
            if has_failed || told.failed {
                assert!(wish.no_fallback, "{wish:?} failed");
                assert!(has_failed, "{wish:?}: its failure is forgotten");
                assert!(remote.is_none() && kept.is_none(), "{wish:?} failed, and has a bundle");
            }
        }
    }

    /// Nothing in S3 was ever changed or removed, or could have been.
    fn check_s3(&mut self, s3: &Snapshot) {
        for (key, sha256) in &self.seen {
            let now = s3.0.get(key).map(|bytes| Sha256::of(bytes));
            assert_eq!(now, Some(*sha256), "{key} is no longer what it was");
        }
        self.seen = s3.0.iter().map(|(key, bytes)| (key.clone(), Sha256::of(bytes))).collect();
        for request in self.s3.requests() {
            match request.operation {
                Operation::PutObject | Operation::CompleteMultipartUpload => {
                    assert_eq!(request.header("if-none-match"), Some("*"), "{}", request.key);
                }
                Operation::DeleteObject | Operation::DeleteObjects | Operation::CopyObject => {
                    panic!("{request:?}")
                }
                _ => {}
            }
        }
        self.s3.reset_requests();
    }

    fn has_failed(&self, wish: &Wish) -> bool {
        let note = format!(".tara-export/failed/{}.json", wish.export_id());
        let note = fs::read_to_string(self.data_dir().join(note));
        note.is_ok_and(|note| note.contains(&wish.session_id()))
    }

    /// With both stores working and nobody killed, everything comes to its end. What must hold then.
    pub(crate) async fn finish(&mut self) {
        self.s3.clear_faults();
        self.s3.latency(Duration::ZERO);
        // Patient, so that a busy machine is not taken for an outage.
        let mut process = Process::start(self.command("", "60s"));
        let url = process.url().await.expect("a server that nothing ails starts");
        self.until_done().await;
        let parts = self.data_dir().join(".tara-export/parts");
        // What was noted is aborted.
        until("no part is noted", || fs::read_dir(&parts).map_or(0, Iterator::count) == 0).await;
        self.check_listing(&url).await;
        process.terminate();
        assert_eq!(process.ended().await, End::Exited(Some(0)));
        self.check();
        self.check_nothing_is_left();
    }

    /// Everybody who asks sees every export once, and as it is.
    async fn check_listing(&self, url: &str) {
        let client = Client::connect(url).await.unwrap();
        let listed: Vec<Export> =
            client.list_exports(ListExportsRequest::default()).try_collect().await.unwrap();
        let names: BTreeSet<&str> = listed.iter().map(|export| export.name.as_str()).collect();
        assert_eq!(names.len(), listed.len(), "listed twice: {listed:#?}");
        let bundles = self.bundles_where_they_belong();
        let failed = self.ledger.told().into_keys().filter(|wish| self.has_failed(wish)).count();
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

    fn bundles_where_they_belong(&self) -> BTreeMap<String, (Destination, FoundBundle)> {
        let remote = Snapshot::of_s3(&self.s3).bundles().into_iter();
        let kept = Snapshot::of_folder(&self.data_dir()).bundles().into_iter();
        let remote = remote.map(|(id, bundle)| (id, (Destination::S3, bundle)));
        let kept = kept.map(|(id, bundle)| (id, (Destination::Local, bundle)));
        let mut all = BTreeMap::new();
        for (id, found) in remote.chain(kept) {
            let twice = all.insert(id, found);
            assert!(twice.is_none(), "in both stores: {twice:?}");
        }
        all
    }

    fn check_nothing_is_left(&self) {
        let bundles = self.bundles_where_they_belong();
        for (wish, Told { accepted, .. }) in self.ledger.told() {
            let place = if wish.is_local { Destination::Local } else { Destination::S3 };
            match bundles.get(&wish.export_id()) {
                Some((found, _)) => assert_eq!(*found, place, "{wish:?}"),
                None => assert!(!accepted || self.has_failed(&wish), "{wish:?} has no bundle"),
            }
        }
        // Of the local store: its bundles, and notes of what is no longer here.
        let local = Snapshot::of_folder(&self.data_dir());
        let mut expected = BTreeSet::from([".tara-export/lock".to_owned()]);
        for (_, bundle) in bundles.values().filter(|(place, _)| *place == Destination::Local) {
            expected.extend(local.keys_of(bundle));
        }
        let notes = [
            ".tara-export/receipts/",
            ".tara-export/failed/",
            ".tara-export/probe/",
            // They go when they expire.
            ".tara-export/uploads/",
            ".tara-export/journal/quarantine/",
        ];
        let left: Vec<&String> = local
            .0
            .keys()
            .filter(|key| !expected.contains(*key))
            .filter(|key| !notes.iter().any(|note| key.starts_with(note)))
            .collect();
        assert!(left.is_empty(), "left in the local store: {left:#?}");
    }
}

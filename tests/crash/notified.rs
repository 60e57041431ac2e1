//! Which events must have been delivered, and how often: kept over all processes of a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::receiver::{Delivery, Receiver};

/// Deliveries of one target that are in progress at the same time.
const MAX_PARALLEL: usize = 4;
/// The first part of the ids of cases, which differs from that of ids that the server derives.
const CASE_PREFIX: &str = "6f1c7a52-";

/// The numbers of one run, for tests that run for hours.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Processes that ended.
    pub(crate) ends: usize,
    /// Events that were delivered.
    pub(crate) events: usize,
    /// Deliveries of an event that a target had processed before.
    pub(crate) duplicates: usize,
    /// Answers that the receiver did not send.
    pub(crate) lost_answers: usize,
}

/// The receiver of a world's events, and the events that it must get.
pub(crate) struct Notified {
    pub(crate) receiver: Receiver,
    file: PathBuf,
    /// Replicas that deliver the same events.
    pub(crate) replicas: usize,
    /// How often each event was pending when a process ended: at most as often, it is delivered again.
    pending_at_ends: BTreeMap<String, usize>,
    ends: usize,
    /// The ids of exports with the types of events that must be delivered.
    required: BTreeSet<(String, &'static str)>,
}

impl Notified {
    /// The targets are written into `folder`.
    pub(crate) async fn new(folder: &Path, targets: impl FnOnce(&Receiver) -> Vec<Value>) -> Self {
        let receiver = Receiver::start().await;
        // A secret of 32 bytes.
        let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        fs::write(folder.join("secret"), secret).unwrap();
        let file = folder.join("targets.json");
        fs::write(&file, json!({ "targets": targets(&receiver) }).to_string()).unwrap();
        Self {
            receiver,
            file,
            replicas: 1,
            pending_at_ends: BTreeMap::new(),
            ends: 0,
            required: BTreeSet::new(),
        }
    }

    /// The setting `NOTIFY_FILE`.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Records that a process has ended.
    pub(crate) fn process_ended(&mut self, data_dir: &Path) {
        self.ends += 1;
        for name in names_in(data_dir, "events/pending") {
            *self.pending_at_ends.entry(name).or_default() += 1;
        }
    }

    /// Demands the event of an export.
    pub(crate) fn require(&mut self, export_id: &str, event_type: &'static str) {
        self.required.insert((export_id.to_owned(), event_type));
    }

    /// Demands the event of a fallback that was reported, unless the export was committed before and resumed: an
    /// export has no event after `committed`.
    pub(crate) fn require_fell_back(&mut self, export_id: &str, data_dir: &Path) {
        if !has_note(data_dir, export_id, "committed") {
            self.require(export_id, "fell_back");
        }
    }

    /// Whether nothing waits for a delivery.
    pub(crate) fn is_idle(data_dir: &Path) -> bool {
        ["settled", "events/pending"].iter().all(|folder| names_in(data_dir, folder).is_empty())
    }

    /// Checks the deliveries to each webhook when nothing waits. `bundles` and `failures` are the ids of exports.
    pub(crate) fn check(
        &self,
        data_dir: &Path,
        bundles: &BTreeSet<String>,
        failures: &BTreeSet<String>,
    ) -> Totals {
        assert!(Self::is_idle(data_dir));
        let file: Value = serde_json::from_slice(&fs::read(&self.file).unwrap()).unwrap();
        let webhooks = file["targets"].as_array().unwrap().iter();
        let mut totals = Totals { ends: self.ends, ..Totals::default() };
        for target in webhooks.filter(|target| target["kind"] == "webhook") {
            let name = target["name"].as_str().unwrap();
            let mut own = self.receiver.deliveries();
            own.retain(|delivery| delivery.target == name);
            self.check_completeness(&own, bundles, failures);
            check_order(&own);
            self.check_duplicates(&own, &mut totals);
        }
        totals
    }

    fn check_completeness(
        &self,
        deliveries: &[Delivery],
        bundles: &BTreeSet<String>,
        failures: &BTreeSet<String>,
    ) {
        let has = |export_id: &str, types: &[&str]| {
            deliveries.iter().any(|delivery| {
                delivery.export_id == export_id && types.contains(&delivery.event_type.as_str())
            })
        };
        for id in bundles {
            assert!(has(id, &["committed", "synced"]), "lost: {id}: {deliveries:#?}");
            assert!(!has(id, &["failed"]), "{id} did not fail: {deliveries:#?}");
        }
        for id in failures {
            assert!(has(id, &["failed"]), "lost: {id}: {deliveries:#?}");
            assert!(!has(id, &["committed", "synced"]), "{id} failed: {deliveries:#?}");
        }
        for (id, event_type) in &self.required {
            assert!(has(id, &[event_type]), "lost: {event_type} of {id}: {deliveries:#?}");
        }
        for Delivery { export_id, event_type, .. } in deliveries {
            let expected = match event_type.as_str() {
                "committed" | "synced" => bundles.contains(export_id),
                "failed" => failures.contains(export_id),
                _ => true,
            };
            assert!(expected, "{event_type} of {export_id} is wrong");
        }
    }

    fn check_duplicates(&self, deliveries: &[Delivery], totals: &mut Totals) {
        let mut by_event: BTreeMap<&str, Vec<&Delivery>> = BTreeMap::new();
        for delivery in deliveries {
            by_event.entry(&delivery.event_id).or_default().push(delivery);
        }
        let (mut duplicates, mut lost_answers) = (0, 0);
        for (event_id, deliveries) in &by_event {
            let lost = deliveries.iter().filter(|delivery| delivery.is_answer_lost).count();
            let ends = self.pending_at_ends.get(*event_id).copied().unwrap_or_default();
            assert!(
                deliveries.len() <= self.replicas + lost + ends,
                "{lost}, {ends}: {deliveries:#?}"
            );
            duplicates += deliveries.len() - 1;
            lost_answers += lost;
        }
        let repeated = (self.replicas - 1) * by_event.len();
        let limit = repeated + self.ends * MAX_PARALLEL + lost_answers;
        assert!(duplicates <= limit, "{duplicates} duplicates, at most {limit} expected");
        totals.events += by_event.len();
        totals.duplicates += duplicates;
        totals.lost_answers += lost_answers;
    }
}

/// `synced` follows an answered `fell_back`, if the export has the id of a case.
fn check_order(deliveries: &[Delivery]) {
    for (number, delivery) in deliveries.iter().enumerate() {
        if delivery.event_type == "synced" && delivery.export_id.starts_with(CASE_PREFIX) {
            let is_answered = |earlier: &Delivery| {
                earlier.export_id == delivery.export_id
                    && earlier.event_type == "fell_back"
                    && !earlier.is_answer_lost
            };
            assert!(deliveries[..number].iter().any(is_answered), "{delivery:?}: {deliveries:#?}");
        }
    }
}

/// The names of the JSON files in a folder below `.tara-export`, without their extension.
pub(crate) fn names_in(data_dir: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(data_dir.join(".tara-export").join(folder)) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect()
}

/// Whether an export has an event of this type on disk, in whatever state.
fn has_note(data_dir: &Path, export_id: &str, event_type: &str) -> bool {
    let folders = ["settled", "events/pending", "events/delivered", "events/dead"];
    folders.iter().any(|folder| {
        names_in(data_dir, folder).iter().any(|name| {
            let path = data_dir.join(".tara-export").join(folder).join(format!("{name}.json"));
            let note: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            note.pointer("/content/export/export_id") == Some(&json!(export_id))
                && note["content"]["type"] == event_type
        })
    })
}

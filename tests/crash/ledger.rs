//! The requests that were sent and the events that callers received.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use tara_export_client::{
    ClientError,
    proto::{Destination, Export},
};
use tonic::Code;

/// A review that callers export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExportCase {
    /// Determines the export id.
    pub(crate) number: u32,
    /// The review that is sent under that id.
    pub(crate) content: u8,
    pub(crate) is_local: bool,
    pub(crate) no_fallback: bool,
    pub(crate) guidelines: Guidelines,
}

/// A third document and how it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guidelines {
    None,
    /// Inline in the request, too large for one PutObject.
    Large,
    /// Uploaded before the request.
    Uploaded,
}

impl ExportCase {
    /// A review for S3 with fallback to the local store.
    pub(crate) fn new(number: u32) -> Self {
        let guidelines = Guidelines::None;
        Self { number, content: 1, is_local: false, no_fallback: false, guidelines }
    }

    /// The same with the local store as destination.
    pub(crate) fn local(self) -> Self {
        Self { is_local: true, ..self }
    }

    /// The same without fallback.
    pub(crate) fn without_fallback(self) -> Self {
        Self { no_fallback: true, ..self }
    }

    /// The same with a third document.
    pub(crate) fn with(self, guidelines: Guidelines) -> Self {
        Self { guidelines, ..self }
    }

    pub(crate) fn export_id(&self) -> String {
        format!("6f1c7a52-3b0e-4c59-9d7e-{:012x}", self.number)
    }

    /// Identifies the review in the manifest.
    pub(crate) fn session_id(&self) -> String {
        format!("session-{}-{}", self.number, self.content)
    }
}

/// What callers observed of a case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) accepted: bool,
    pub(crate) failed: bool,
    /// The code of the last call that ended before the export did.
    pub(crate) refused: Option<Code>,
    /// Every reported completion, in order.
    pub(crate) completed: Vec<Export>,
}

/// All cases with the observations of their callers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    observed: Mutex<BTreeMap<ExportCase, Observed>>,
    /// All events in order, shown when a test fails.
    history: Mutex<Vec<(u32, String)>>,
}

impl Ledger {
    /// Adds an event that concerns all exports.
    pub(crate) fn log_event(&self, what: &str) {
        self.history.lock().unwrap().push((0, what.to_owned()));
    }

    pub(crate) fn record_sent(&self, case: ExportCase) {
        self.log_for(case, "sent");
        self.lock().entry(case).or_default();
    }

    pub(crate) fn accepted(&self, case: ExportCase) {
        self.log_for(case, "accepted");
        self.lock().entry(case).or_default().accepted = true;
    }

    pub(crate) fn failed(&self, case: ExportCase) {
        self.log_for(case, "failed");
        self.lock().entry(case).or_default().failed = true;
    }

    pub(crate) fn completed(&self, case: ExportCase, export: Export) {
        self.log_for(case, &format!("completed in {:?}", export.stored_in()));
        assert_eq!(export.session_id, case.session_id(), "another review was exported");
        self.lock().entry(case).or_default().completed.push(export);
    }

    /// Records a call that ended before the export did: a lost connection or a refusal.
    pub(crate) fn ended(&self, case: ExportCase, error: &ClientError) {
        self.log_for(case, &error.to_string());
        let code = error.code();
        let observed = {
            let mut all = self.lock();
            let observed = all.entry(case).or_default();
            observed.refused = code;
            observed.clone()
        };
        let is_refused = match code {
            // The connection is lost, the server is about to end, or S3 fails without a fallback.
            None | Some(Code::Unavailable | Code::Unknown | Code::Cancelled) => false,
            Some(Code::AlreadyExists) => true,
            Some(Code::FailedPrecondition) if case.no_fallback => true,
            // The disk is full.
            Some(Code::ResourceExhausted) => true,
            Some(_) => panic!("{case:?}: {error:?}"),
        };
        assert!(
            !is_refused || !observed.accepted,
            "{case:?} was accepted and then refused:\n{}",
            self.history_of(&case)
        );
    }

    /// The number of acceptances and ends that callers observed.
    pub(crate) fn count_events(&self) -> usize {
        let count = |observed: &Observed| {
            usize::from(observed.accepted) + observed.completed.len() + usize::from(observed.failed)
        };
        self.lock().values().map(count).sum()
    }

    /// The events of an export.
    pub(crate) fn history_of(&self, case: &ExportCase) -> String {
        let history = self.history.lock().unwrap();
        let own = history.iter().filter(|(number, _)| [0, case.number].contains(number));
        own.map(|(_, what)| what.as_str()).collect::<Vec<_>>().join("\n")
    }

    fn log_for(&self, case: ExportCase, what: &str) {
        let what = format!("{case:?}: {what}");
        self.history.lock().unwrap().push((case.number, what));
    }

    pub(crate) fn observed(&self) -> BTreeMap<ExportCase, Observed> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ExportCase, Observed>> {
        self.observed.lock().unwrap()
    }
}

/// Whether the export was reported as stored in S3.
pub(crate) fn is_in_s3(export: &Export) -> bool {
    export.stored_in() == Destination::S3
}

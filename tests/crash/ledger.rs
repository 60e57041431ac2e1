//! What was asked of the servers, and what they told.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use tara_export::{
    client::ClientError,
    proto::{Destination, Export},
};
use tonic::Code;

/// A review that somebody wants to be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wish {
    /// Makes its id.
    pub(crate) number: u32,
    /// Which review is sent under that id.
    pub(crate) content: u8,
    pub(crate) is_local: bool,
    pub(crate) no_fallback: bool,
    pub(crate) guidelines: Guidelines,
}

/// A third document, and how it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guidelines {
    None,
    /// In the request, too large for one request to S3.
    Large,
    /// Uploaded before the request.
    Uploaded,
}

impl Wish {
    /// A review for S3, or else the local store.
    pub(crate) fn new(number: u32) -> Self {
        let guidelines = Guidelines::None;
        Self { number, content: 1, is_local: false, no_fallback: false, guidelines }
    }

    /// The same, for the local store.
    pub(crate) fn local(self) -> Self {
        Self { is_local: true, ..self }
    }

    /// The same, for S3 or nothing.
    pub(crate) fn or_nothing(self) -> Self {
        Self { no_fallback: true, ..self }
    }

    /// The same with one document more.
    pub(crate) fn with(self, guidelines: Guidelines) -> Self {
        Self { guidelines, ..self }
    }

    pub(crate) fn export_id(&self) -> String {
        format!("6f1c7a52-3b0e-4c59-9d7e-{:012x}", self.number)
    }

    /// Tells in the manifest which review it was.
    pub(crate) fn session_id(&self) -> String {
        format!("session-{}-{}", self.number, self.content)
    }
}

/// What a caller was told of a wish.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) accepted: bool,
    pub(crate) failed: bool,
    /// The code of the last call that ended without an end of the export.
    pub(crate) refused: Option<Code>,
    /// Every completion that was told, the last one last.
    pub(crate) completed: Vec<Export>,
}

/// All wishes, and what was told of them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    told: Mutex<BTreeMap<Wish, Told>>,
    /// Everything in the order in which it happened, to be shown when a test fails.
    history: Mutex<Vec<(u32, String)>>,
}

impl Ledger {
    /// Something happened to all exports.
    pub(crate) fn note(&self, what: &str) {
        self.history.lock().unwrap().push((0, what.to_owned()));
    }

    pub(crate) fn asked(&self, wish: Wish) {
        self.noted(wish, "asked");
        self.lock().entry(wish).or_default();
    }

    pub(crate) fn accepted(&self, wish: Wish) {
        self.noted(wish, "accepted");
        self.lock().entry(wish).or_default().accepted = true;
    }

    pub(crate) fn failed(&self, wish: Wish) {
        self.noted(wish, "failed");
        self.lock().entry(wish).or_default().failed = true;
    }

    pub(crate) fn completed(&self, wish: Wish, export: Export) {
        self.noted(wish, &format!("completed in {:?}", export.stored_in()));
        assert_eq!(export.session_id, wish.session_id(), "another review was exported");
        self.lock().entry(wish).or_default().completed.push(export);
    }

    /// A call that ended without an end of the export: a lost connection, or a refusal.
    pub(crate) fn ended(&self, wish: Wish, error: &ClientError) {
        self.noted(wish, &error.to_string());
        let code = error.code();
        let told = {
            let mut all = self.lock();
            let told = all.entry(wish).or_default();
            told.refused = code;
            told.clone()
        };
        let is_refused = match code {
            // The connection is lost, or the server about to end. Or the store does not answer, and
            // there is no other.
            None | Some(Code::Unavailable | Code::Unknown | Code::Cancelled) => false,
            Some(Code::AlreadyExists) => true,
            Some(Code::FailedPrecondition) if wish.no_fallback => true,
            // The disk is full.
            Some(Code::ResourceExhausted) => true,
            Some(_) => panic!("{wish:?}: {error:?}"),
        };
        assert!(
            !is_refused || !told.accepted,
            "{wish:?} was accepted, and is refused now:\n{}",
            self.history_of(&wish)
        );
    }

    /// What happened to an export.
    pub(crate) fn history_of(&self, wish: &Wish) -> String {
        let history = self.history.lock().unwrap();
        let own = history.iter().filter(|(number, _)| [0, wish.number].contains(number));
        own.map(|(_, what)| what.as_str()).collect::<Vec<_>>().join("\n")
    }

    fn noted(&self, wish: Wish, what: &str) {
        let what = format!("{wish:?}: {what}");
        self.history.lock().unwrap().push((wish.number, what));
    }

    pub(crate) fn told(&self) -> BTreeMap<Wish, Told> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Wish, Told>> {
        self.told.lock().unwrap()
    }
}

/// Whether this was told as a bundle in S3.
pub(crate) fn is_in_s3(export: &Export) -> bool {
    export.stored_in() == Destination::S3
}

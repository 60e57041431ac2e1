//! What breaks, and where, without each mechanism: the reason why it is there.

use crate::{
    invariants::{
        ALL_IS_SETTLED, FAILED_IS_FINAL, MANIFEST_COMES_LAST, NOTHING_ACCEPTED_IS_LOST,
        NOTHING_IS_OVERWRITTEN, ONE_BUNDLE, ONE_PIECE, READERS_FIND_IT, REFUSED_MEANS_REFUSED,
    },
    mechanisms::Mechanisms,
    report::{self, Violation},
    scenarios::{self, Scenario},
};

/// One mechanism off, and the invariant that this breaks.
pub struct Counterexample {
    /// The mechanism's name.
    pub mechanism: &'static str,
    /// Whether the design marks it with (!).
    pub is_marked: bool,
    /// All mechanisms but this.
    pub without: Mechanisms,
    /// The scenario's name.
    pub scenario: &'static str,
    /// The invariant's name.
    pub invariant: &'static str,
}

impl Counterexample {
    /// A way to break the invariant; none where it holds after all.
    pub fn violation(&self) -> Option<Violation> {
        report::violation(&self.scenario()?, self.without, self.invariant, None)
    }

    /// The shortest such way. Takes about twice as long.
    pub fn shortest_violation(&self) -> Option<Violation> {
        report::shortest_violation(&self.scenario()?, self.without, self.invariant)
    }

    fn scenario(&self) -> Option<Scenario> {
        scenarios::all().into_iter().find(|scenario| scenario.name == self.scenario)
    }
}

macro_rules! counterexamples {
    ($($mechanism:ident, $is_marked:literal, $scenario:literal, $invariant:ident;)*) => {
        /// One for each mechanism.
        pub fn all() -> Vec<Counterexample> {
            vec![$(Counterexample {
                mechanism: stringify!($mechanism),
                is_marked: $is_marked,
                without: Mechanisms { $mechanism: false, ..Mechanisms::default() },
                scenario: $scenario,
                invariant: $invariant,
            }),*]
        }
    };
}

counterexamples! {
    pinned_version, true, "upgrade", ONE_BUNDLE;
    unclaimed_folder_look, true, "unclaimed folder", ONE_PIECE;
    kept_as_derived_id, true, "id reused", NOTHING_ACCEPTED_IS_LOST;
    fallback_uses_journal_time, true, "two outages", ONE_BUNDLE;
    manifest_deleted_first, true, "outage", MANIFEST_COMES_LAST;
    journal_entry_deleted_last, true, "outage", ALL_IS_SETTLED;
    fail_only_before_manifest, true, "fallback none", FAILED_IS_FINAL;
    fail_only_by_acceptor, true, "fallback none", FAILED_IS_FINAL;
    store_journal_digest_in_key, true, "id reused, machine lost", NOTHING_ACCEPTED_IS_LOST;
    store_journal_record_digest_check, true, "id reused, machine lost", REFUSED_MEANS_REFUSED;
    digest_compared_in_record_encoding, false, "upgrade", ONE_BUNDLE;
    record_adopted, false, "sent twice", ONE_BUNDLE;
    put_if_absent, false, "sent twice", NOTHING_IS_OVERWRITTEN;
    manifest_last, false, "sent twice", MANIFEST_COMES_LAST;
    fallback_uses_journal_id, false, "id reused", ONE_BUNDLE;
    derived_id_in_record_encoding, false, "id taken", ONE_BUNDLE;
    store_journal_spares_fallback_none, false, "fallback none, journal in S3", FAILED_IS_FINAL;
    local_folders_by_scan, false, "one name, one replica", READERS_FIND_IT;
}

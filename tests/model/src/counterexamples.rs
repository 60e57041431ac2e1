//! For each mechanism: a scenario and an invariant that breaks without it.

use crate::{
    event_invariants::{
        FAILED_EVENT_IS_FINAL, FELL_BACK_IS_NOT_LAST, FELL_BACK_PRECEDES_SYNCED, NO_EVENT_IS_LOST,
        ONE_FINAL_EVENT, REPEATED_FOR_A_REASON,
    },
    invariants::{
        ALL_IS_SETTLED, CONSISTENT_BUNDLE, FAILURE_IS_FINAL, LOST_DOCUMENT_IS_LOST,
        MANIFEST_WRITTEN_LAST, NO_ACCEPTED_EXPORT_IS_LOST, NO_EXPORT_IS_STUCK,
        NO_OBJECT_IS_OVERWRITTEN, ONE_BUNDLE, OWN_STORE_DECIDES, READERS_FIND_BUNDLES,
        REFUSED_HAS_NO_BUNDLE,
    },
    mechanisms::Mechanisms,
    report::{self, Violation},
    scenarios::{self, Scenario},
};

/// A disabled mechanism and the invariant that breaks.
pub struct Counterexample {
    /// The mechanism's name.
    pub mechanism: &'static str,
    /// All mechanisms except this one.
    pub without: Mechanisms,
    /// The scenario's name.
    pub scenario: &'static str,
    /// The invariant's name.
    pub invariant: &'static str,
}

impl Counterexample {
    /// A trace that breaks the invariant; `None` if there is none.
    pub fn violation(&self) -> Option<Violation> {
        report::violation(&self.scenario()?, self.without, self.invariant, None)
    }

    /// The shortest trace that breaks the invariant. Takes about twice as long.
    pub fn shortest_violation(&self) -> Option<Violation> {
        report::shortest_violation(&self.scenario()?, self.without, self.invariant)
    }

    fn scenario(&self) -> Option<Scenario> {
        scenarios::all().into_iter().find(|scenario| scenario.name == self.scenario)
    }
}

macro_rules! counterexamples {
    ($($mechanism:ident, $scenario:literal, $invariant:ident;)*) => {
        /// One counterexample for each mechanism.
        pub fn all() -> Vec<Counterexample> {
            vec![$(Counterexample {
                mechanism: stringify!($mechanism),
                without: Mechanisms { $mechanism: false, ..Mechanisms::default() },
                scenario: $scenario,
                invariant: $invariant,
            }),*]
        }
    };
}

counterexamples! {
    pinned_version, "upgrade", ONE_BUNDLE;
    claimed_before_artifacts, "one name, two releases", CONSISTENT_BUNDLE;
    unclaimed_folder_check, "unclaimed folder", CONSISTENT_BUNDLE;
    stored_under_derived_id, "id reused", NO_ACCEPTED_EXPORT_IS_LOST;
    fallback_uses_journal_time, "two outages", ONE_BUNDLE;
    manifest_deleted_first, "outage", MANIFEST_WRITTEN_LAST;
    journal_entry_deleted_last, "outage", ALL_IS_SETTLED;
    fail_only_before_manifest, "fallback none", FAILURE_IS_FINAL;
    fail_only_by_acceptor, "fallback none", FAILURE_IS_FINAL;
    store_journal_digest_in_key, "id reused, machine lost", NO_ACCEPTED_EXPORT_IS_LOST;
    store_journal_record_digest_check, "id reused, machine lost", REFUSED_HAS_NO_BUNDLE;
    store_journal_marker_read, "source lost", FAILURE_IS_FINAL;
    store_journal_ended_after_commit, "machine lost, no deletions", NO_ACCEPTED_EXPORT_IS_LOST;
    store_journal_failure_marked, "source lost, late put", FAILURE_IS_FINAL;
    store_journal_failure_marked_first, "source lost", FAILURE_IS_FINAL;
    digest_compared_in_record_encoding, "upgrade", ONE_BUNDLE;
    record_adopted, "sent twice", ONE_BUNDLE;
    put_if_absent, "sent twice", NO_OBJECT_IS_OVERWRITTEN;
    existing_object_compared, "hedged puts", ONE_BUNDLE;
    manifest_last, "sent twice", MANIFEST_WRITTEN_LAST;
    fallback_uses_journal_id, "id reused", ONE_BUNDLE;
    derived_id_in_record_encoding, "id taken", ONE_BUNDLE;
    store_journal_spares_fallback_none, "fallback none, journal in S3", FAILURE_IS_FINAL;
    local_folders_by_scan, "one name, one replica", READERS_FIND_BUNDLES;
    entry_names_its_store, "other store configured", OWN_STORE_DECIDES;
    attempt_reads_identity, "store replaced", ONE_BUNDLE;
    identity_read_again_after_failure, "store replaced", MANIFEST_WRITTEN_LAST;
    new_identity_where_it_is_missing, "store replaced", OWN_STORE_DECIDES;
    proposal_until_confirmed, "store replaced", NO_EXPORT_IS_STUCK;
    proposal_noted_before_use, "first contact", NO_EXPORT_IS_STUCK;
    proposal_becomes_alias, "first contact", NO_EXPORT_IS_STUCK;
    unlabelled_entries_belong_to_first_store, "upgrade to identities", ONE_BUNDLE;
    identity_read_with_documents, "store replaced, document", LOST_DOCUMENT_IS_LOST;
    loss_confirmed, "other store configured, document", LOST_DOCUMENT_IS_LOST;
    identity_read_before_failing, "store replaced, document", LOST_DOCUMENT_IS_LOST;
    copied_document_is_not_read_again, "store replaced, document", FAILURE_IS_FINAL;
    event_before_entry_is_removed, "events", NO_EVENT_IS_LOST;
    failed_event_after_record, "events, fallback none", FAILED_EVENT_IS_FINAL;
    fell_back_noted_at_start, "events", NO_EVENT_IS_LOST;
    one_final_event, "events", ONE_FINAL_EVENT;
    event_id_has_digest, "events, id reused", NO_EVENT_IS_LOST;
    event_claim, "events, sent twice", REPEATED_FOR_A_REASON;
    event_owner_on_disk, "events", NO_EVENT_IS_LOST;
    synced_waits_for_fell_back, "events", FELL_BACK_PRECEDES_SYNCED;
    synced_has_owner_of_fell_back, "events, both fall back", FELL_BACK_PRECEDES_SYNCED;
    event_claimed_before_entry_ends, "events, machine lost", NO_EVENT_IS_LOST;
    done_before_forget, "events, machine lost", REPEATED_FOR_A_REASON;
    owner_takes_slot, "events, machine lost", REPEATED_FOR_A_REASON;
    stale_fell_back_is_dropped, "events, machine lost", FELL_BACK_IS_NOT_LAST;
    orphan_synced_waits_for_done, "events, machine lost", FELL_BACK_PRECEDES_SYNCED;
}

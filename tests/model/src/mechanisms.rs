//! The mechanisms of the protocol, each of which can be disabled to see what breaks without it.

/// The enabled mechanisms; all by [`Default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// Step 2: journal entries and records pin the format version and with it the digest's
    /// encoding. Off: every process uses the version of its own release.
    pub pinned_version: bool,
    /// Step 3: digests are compared in the encoding of the record's version. Off: as they are.
    pub digest_compared_in_record_encoding: bool,
    /// Step 3: a process adopts a record that has its own digest. Off: it keeps its own time.
    pub record_adopted: bool,
    /// Step 3: a claim also checks for a manifest in an unclaimed folder. Off: it does not.
    pub unclaimed_folder_check: bool,
    /// Step 4: an accepted export continues under an id derived from the digest. Off: it is refused
    /// as if it had not been accepted.
    pub stored_under_derived_id: bool,
    /// Steps 3, 6 and 7: S3 puts an object only if the key is free. Off: it ignores If-None-Match.
    pub put_if_absent: bool,
    /// Step 6: artifacts are put after the folder was claimed. Off: together with the claim.
    pub claimed_before_artifacts: bool,
    /// Steps 6 and 7: an object that exists is compared, because it may be the export's own. Off: it
    /// is a foreign object.
    pub existing_object_compared: bool,
    /// Step 7: the manifest is put after the store confirmed every artifact and the index entry.
    /// Off: it is put while the last of them is unconfirmed.
    pub manifest_last: bool,
    /// Step 8: the local store gets time and version of the journal entry. Off: those of the run,
    /// which may be those of the record in S3.
    pub fallback_uses_journal_time: bool,
    /// Step 8: the local store gets the caller's id. Off: the derived id, if step 4 made one.
    pub fallback_uses_journal_id: bool,
    /// Step 4: the digest in a derived id is in the encoding of the existing record, which all
    /// replicas read alike. Off: in the encoding of the replica's own journal entry.
    pub derived_id_in_record_encoding: bool,
    /// Steps 8, 10 and 12: an export's folders in the local store are found by reading all claims.
    /// Off: from the base name to the first unclaimed folder, as in S3, where claims are never
    /// removed.
    pub local_folders_by_scan: bool,
    /// Step 10: the local manifest is removed before the artifacts. Off: after them.
    pub manifest_deleted_first: bool,
    /// Step 10: the journal entry is removed last. Off: first.
    pub journal_entry_deleted_last: bool,
    /// Step 11: an export fails only before its manifest was first sent. Off: also later.
    pub fail_only_before_manifest: bool,
    /// Step 11: only the process that accepted an export fails it. Off: a restarted process does,
    /// too.
    pub fail_only_by_acceptor: bool,
    /// Step 15: the key of an entry contains the digest. Off: only the id.
    pub store_journal_digest_in_key: bool,
    /// Step 15: an export with `FALLBACK_NONE` puts no entry. Off: it does, and another replica may
    /// finish an export that its own replica reported as failed.
    pub store_journal_spares_fallback_none: bool,
    /// Step 17: a replica takes over an entry only if the record has the entry's digest. Off:
    /// always.
    pub store_journal_record_digest_check: bool,
    /// Step 13: an entry names its store and waits while another one responds. Off: it uses any
    /// store.
    pub entry_names_its_store: bool,
    /// Step 13: each attempt reads the store's identity first. Off: the process uses the one it
    /// read before.
    pub attempt_reads_identity: bool,
    /// Step 13: after a failed request to S3, active runs read the identity again. Off: they
    /// continue.
    pub identity_read_again_after_failure: bool,
    /// Step 13: a store without an identity gets a new one. Off: the last identity of its location.
    pub new_identity_where_it_is_missing: bool,
    /// Step 13: an entry that is accepted while the store does not respond names a proposal. Off:
    /// the last identity of the location.
    pub proposal_until_confirmed: bool,
    /// Step 13: a proposal is on disk before an entry names it. Off: it is in memory.
    pub proposal_noted_before_use: bool,
    /// Step 13: a proposal becomes an alias of the identity that the store returns. Off: it stands
    /// for itself.
    pub proposal_becomes_alias: bool,
    /// Step 13: entries without a store belong to the store of the first start with identities.
    /// Off: to any.
    pub unlabelled_entries_belong_to_first_store: bool,
    /// Step 13: a request whose document is pinned in the store names the identity that was read
    /// with it. Off: the identity that the process read before, or a proposal.
    pub identity_read_with_documents: bool,
    /// Step 14: a document is lost when it was not found twice. Off: once.
    pub loss_confirmed: bool,
    /// Step 14: a check counts only if the store returns the entry's identity right after. Off:
    /// always.
    pub identity_read_before_failing: bool,
    /// Step 14: a document whose copy is in the bundle's folder is not read again. Off: every
    /// attempt reads it, also after the manifest may have been sent.
    pub copied_document_is_not_read_again: bool,
    /// Step 17: an entry with an end marker is not taken over. Off: end markers are not read.
    pub store_journal_marker_read: bool,
    /// Step 16: a replica ends another's entry only when the bundle is committed or the record is
    /// of other content. Off: as soon as there is a record.
    pub store_journal_ended_after_commit: bool,
    /// Step 16: an export that fails always puts an end marker. Off: its entry is deleted.
    pub store_journal_failure_marked: bool,
    /// Step 16: the end marker is put before the failure is recorded. Off: after it.
    pub store_journal_failure_marked_first: bool,
    /// Step 18: the note of an event is durable before the journal entry is removed. Off: it is written
    /// after the removal.
    pub event_before_entry_is_removed: bool,
    /// Step 18: the note of `failed` is written after the failure record. Off: before it.
    pub failed_event_after_record: bool,
    /// Step 18: a start writes the note of `fell_back` of a complete local bundle if there is none.
    /// Off: it does not.
    pub fell_back_noted_at_start: bool,
    /// Step 18: an export with a note of `committed` or `synced` gets no other note. Off: it may fall
    /// back and sync again after a restart.
    pub one_final_event: bool,
    /// Step 19: the id of an event contains the content digest. Off: only the export's id and the type.
    pub event_id_has_digest: bool,
    /// Step 19: an event is claimed in the store. Off: every replica delivers its own note.
    pub event_claim: bool,
    /// Step 19: the owner of a claim is the data directory. Off: the process.
    pub event_owner_on_disk: bool,
    /// Step 19: `synced` is claimed and delivered after the machine's own `fell_back`. Off: in any
    /// order.
    pub synced_waits_for_fell_back: bool,
    /// Step 19: the claim of `synced` names the owner of `fell_back`. Off: the replica that puts it.
    pub synced_has_owner_of_fell_back: bool,
    /// Step 20: the last event is claimed before the entry in S3 ends. Off: by the dispatcher, later.
    pub event_claimed_before_entry_ends: bool,
    /// Step 20: `.done` is put before the note moves to `delivered/`. Off: after it.
    pub done_before_forget: bool,
    /// Step 20: the owner of an old event needs its slot, as every other replica. Off: it does not.
    pub owner_takes_slot: bool,
    /// Step 20: an orphan `fell_back` is not delivered if the bundle is in S3. Off: it is.
    pub stale_fell_back_is_dropped: bool,
    /// Step 20: an orphan `synced` waits for `.done` of a claimed `fell_back`. Off: it does not.
    pub orphan_synced_waits_for_done: bool,
}

impl Default for Mechanisms {
    fn default() -> Self {
        Self {
            pinned_version: true,
            digest_compared_in_record_encoding: true,
            record_adopted: true,
            unclaimed_folder_check: true,
            stored_under_derived_id: true,
            put_if_absent: true,
            claimed_before_artifacts: true,
            existing_object_compared: true,
            manifest_last: true,
            fallback_uses_journal_time: true,
            fallback_uses_journal_id: true,
            derived_id_in_record_encoding: true,
            local_folders_by_scan: true,
            manifest_deleted_first: true,
            journal_entry_deleted_last: true,
            fail_only_before_manifest: true,
            fail_only_by_acceptor: true,
            store_journal_digest_in_key: true,
            store_journal_spares_fallback_none: true,
            store_journal_record_digest_check: true,
            entry_names_its_store: true,
            attempt_reads_identity: true,
            identity_read_again_after_failure: true,
            new_identity_where_it_is_missing: true,
            proposal_until_confirmed: true,
            proposal_noted_before_use: true,
            proposal_becomes_alias: true,
            unlabelled_entries_belong_to_first_store: true,
            identity_read_with_documents: true,
            loss_confirmed: true,
            identity_read_before_failing: true,
            copied_document_is_not_read_again: true,
            store_journal_marker_read: true,
            store_journal_ended_after_commit: true,
            store_journal_failure_marked: true,
            store_journal_failure_marked_first: true,
            event_before_entry_is_removed: true,
            failed_event_after_record: true,
            fell_back_noted_at_start: true,
            one_final_event: true,
            event_id_has_digest: true,
            event_claim: true,
            event_owner_on_disk: true,
            synced_waits_for_fell_back: true,
            synced_has_owner_of_fell_back: true,
            event_claimed_before_entry_ends: true,
            done_before_forget: true,
            owner_takes_slot: true,
            stale_fell_back_is_dropped: true,
            orphan_synced_waits_for_done: true,
        }
    }
}

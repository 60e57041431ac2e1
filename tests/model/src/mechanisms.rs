//! The parts of the protocol that can be switched off, to see what breaks without them.

/// What is in force. All of it is by [`Default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// Step 2 (!): journal entries and records pin the format version, the digest's encoding with
    /// it. Off: every process uses its own release's.
    pub pinned_version: bool,
    /// Step 3: digests are compared in the encoding of the record's version. Off: as they are.
    pub digest_compared_in_record_encoding: bool,
    /// Step 3: a record with our digest is adopted whole. Off: each keeps its own time.
    pub record_adopted: bool,
    /// Step 3 (!): a claim looks for a manifest that nobody claimed.
    pub unclaimed_folder_look: bool,
    /// Step 4 (!): what was accepted goes on under an id derived from the digest. Off: it is
    /// refused as if it had not been accepted.
    pub kept_as_derived_id: bool,
    /// Steps 3, 6, 7: S3 puts only where nothing is. Off: it ignores If-None-Match.
    pub put_if_absent: bool,
    /// Step 7: the manifest waits until every artifact and the index entry are confirmed. Off: it
    /// goes with the last of them still open.
    pub manifest_last: bool,
    /// Step 8 (!): the local store gets the journal's own time and version. Off: what the run has
    /// in hand, which may be S3's record's.
    pub fallback_uses_journal_time: bool,
    /// Step 8: the local store gets the caller's id. Off: the derived one, once step 4 gave one.
    pub fallback_uses_journal_id: bool,
    /// Step 4: the digest in a derived id is in the encoding of the record that is in the way,
    /// which everybody sees alike. Off: in that of each one's own journal entry.
    pub derived_id_in_record_encoding: bool,
    /// Steps 8, 10, 12: an export's folders in the local store are found by looking at all claims.
    /// Off: from the base name on until a folder is unclaimed, as in S3, where no claim ever goes.
    pub local_folders_by_scan: bool,
    /// Step 10 (!): the local manifest goes before the artifacts. Off: after them.
    pub manifest_deleted_first: bool,
    /// Step 10 (!): the journal entry goes last. Off: first.
    pub journal_entry_deleted_last: bool,
    /// Step 11 (!): `failed` only before the manifest was first sent.
    pub fail_only_before_manifest: bool,
    /// Step 11 (!): `failed` only from the process that accepted. Off: from a restarted one too.
    pub fail_only_by_acceptor: bool,
    /// `journal: store` (!): an entry's key has the digest.
    pub store_journal_digest_in_key: bool,
    /// `journal: store`: an export with fallback NONE puts no entry. Off: it does, and another
    /// replica may finish what its own reported as failed.
    pub store_journal_spares_fallback_none: bool,
    /// `journal: store` (!): another's entry is finished only if the record has its digest.
    pub store_journal_record_digest_check: bool,
}

impl Default for Mechanisms {
    fn default() -> Self {
        Self {
            pinned_version: true,
            digest_compared_in_record_encoding: true,
            record_adopted: true,
            unclaimed_folder_look: true,
            kept_as_derived_id: true,
            put_if_absent: true,
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
        }
    }
}

//! Recording and removing entries.

use tara_export_disk::counts;

use super::*;

#[tokio::test]
async fn entry_is_complete_after_restart() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    assert!(!data_dir.path().join(".tara-export").exists());
    assert_eq!(listed(&journal).await, []);
    journal.record(&export(1)).await.unwrap();
    drop(journal);

    let journal = open(&data_dir).await;
    let size = JournalSize { count: 1, size_bytes: size_bytes(&export(1)) };
    assert_eq!(journal.size(), size);
    let listing = journal.entries(10).await.unwrap();
    let [entry] = &listing.entries[..] else { panic!("{listing:?}") };
    assert_eq!(entry.header, export(1).header());
    assert_eq!(entry.size_bytes, size.size_bytes);
    assert_eq!(journal.load(entry, u64::MAX).await.unwrap(), export(1));
    assert_eq!(
        fs::read(journal_path(&data_dir, &name(&export(1)))).unwrap(),
        export(1).encode().concat()
    );

    journal.remove(entry.header.export_id, entry.header.content_digest).await.unwrap();
    assert_eq!(journal.size(), JournalSize::default());
    assert!(matches!(journal.load(entry, u64::MAX).await, Err(LoadError::Gone)));
    drop(journal);
    assert_eq!(listed(&open(&data_dir).await).await, []);
}

#[test]
fn recording_needs_one_file_fsync_and_one_folder_fsync() {
    let data_dir = tempfile::tempdir().unwrap();
    let files = Files::new(data_dir.path().to_owned(), NO_LIMIT, None).unwrap();
    // Creates the folders.
    files.record(&export(1)).unwrap();
    let before = (counts::FILES.get(), counts::DIRECTORIES.get());
    files.record(&export(2)).unwrap();
    assert_eq!((counts::FILES.get(), counts::DIRECTORIES.get()), (before.0 + 1, before.1 + 1));
    let before = counts::DIRECTORIES.get();
    files
        .remove(EntryName {
            export_id: export(2).export_id,
            content_digest: export(2).content_digest,
        })
        .unwrap();
    assert_eq!(counts::DIRECTORIES.get(), before + 1);
}

#[tokio::test]
async fn recording_same_entry_again_changes_nothing() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.record(&export(1)).await.unwrap();
    let size = journal.size();
    journal.record(&export(1)).await.unwrap();
    assert_eq!(journal.size(), size);

    let mut later = export(1);
    later.accepted_time = AcceptedTime::new(seconds(9));
    let error = journal.record(&later).await.unwrap_err();
    assert_eq!(error.kind(), JournalErrorKind::Conflict);
    let JournalError::RecordedBefore(first) = error else { panic!("{error}") };
    assert_eq!(first.header, export(1).header());
    assert_eq!(
        fs::read(journal_path(&data_dir, &name(&export(1)))).unwrap(),
        export(1).encode().concat()
    );
    assert_eq!(journal.size(), size);
}

#[test]
fn recording_again_syncs_entry_that_was_not_synced() {
    let data_dir = tempfile::tempdir().unwrap();
    let files = Files::new(data_dir.path().to_owned(), NO_LIMIT, None).unwrap();
    files.record(&export(1)).unwrap();
    let before = (counts::FILES.get(), counts::DIRECTORIES.get());
    files.record(&export(1)).unwrap();
    assert_eq!((counts::FILES.get(), counts::DIRECTORIES.get()), (before.0, before.1 + 1));
}

#[tokio::test]
async fn recording_replaces_damaged_entry() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.record(&export(1)).await.unwrap();
    let size = journal.size();
    let path = journal_path(&data_dir, &name(&export(1)));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();

    journal.record(&export(1)).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), export(1).encode().concat());
    assert_eq!(journal.size(), size);
    assert_eq!(journal.quarantined().await.unwrap().count, 1);
    assert_eq!(
        fs::read(journal_path(&data_dir, "quarantine").join(name(&export(1)))).unwrap(),
        bytes
    );
}

#[tokio::test]
async fn other_content_under_same_id_has_its_own_entry() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    let other = export_of(1, "other.docx");
    journal.record(&export(1)).await.unwrap();
    journal.record(&other).await.unwrap();
    assert_eq!(journal.size().count, 2);
    journal.remove(other.export_id, other.content_digest).await.unwrap();
    // Removing a missing entry succeeds.
    journal.remove(other.export_id, other.content_digest).await.unwrap();
    let listing = journal.entries(10).await.unwrap();
    assert_eq!(listing.entries[0].header, export(1).header());
    assert_eq!((listing.entries.len(), journal.size().count), (1, 1));
}

#[tokio::test]
async fn removing_from_missing_journal_succeeds() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.remove(export(1).export_id, export(1).content_digest).await.unwrap();
    assert!(!data_dir.path().join(".tara-export").exists());
}

#[tokio::test]
async fn full_journal_refuses_until_space_is_free() {
    let data_dir = tempfile::tempdir().unwrap();
    // One byte too few for three.
    let limits = JournalLimits { max_bytes: 3 * size_bytes(&export(1)) - 1, ..NO_LIMIT };
    let journal = Journal::open(data_dir.path().to_owned(), limits).await.unwrap();
    journal.record(&export(1)).await.unwrap();
    journal.record(&export(2)).await.unwrap();
    let error = journal.record(&export(3)).await.unwrap_err();
    assert_eq!(error.kind(), JournalErrorKind::Full);
    assert!(error.to_string().contains("MAX_JOURNAL_BYTES"), "{error}");
    assert_eq!(names_in(&journal_path(&data_dir, "tmp")), [""; 0]);
    // A recorded entry needs no more space.
    journal.record(&export(2)).await.unwrap();

    journal.remove(export(1).export_id, export(1).content_digest).await.unwrap();
    journal.record(&export(3)).await.unwrap();
    // The limit also applies after a restart.
    let journal = Journal::open(data_dir.path().to_owned(), limits).await.unwrap();
    assert!(journal.record(&export(4)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_recording_does_not_exceed_limit() {
    let data_dir = tempfile::tempdir().unwrap();
    let limits = JournalLimits { max_bytes: 5 * size_bytes(&export(1)), ..NO_LIMIT };
    let journal = Journal::open(data_dir.path().to_owned(), limits).await.unwrap();
    let exports: Vec<_> = (0..9).map(export).collect();
    let twice = exports.iter().chain(&exports);
    let results = futures::future::join_all(twice.map(|export| journal.record(export))).await;
    let refused = results.iter().filter(|result| result.is_err()).count();
    assert!(refused >= 4, "{results:?}");
    let size = journal.size();
    assert!(size.size_bytes <= limits.max_bytes, "{size:?}");
    // The counters match the folder, and no reservation is left.
    assert_eq!(size.count, listed(&journal).await.len() as u64);
    assert_eq!(journal.size(), size);
    let first = journal.entries(1).await.unwrap().entries.remove(0).header;
    journal.remove(first.export_id, first.content_digest).await.unwrap();
    journal.record(&export(5)).await.unwrap();
}

#[tokio::test]
async fn disk_error_names_path_and_journal_recovers() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    let own = data_dir.path().join(".tara-export");
    fs::write(&own, "conflicting file").unwrap();
    let error = journal.record(&export(1)).await.unwrap_err();
    assert_eq!(error.kind(), JournalErrorKind::Full);
    assert!(error.to_string().contains(own.to_str().unwrap()), "{error}");
    assert!(journal.entries(10).await.is_err());
    assert_eq!(journal.size(), JournalSize::default());
    fs::remove_file(&own).unwrap();
    journal.record(&export(1)).await.unwrap();

    // The folder is deleted with its content.
    fs::remove_dir_all(&own).unwrap();
    journal.record(&export(2)).await.unwrap();
    assert_eq!(listed(&journal).await, [export(2).export_id]);
    assert_eq!(journal.size().count, 1);
    assert_eq!(listed(&open(&data_dir).await).await, [export(2).export_id]);
}

#[tokio::test]
async fn open_fails_if_folder_cannot_be_listed() {
    let data_dir = tempfile::tempdir().unwrap();
    fs::create_dir(data_dir.path().join(".tara-export")).unwrap();
    fs::write(data_dir.path().join(".tara-export/journal"), "conflicting file").unwrap();
    let error = Journal::open(data_dir.path().to_owned(), NO_LIMIT).await.unwrap_err();
    assert_eq!(error.kind(), JournalErrorKind::Full);
}

#[tokio::test]
async fn crash_before_publishing_leaves_no_entry() {
    let data_dir = tempfile::tempdir().unwrap();
    let files = Files::new(data_dir.path().to_owned(), NO_LIMIT, None).unwrap();
    files.record(&export(1)).unwrap();
    let unfinished = files.disk.create_unnamed().unwrap();
    fs::write(unfinished.path(), &export(2).encode().concat()[..99]).unwrap();
    let (_, path) = unfinished.keep().unwrap();
    assert_eq!(path.parent(), Some(journal_path(&data_dir, "tmp").as_path()));
    let seen = tara_export_disk::plain_names(&files.journal)
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    assert_eq!(seen, [name(&export(1)).as_str()]);

    let journal = open(&data_dir).await;
    assert_eq!(names_in(&journal_path(&data_dir, "tmp")), [""; 0]);
    assert_eq!(listed(&journal).await, [export(1).export_id]);
    journal.record(&export(2)).await.unwrap();
}

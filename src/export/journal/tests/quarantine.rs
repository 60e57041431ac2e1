//! Quarantine of entries that cannot be processed.

use tara_export_bundle::{AcceptedHeader, encoding::testing::head};

use super::*;

fn quarantine_path(data_dir: &TempDir) -> PathBuf {
    journal_path(data_dir, "quarantine")
}

#[tokio::test]
async fn damaged_entries_are_quarantined_without_affecting_others() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    for number in 1..=2 {
        journal.record(&export(number)).await.unwrap();
    }
    let good = |number| export(number).encode().concat();
    let with_flip = |at: usize| {
        let mut bytes = good(3);
        bytes[at] ^= 0x20;
        bytes
    };
    let damaged = [
        (name(&export(3)), with_flip(200), "digest"),
        (name(&export(4)), vec![], "0 bytes"),
        (name(&export(5)), good(5)[..good(5).len() - 1].to_vec(), "should have"),
        (name(&export(6)), [good(6), vec![0]].concat(), "should have"),
        // The name of another entry.
        (name(&export(7)), good(8), "its name should be"),
        ("notes.txt".to_owned(), b"text".to_vec(), "4 bytes"),
        (format!("{}.bak", name(&export(9))), good(9), "its name should be"),
    ];
    for (name, bytes, _) in &damaged {
        fs::write(journal_path(&data_dir, name), bytes).unwrap();
    }
    fs::create_dir(journal_path(&data_dir, "lost+found")).unwrap();

    let listing = journal.entries(100).await.unwrap();
    assert_eq!(ids(&listing), [export(1).export_id, export(2).export_id]);
    assert!(listing.unread.is_empty() && listing.later.is_empty());
    let quarantine = journal.quarantined().await.unwrap();
    assert_eq!(quarantine.count, damaged.len() as u64);
    for (name, bytes, reason) in &damaged {
        let file = quarantine.files.iter().find(|file| file.name == *name).unwrap();
        assert!(file.reason.contains(reason), "{name}: {}", file.reason);
        assert!(listing.quarantined.contains(file), "{name}");
        assert_eq!(file.size_bytes, bytes.len() as u64);
        assert_eq!(file.export_id.is_some(), name != "notes.txt");
        assert_eq!(fs::read(quarantine_path(&data_dir).join(name)).unwrap(), *bytes);
        let reason = quarantine_path(&data_dir).join(format!("{name}.reason.txt"));
        assert!(fs::read_to_string(reason).unwrap().starts_with(&file.reason));
    }
    assert_eq!(journal.size().count, 2);

    // A second scan quarantines nothing, and the quarantine survives a restart.
    assert_eq!(listed(&journal).await.len(), 2);
    let journal = open(&data_dir).await;
    assert_eq!(journal.quarantined().await.unwrap(), quarantine);
    assert_eq!((listed(&journal).await.len(), journal.size().count), (2, 2));
}

#[tokio::test]
async fn loading_quarantines_entry_with_damaged_body() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.record(&export(1)).await.unwrap();
    journal.record(&export(2)).await.unwrap();
    let path = journal_path(&data_dir, &name(&export(1)));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();

    let listing = journal.entries(10).await.unwrap();
    assert_eq!(listing.entries.len(), 2);
    let error = journal.load(&listing.entries[0], u64::MAX).await.unwrap_err();
    assert!(matches!(&error, LoadError::Damaged { reason } if reason.contains("body")), "{error}");
    assert!(!path.exists());
    assert_eq!(fs::read(quarantine_path(&data_dir).join(name(&export(1)))).unwrap(), bytes);
    assert_eq!(journal.load(&listing.entries[1], u64::MAX).await.unwrap(), export(2));
    assert_eq!(journal.size(), JournalSize { count: 1, size_bytes: size_bytes(&export(2)) });
    let quarantined = journal.quarantined().await.unwrap().files.remove(0);
    assert_eq!(quarantined.export_id, Some(export(1).export_id));
    assert_eq!(quarantined.reason, error.to_string());
}

#[tokio::test]
async fn names_in_quarantine_are_unique() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    fs::create_dir_all(journal_path(&data_dir, "")).unwrap();
    let name = name(&export(1));
    for content in ["first", "second", "third"] {
        fs::write(journal_path(&data_dir, &name), content).unwrap();
        assert_eq!(journal.entries(10).await.unwrap().quarantined.len(), 1);
    }
    let longest = "é".repeat(127);
    let unusual_names = ["a\nb", "x.reason.txt", &longest];
    for name in unusual_names {
        fs::write(journal_path(&data_dir, name), name).unwrap();
    }
    std::os::unix::fs::symlink("/", journal_path(&data_dir, "link")).unwrap();
    assert_eq!(journal.entries(10).await.unwrap().quarantined.len(), 4);

    let quarantine = journal.quarantined().await.unwrap();
    let names: Vec<&str> = quarantine.files.iter().map(|file| file.name.as_str()).collect();
    let (second, third) = (format!("{name}.2"), format!("{name}.3"));
    let truncated = "é".repeat(100);
    assert_eq!(names, [&name, &second, &third, "a_b", "link", "x.reason.txt.file", &truncated]);
    for file in &quarantine.files {
        let id = file.name.starts_with("0000").then_some(export(1).export_id);
        assert_eq!(file.export_id, id, "{}", file.name);
        assert!(!file.reason.is_empty() && !file.reason.contains("cannot read"), "{file:?}");
    }
    let content = |name: &str| fs::read_to_string(quarantine_path(&data_dir).join(name)).unwrap();
    assert_eq!((content(&name), content(&third)), ("first".to_owned(), "third".to_owned()));
}

#[tokio::test]
async fn number_of_listed_files_is_limited() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    fs::create_dir_all(quarantine_path(&data_dir)).unwrap();
    for number in 0..MAX_QUARANTINED_LISTED + 5 {
        fs::write(quarantine_path(&data_dir).join(format!("{number:05}")), "x").unwrap();
    }
    let quarantine = journal.quarantined().await.unwrap();
    assert_eq!(quarantine.count, MAX_QUARANTINED_LISTED as u64 + 5);
    assert_eq!(quarantine.files.len(), MAX_QUARANTINED_LISTED);
    assert_eq!(quarantine.files[0].name, "00000");
    // A file that an operator put there has no reason file.
    assert!(quarantine.files[0].reason.contains("cannot read"));
}

#[tokio::test]
async fn file_that_cannot_be_moved_stays_and_is_retried() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.record(&export(1)).await.unwrap();
    fs::write(journal_path(&data_dir, &name(&export(2))), "damaged").unwrap();
    // The quarantine is a symbolic link: no file may be moved out of the data directory.
    let outside = tempfile::tempdir().unwrap();
    let elsewhere = data_dir.path().join("elsewhere");
    std::os::unix::fs::symlink(outside.path(), quarantine_path(&data_dir)).unwrap();

    let listing = journal.entries(10).await.unwrap();
    assert_eq!(ids(&listing), [export(1).export_id]);
    let unread: Vec<_> = listing.unread.iter().map(|entry| entry.export_id).collect();
    assert!(unread.contains(&Some(export(2).export_id)), "{listing:?}");
    assert!(journal_path(&data_dir, &name(&export(2))).exists());
    assert_eq!(names_in(outside.path()), [""; 0]);

    fs::rename(quarantine_path(&data_dir), elsewhere).unwrap();
    let listing = journal.entries(10).await.unwrap();
    assert_eq!((listing.quarantined.len(), listing.unread.len()), (1, 0));
}

#[tokio::test]
async fn entries_of_later_release_stay_in_journal() {
    let data_dir = tempfile::tempdir().unwrap();
    let journal = open(&data_dir).await;
    journal.record(&export(1)).await.unwrap();
    let entry = |header: AcceptedHeader| [head(9999, header, 4), b"body".to_vec()].concat();
    let later_encoding = entry(export(2).header());
    let unknown_name = "3-of-a-later-release";
    fs::write(journal_path(&data_dir, &name(&export(2))), &later_encoding).unwrap();
    fs::write(journal_path(&data_dir, unknown_name), &later_encoding).unwrap();

    let listing = journal.entries(10).await.unwrap();
    assert_eq!(ids(&listing), [export(1).export_id]);
    assert_eq!((listing.quarantined.len(), listing.unread.len()), (0, 0));
    let mut later: Vec<_> =
        listing.later.iter().map(|entry| (entry.name.as_str(), entry.export_id)).collect();
    later.sort();
    assert_eq!(
        later,
        [(name(&export(2)).as_str(), Some(export(2).export_id)), (unknown_name, None)]
    );
    assert!(listing.later[0].unknown.to_string().contains("later release"));

    // Loading and recording do not change the file either.
    let same = JournalEntry {
        header: export(2).header(),
        size_bytes: later_encoding.len() as u64,
        memory_bytes: 0,
    };
    assert!(matches!(journal.load(&same, u64::MAX).await, Err(LoadError::LaterRelease(_))));
    let error = journal.record(&export(2)).await.unwrap_err();
    assert_eq!(error.kind(), JournalErrorKind::Unreadable, "{error}");
    assert_eq!(fs::read(journal_path(&data_dir, &name(&export(2)))).unwrap(), later_encoding);
    assert_eq!(journal.size().count, 3);
    assert_eq!(journal.quarantined().await.unwrap(), Quarantine::default());
}
